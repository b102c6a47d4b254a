from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moldiff.data.archive import Archive
from moldiff.data.demo import demo_archive
from moldiff.data.describe import aromatic_and_descriptors, describe
from moldiff.molecules.descriptors import NAMES


def test_columns_and_flags_agree_with_the_demo_set() -> None:
    archive = demo_archive(12)
    bare = Archive(**{**vars_of(archive), "aromatic": None})
    again = describe(bare, jobs=1, progress=False)
    assert again.property_names.tolist() == list(NAMES)  # replaced, not doubled
    assert np.allclose(again.properties, archive.properties)
    assert np.array_equal(again.aromatic, archive.aromatic)
    assert again.aromatic is not None and again.aromatic.any()


def vars_of(archive: Archive) -> dict[str, np.ndarray]:
    from dataclasses import fields

    return {field.name: getattr(archive, field.name) for field in fields(Archive)}


def test_other_columns_are_kept_and_failures_are_nan() -> None:
    archive = demo_archive(6)
    orders = archive.bonds.copy()
    first = int(archive.n_atoms[0])
    orders[: first * (first - 1) // 2] = 1  # every atom bonded to every other
    broken = Archive(
        **{
            **vars_of(archive),
            "bonds": orders,
            "aromatic": None,
            "properties": np.ones((6, 1), np.float32),
            "property_names": np.array(["gap"]),
            "property_units": np.array(["eV"]),
        }
    )
    described = describe(broken, jobs=1, progress=False)
    assert described.property_names.tolist() == ["gap", *NAMES]
    assert described.property_units[0] == "eV"
    assert (described.column("gap") == 1).all()
    assert np.isnan(described.column("qed")).tolist() == [True] + [False] * 5
    with pytest.raises(ValueError, match="jobs=0"):
        describe(archive, jobs=0)


def test_known_values() -> None:
    archive = demo_archive(40)
    row = next(i for i in range(40) if archive.record(i).aromatic.any())
    flags, values = aromatic_and_descriptors(archive.record(row))
    assert 5 <= flags.sum() <= 6
    assert values[list(NAMES).index("heavy_atoms")] == (archive.record(row).numbers > 1).sum()


@pytest.mark.data
def test_processes_give_the_same_as_one(data_root: Path) -> None:
    archive = Archive.load(data_root / "qm9" / "qm9.npz").select(slice(5_000, 5_600))
    one, two = (describe(archive, jobs=jobs, progress=False) for jobs in (1, 2))
    assert np.array_equal(one.properties, two.properties)
    assert np.array_equal(one.aromatic, two.aromatic)
    assert one.property_names[:4].tolist() == ["energy", "homo", "lumo", "gap"]
    assert not np.isnan(one.properties).any()
