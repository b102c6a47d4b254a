from __future__ import annotations

import numpy as np
import pytest

from moldiff.data.demo import MAX_HEAVY_ATOMS, demo_archive, demo_smiles
from moldiff.molecules.descriptors import NAMES


def test_smiles() -> None:
    smiles = demo_smiles()
    assert len(smiles) == len(set(smiles)) >= 200
    assert set("".join(smiles)) <= set("CNOHcno[]()=#123456789")


def test_archive_is_small_distinct_and_reproducible() -> None:
    archive = demo_archive(30, seed=1)
    again = demo_archive(30, seed=1)
    assert len(set(archive.smiles.tolist())) == 30
    assert np.array_equal(archive.positions, again.positions)
    assert np.array_equal(archive.split, again.split)
    assert np.bincount(archive.split).tolist() == [24, 3, 3]
    assert set(archive.numbers.tolist()) <= {1, 6, 7, 8}
    assert archive.property_names.tolist() == list(NAMES)
    assert np.isfinite(archive.properties).all()
    assert archive.column("heavy_atoms").max() <= MAX_HEAVY_ATOMS
    assert archive.aromatic is not None
    assert demo_archive(5, seed=1).smiles.tolist() == archive.smiles[:5].tolist()
    assert demo_archive(30, seed=2).smiles.tolist() != archive.smiles.tolist()


def test_geometry_is_sensible() -> None:
    archive = demo_archive(20)
    for i in range(20):
        record = archive.record(i)
        distances = np.linalg.norm(record.positions[:, None] - record.positions[None], axis=-1)
        assert distances[record.bonds > 0].min() > 0.9
        assert distances[record.bonds > 0].max() < 1.7
        assert record.charges.sum() == 0


@pytest.mark.parametrize("n", [0, -1, 10**6])
def test_impossible_number(n: int) -> None:
    with pytest.raises(ValueError, match=f"n={n}"):
        demo_archive(n)
