"""What holds for every archive: it comes back from the disk as it was, and selections are those rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from moldiff.data.archive import Archive, Record
from moldiff.data.crystal_archive import CrystalArchive, CrystalRecord

sizes = st.lists(st.integers(1, 6), min_size=1, max_size=6)


def molecules(counts: list[int], seed: int) -> tuple[list[Record], Archive]:
    rng = np.random.default_rng(seed)
    records = []
    for n in counts:
        bonds = np.triu(rng.integers(0, 4, (n, n)), 1)
        aromatic = np.triu(rng.random((n, n)) < 0.2, 1)
        places = rng.normal(0, 50, (n, 3)).astype(np.float32).astype(np.float64)
        numbers, charges = rng.integers(1, 90, n), rng.integers(-2, 3, n)
        records.append(Record(numbers, places, charges, bonds + bonds.T, aromatic | aromatic.T))
    archive = Archive.build(
        records,
        smiles=[f"name{i}é" for i in range(len(counts))],
        split=rng.integers(0, 3, len(counts)),
        properties=rng.normal(size=(len(counts), 2)).astype(np.float32),
        property_names=["a", "b"],
        property_units=["eV", ""],
    )
    return records, archive


def crystals(counts: list[int], seed: int) -> CrystalArchive:
    rng = np.random.default_rng(seed)
    records = [
        CrystalRecord(rng.integers(1, 90, n), rng.random((n, 3)), 5 * np.eye(3) + rng.normal(0, 0.3, (3, 3)))
        for n in counts
    ]
    return CrystalArchive.build(records)


@given(sizes, seeds)
def test_molecules_come_back(counts: list[int], seed: int) -> None:
    records, archive = molecules(counts, seed)
    with tempfile.TemporaryDirectory() as folder:
        again = Archive.load(archive.save(Path(folder) / "a.npz"))
    assert len(again) == len(counts)
    for i, record in enumerate(records):
        for ours, theirs in zip(record, again.record(i), strict=True):
            assert np.array_equal(ours, theirs)
    assert again.smiles.tolist() == archive.smiles.tolist()
    assert np.array_equal(again.column("b"), archive.column("b"))
    assert sum(len(again.subset(name)) for name in ("train", "val", "test")) == len(counts)


@given(sizes, seeds, st.data())
def test_selections_are_those_rows(counts: list[int], seed: int, data: st.DataObject) -> None:
    records, archive = molecules(counts, seed)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8))
    chosen = archive.select(np.array(rows, dtype=np.int64))
    assert len(chosen) == len(rows)
    for place, row in enumerate(rows):
        assert np.array_equal(chosen.record(place).positions, records[row].positions)
        assert np.array_equal(chosen.record(place).bonds, records[row].bonds)
    with pytest.raises(IndexError):
        archive.record(len(counts))


@given(sizes, seeds)
def test_crystals_come_back(counts: list[int], seed: int) -> None:
    archive = crystals(counts, seed)
    with tempfile.TemporaryDirectory() as folder:
        again = CrystalArchive.load(archive.save(Path(folder) / "c.npz"))
    for i in range(len(counts)):
        for ours, theirs in zip(archive.record(i), again.record(i), strict=True):
            assert np.array_equal(ours, theirs)
        fractional = again.record(i).fractional
        assert (fractional >= 0).all()
        assert (fractional < 1).all()
    assert len(again.select(slice(1, None))) == len(counts) - 1


@given(st.binary(max_size=200))
def test_any_other_file_is_refused_in_words(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(content)
        for kind in (Archive, CrystalArchive):
            with pytest.raises(ValueError, match=r"x\.npz"):
                kind.load(path)
