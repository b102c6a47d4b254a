from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.data.archive import Archive, Record, split_by_smiles


def record(n: int, seed: int = 0) -> Record:
    rng = np.random.default_rng(seed)
    bonds = np.triu(rng.integers(0, 4, (n, n)), 1)
    aromatic = np.triu(rng.integers(0, 2, (n, n)), 1).astype(bool)
    return Record(
        numbers=rng.integers(1, 10, n),
        positions=rng.normal(size=(n, 3)).astype(np.float32).astype(np.float64),
        charges=rng.integers(-1, 2, n),
        bonds=bonds + bonds.T,
        aromatic=aromatic | aromatic.T,
    )


def build(*sizes: int) -> Archive:
    return Archive.build(
        [record(n, i) for i, n in enumerate(sizes)],
        smiles=[f"C{'C' * n}" for n in sizes],
        split=[i % 3 for i in range(len(sizes))],
        properties=np.arange(2.0 * len(sizes)).reshape(-1, 2),
        property_names=["gap", "dipole"],
        property_units=["eV", "debye"],
        index=[10 + i for i in range(len(sizes))],
    )


def same(a: Record, b: Record) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_record_returns_what_was_built(sizes: list[int]) -> None:
    archive = build(*sizes)
    assert len(archive) == len(sizes)
    assert all(same(archive.record(i), record(n, i)) for i, n in enumerate(sizes))
    assert same(archive.record(-1), record(sizes[-1], len(sizes) - 1))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=8))
def test_select_keeps_order_and_repeats(rows: list[int]) -> None:
    archive = build(3, 1, 5, 2, 4)
    chosen = archive.select(rows)
    assert chosen.index.tolist() == [10 + i for i in rows]
    assert all(same(chosen.record(k), archive.record(i)) for k, i in enumerate(rows))


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    archive = build(3, 1, 5)
    path = archive.save(tmp_path / "a.npz")
    loaded = Archive.load(path)
    for field in fields(Archive):
        assert np.array_equal(getattr(archive, field.name), getattr(loaded, field.name)), field.name
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_archive_without_aromatic_array(tmp_path: Path) -> None:
    archive = build(4)
    archive = Archive(**{f.name: getattr(archive, f.name) for f in fields(Archive) if f.name != "aromatic"})
    loaded = Archive.load(archive.save(tmp_path / "a.npz"))
    assert loaded.aromatic is None
    assert not loaded.record(0).aromatic.any()


def test_split_column_and_mask() -> None:
    archive = build(3, 1, 5, 2)
    assert archive.subset("train").index.tolist() == [10, 13]
    assert archive.column("dipole").tolist() == [1, 3, 5, 7]
    assert len(archive.select(archive.n_atoms > 2)) == 2
    with pytest.raises(ValueError, match=r"'homo'.*gap, dipole"):
        archive.column("homo")
    with pytest.raises(ValueError, match=r"'valid'.*train, val, test"):
        archive.subset("valid")
    with pytest.raises(IndexError, match="molecule 4"):
        archive.record(4)


@pytest.mark.parametrize("name", ["numbers", "positions", "bonds", "smiles", "split", "properties", "index"])
def test_wrong_length_names_file_and_array(tmp_path: Path, name: str) -> None:
    archive = build(3, 2)
    arrays = {f.name: getattr(archive, f.name) for f in fields(Archive)}
    arrays[name] = arrays[name][:-1]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=rf"bad\.npz.*'{name}'"):
        Archive.load(tmp_path / "bad.npz")


def test_wrong_content_is_refused(tmp_path: Path) -> None:
    archive = build(3, 2)
    arrays = {f.name: getattr(archive, f.name) for f in fields(Archive)}
    with pytest.raises(ValueError, match=r"'bonds'.*0-3"):
        Archive(**{**arrays, "bonds": arrays["bonds"] + 4})
    with pytest.raises(ValueError, match=r"'numbers'.*integer"):
        Archive(**{**arrays, "numbers": arrays["numbers"].astype(float)})
    with pytest.raises(ValueError, match=r"'positions'.*finite"):
        Archive(**{**arrays, "positions": arrays["positions"] * np.nan})
    del arrays["smiles"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ValueError, match=r"less\.npz.*smiles"):
        Archive.load(tmp_path / "less.npz")


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="moldiff data"):
        Archive.load(tmp_path / "none.npz")
    good = build(3, 2).save(tmp_path / "good.npz").read_bytes()
    for name, content in {"empty.npz": b"", "text.npz": b"hello", "cut.npz": good[: len(good) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            Archive.load(tmp_path / name)
    np.savez(tmp_path / "pickle.npz", numbers=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"pickle\.npz"):
        Archive.load(tmp_path / "pickle.npz")


def test_save_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build(3).save(tmp_path / "a.npz")
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(KeyboardInterrupt):
        build(4).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    with pytest.raises(ValueError, match="does not exist"):
        build(3).save(tmp_path / "no" / "a.npz")


def test_build_refuses_inconsistent_records() -> None:
    good = record(3)
    with pytest.raises(ValueError, match="record 1: shapes"):
        Archive.build([good, good._replace(charges=good.charges[:2])], smiles=["C", "C"])
    with pytest.raises(ValueError, match="not symmetric"):
        Archive.build([good._replace(bonds=np.triu(np.ones((3, 3), int), 1))], smiles=["C"])
    with pytest.raises(ValueError, match="kekulise"):
        Archive.build([good._replace(bonds=4 - 4 * np.eye(3, dtype=int))], smiles=["C"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=3, max_size=40), st.integers(0, 5))
def test_split_keeps_equal_smiles_together(smiles: list[str], seed: int) -> None:
    split = split_by_smiles(smiles, seed=seed)
    parts = [{s for s, part in zip(smiles, split, strict=True) if part == k} for k in range(3)]
    assert sum(map(len, parts)) == len(set(smiles))
    if len(set(smiles)) > 2:
        assert all(parts)
    shuffled = split_by_smiles(smiles[::-1], seed=seed)
    assert np.array_equal(shuffled[::-1], split)


def test_split_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_smiles(["C"], fractions=(0.5, 0.1, 0.1))


def test_archive_needs_numpy_only() -> None:
    code = "import sys, moldiff.data.archive as a; print(sorted({'torch', 'rdkit', 'ase', 'tqdm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.data
def test_real_archive_loads(data_root: Path) -> None:
    archive = Archive.load(data_root / "qm9" / "qm9.npz")
    assert len(archive) == 128_744
    assert np.bincount(archive.split).tolist() == [98_412, 17_473, 12_859]
    water = archive.record(2)
    assert water.numbers.tolist() == [8, 1, 1]
    assert water.bonds.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    # the split of a selection follows its molecules
    assert (archive.subset("test").split == 2).all()
