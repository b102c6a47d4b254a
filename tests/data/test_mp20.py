from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from moldiff.crystals.convert import CrystalArrays, from_atoms, to_atoms
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.data.crystal_writing import cif_text
from moldiff.data.mp20 import SETS, archive_from_csv, crystal_of, prepare

SALT = bulk("NaCl", "rocksalt", a=5.64)
CUBE = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
ZINC = bulk("ZnO", "wurtzite", a=3.25, c=5.2)


def write(path: Path, rows: list[tuple[str, str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "material_id", "formation_energy_per_atom", "band_gap", "cif"])
        writer.writerows([(i, name, -1.5, gap, text) for i, (name, text, gap) in enumerate(rows)])
    return path


def files(folder: Path) -> dict[str, Path]:
    salt, cube, zinc = (cif_text(atoms, "x") for atoms in (SALT, CUBE, ZINC))
    mixed = salt.replace(" 1\n", " 0.5\n")
    return {
        "train": write(folder / "train.csv", [("mp-1", salt, 5.0), ("mp-2", "no cif", 0.0), ("mp-3", zinc, "")]),
        "val": write(folder / "val.csv", [("mp-4", cube, 5.0)]),
        "test": write(folder / "test.csv", [("mp-5", mixed, 5.0), ("mp-6", zinc, 3.4)]),
    }


def test_the_files_of_the_splits_make_an_archive(tmp_path: Path) -> None:
    archive, skipped = archive_from_csv(files(tmp_path), properties=SETS["mp20"].properties, progress=False)
    assert archive.material_id.tolist() == ["mp-1", "mp-3", "mp-4", "mp-6"]
    assert archive.split.tolist() == [0, 0, 1, 2]
    assert archive.n_atoms.tolist() == [2, 4, 8, 4]  # reduced, but not made primitive, as in the benchmark
    assert archive.spacegroup_number.tolist() == [225, 186, 225, 186]
    assert archive.property_names.tolist() == ["formation_energy_per_atom", "band_gap", "spacegroup"]
    assert np.array_equal(archive.column("band_gap"), np.float32([5.0, np.nan, 5.0, 3.4]), equal_nan=True)
    assert [(split, name) for split, name, _ in skipped] == [("train", "mp-2"), ("test", "mp-5")]
    assert "malformed CIF" in skipped[0][2] and "disordered" in skipped[1][2]


def test_prepare_uses_the_files_that_are_there_and_keeps_the_archive(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"mp20-raw/train\.csv is missing; download https://.*/mp_20/train\.csv"
    ):
        prepare("mp20", tmp_path, download=False, progress=False)
    files(tmp_path / "crystals" / "mp20-raw")
    path = prepare("mp20", tmp_path, download=False, jobs=1, progress=False)
    assert path == tmp_path / "crystals" / "mp_20.npz"
    assert len(CrystalArchive.load(path)) == 4
    assert (tmp_path / "crystals" / "mp20-skipped.csv").read_text().count("\n") == 3
    assert prepare("mp20", tmp_path, download=False, progress=False) == path


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("material_id,structure\nmp-1,x\n")
    with pytest.raises(ValueError, match=r"a\.csv: no column 'cif' among material_id, structure"):
        archive_from_csv({"train": tmp_path / "a.csv"}, progress=False)
    write(tmp_path / "b.csv", [("mp-1", "", 0.0)])
    with pytest.raises(ValueError, match=r"no readable crystal \(mp-1: malformed CIF"):
        archive_from_csv({"train": tmp_path / "b.csv"}, progress=False)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        archive_from_csv({"valid": tmp_path / "b.csv"}, progress=False)
    with pytest.raises(ValueError, match="unknown set of crystals 'mp21'"):
        prepare("mp21", tmp_path)


@pytest.mark.data
def test_a_cif_of_the_real_set_comes_back_as_prepared(data_root: Path) -> None:
    archive = CrystalArchive.load(data_root / "crystals" / "mp_20.npz").subset("test")
    rng = np.random.default_rng(0)
    for i in rng.integers(0, len(archive), 8).tolist():
        record = archive.record(i)
        change = np.array([[1, 1, 0], [0, 1, 2], [0, 0, 1]])
        skew = CrystalArrays(record.numbers, record.fractional @ np.linalg.inv(change), change @ record.cell)
        again = crystal_of(cif_text(to_atoms(skew), "x"))
        for one, two in zip(*(np.sort(np.linalg.norm(c.cell, axis=1)) for c in (again, record)), strict=True):
            assert one == pytest.approx(two, abs=1e-3)
        assert from_atoms(to_atoms(again)).volume == pytest.approx(abs(np.linalg.det(record.cell)), rel=1e-4)
