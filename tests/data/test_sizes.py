from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moldiff.data.archive import Archive
from moldiff.data.sizes import SizeTable


def toy() -> Archive:
    """Carbon chains without bonds: 30 of 2 atoms with y near 0, 10 of 4 atoms with y near 6, one test molecule."""
    sizes = np.array([2] * 30 + [4] * 10 + [9], dtype=np.int64)
    rng = np.random.default_rng(0)
    y = np.where(sizes == 2, 0.0, 6.0) + rng.normal(0, 1.0, len(sizes))
    heavy = sizes.astype(np.float64)
    atoms, pairs = int(sizes.sum()), int((sizes * (sizes - 1) // 2).sum())
    return Archive(
        index=np.arange(len(sizes), dtype=np.int32),
        n_atoms=sizes,
        numbers=np.full(atoms, 6, np.uint8),
        positions=np.zeros((atoms, 3)),
        charges=np.zeros(atoms, np.int8),
        bonds=np.zeros(pairs, np.uint8),
        smiles=np.array(["C"] * len(sizes), dtype=np.str_),
        split=np.array([0] * 40 + [2], np.int8),
        properties=np.stack([y, heavy], 1).astype(np.float32),
        property_names=np.array(["y", "heavy"], np.str_),
        property_units=np.array(["", ""], np.str_),
    )


def test_the_table_holds_what_it_says() -> None:
    archive = toy()
    table = SizeTable.of(archive)
    assert table.atoms.tolist() == [2, 4] and table.counts.tolist() == [30, 10]
    # every training molecule is in one bin of every property, and the test molecule in none
    assert (table.histograms.sum(2) == np.array([[30, 30], [10, 10]])).all()
    np.testing.assert_allclose(table.edges[0, 11], np.median(archive.properties[:40, 0]), rtol=1e-6)


def test_probabilities_are_bayes_rule() -> None:
    table = SizeTable(
        ("y", "z"),
        np.array([2, 4]),
        np.array([30, 10]),
        np.array([[1.0], [1.0]]),
        np.array([[[30, 0], [15, 15]], [[2, 8], [5, 5]]]),
    )
    share = 8 / 40
    likely = np.array([20 * share / 50, (8 + 20 * share) / 30])
    weights = np.array([30, 10]) * likely
    np.testing.assert_allclose(table.probabilities({"y": 2.0}), weights / weights.sum(), rtol=1e-6)
    np.testing.assert_allclose(table.probabilities({"y": 1e9}), table.probabilities({"y": 2.0}))
    both = np.array([30, 10]) * likely ** (1 / np.sqrt(2))
    np.testing.assert_allclose(table.probabilities({"y": 2.0, "z": 0.0}), both / both.sum(), rtol=1e-6)
    np.testing.assert_allclose(table.probabilities({}), [0.75, 0.25])
    np.testing.assert_allclose(table.probabilities({"unheard": 3.0}), [0.75, 0.25])


def test_whole_numbers_find_their_bin() -> None:
    table = SizeTable.of(toy())
    assert table.probabilities({"heavy": 4.0})[1] > 0.6
    assert table.probabilities({"heavy": 2.0})[0] > 0.8


def test_the_table_is_added_to_a_reference_file(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    assert SizeTable.load(path) is None
    np.savez(path, data=np.array("toy"))
    assert SizeTable.load(path) is None
    table = SizeTable.of(toy())
    table.add_to(path)
    again = SizeTable.load(table.add_to(path))
    assert again is not None and again.names == table.names
    np.testing.assert_array_equal(again.atoms, table.atoms)
    np.testing.assert_array_equal(again.edges, table.edges)
    np.testing.assert_array_equal(again.histograms, table.histograms)
    with np.load(path) as stored:
        assert str(stored["data"]) == "toy"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reference.npz").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match="not a reference file"):
        SizeTable.load(tmp_path / "reference.npz")
