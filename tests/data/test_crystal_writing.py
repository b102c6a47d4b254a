from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read as ase_read
from rdkit import Chem

import moldiff
from moldiff.data.crystal_files import read_crystals
from moldiff.data.writing import Writer, write

SALT = bulk("NaCl", "rocksalt", a=5.64)
ZINC = bulk("ZnO", "wurtzite", a=3.25, c=5.2)


def close(one: Atoms, two: Atoms) -> bool:
    first, second = (np.sort(atoms.get_all_distances(mic=True).ravel()) for atoms in (one, two))
    return len(one) == len(two) and np.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("suffix", [".cif", ".extxyz", ".xyz", ".vasp", ""])
def test_everything_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    salt = SALT.copy()
    salt.info |= {"name": "my salt", "band_gap": 5.0}
    path = tmp_path / f"out{suffix}"
    assert moldiff.write([salt], path) == 1
    again = moldiff.read(path)[0]
    assert close(again, SALT)
    if suffix != ".vasp":
        assert again.info["name"] == "my_salt" if suffix in (".cif", "") else "my salt"


def test_several_blocks_are_named_and_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="out.cif holds 2 structures: many programs read only the first"):
        assert write([SALT, ZINC], tmp_path / "out.cif") == 2
    assert [line for line in (tmp_path / "out.cif").read_text().splitlines() if line.startswith("data_")] == [
        "data_0-NaCl",
        "data_1-Zn2O2",
    ]
    again = read_crystals(tmp_path / "out.cif")
    assert close(again[1], ZINC)
    # programs other than ours read it too
    assert len(ase_read(tmp_path / "out.cif", index=":")) == 2
    assert write([SALT, ZINC], tmp_path / "out.extxyz") == 2


def test_a_folder_gets_one_file_each(tmp_path: Path) -> None:
    assert write([SALT, ZINC], tmp_path / "out") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0-NaCl.cif", "1-Zn2O2.cif"]


def test_equal_names_stay_apart(tmp_path: Path) -> None:
    twins = [SALT.copy(), ZINC.copy()]
    for atoms in twins:
        atoms.info["name"] = "same"
    write(twins, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["same-1.cif", "same.cif"]


def test_coordinates_stay_below_one(tmp_path: Path) -> None:
    atoms = Atoms("NaCl", scaled_positions=[[-1e-17, 0, 0], [0.5, 0.9999999999, 0.5]], cell=[4, 4, 4], pbc=True)
    write([atoms], tmp_path / "out.cif")
    assert "1.0000" not in (tmp_path / "out.cif").read_text()


def test_symmetrised_files(tmp_path: Path) -> None:
    rough = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    rough.rattle(0.01, seed=0)
    for name in ("out.cif", "out.extxyz"):
        write([rough], tmp_path / name, symmetrise=True)
    assert "Fm-3m" in (tmp_path / "out.cif").read_text()
    assert len(read_crystals(tmp_path / "out.cif")[0]) == 8
    primitive = read_crystals(tmp_path / "out.extxyz")[0]
    assert len(primitive) == 2 and primitive.info["spacegroup"] == 225


def test_refusals(tmp_path: Path) -> None:
    for path, message in (("out.sdf", r"crystals to .*'\.sdf'.*\.cif"), ("none/out.cif", "no folder")):
        with pytest.raises(ValueError, match=message):
            write([SALT], tmp_path / path)
    with pytest.raises(ValueError, match=r"molecules to .*'\.cif'.*\.sdf"):
        write([Chem.MolFromSmiles("C")], tmp_path / "out.cif")
    with pytest.raises(ValueError, match="no volume"):
        write([Atoms("Na", positions=[[0, 0, 0]])], tmp_path / "out.cif")
    with pytest.raises(ValueError, match="holds one crystal already"):
        write([SALT, SALT], tmp_path / "out.vasp")
    with Writer(tmp_path / "a.cif", crystals=True) as writer, pytest.raises(ValueError, match="opened for crystals"):
        writer.write(Chem.MolFromSmiles("C"))
    assert not (tmp_path / "a.cif").exists()
