from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write as ase_write

import moldiff
from moldiff.data.crystal_files import holds_crystals, read_crystal_archive, read_crystals

SALT = bulk("NaCl", "rocksalt", a=5.64)
ZINC = bulk("ZnO", "wurtzite", a=3.25, c=5.2)

DISORDERED = """data_mixed
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_Int_Tables_number 1
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Fe Fe0 0 0 0 0.5
  Ni Ni1 0 0 0 0.5
"""


def same(one: Atoms, two: Atoms) -> bool:
    a, b = one.copy(), two.copy()
    a.wrap()
    b.wrap()
    return (
        a.get_chemical_formula() == b.get_chemical_formula()
        and np.allclose(a.cell.cellpar(), b.cell.cellpar(), atol=1e-5)
        and np.allclose(
            np.sort(a.get_all_distances(mic=True).ravel()), np.sort(b.get_all_distances(mic=True).ravel()), atol=1e-5
        )
    )


def cif(path: Path, *crystals: Atoms) -> str:
    ase_write(path, list(crystals), format="cif")
    return path.read_text()


@pytest.mark.parametrize("name", ["a.cif", "a.extxyz", "a.xyz", "POSCAR", "a.vasp", "a.db", "a.traj"])
def test_every_format_gives_the_crystal_back(tmp_path: Path, name: str) -> None:
    if name == "a.db":
        with connect(str(tmp_path / name)) as base:
            base.write(SALT, band_gap=5.0)
    else:
        formats = {"POSCAR": "vasp", "a.vasp": "vasp", "a.xyz": "extxyz"}
        ase_write(tmp_path / name, SALT, format=formats.get(name))
    assert holds_crystals(tmp_path / name)
    reading = moldiff.read(tmp_path / name)
    assert len(reading) == 1 and same(reading[0], SALT)
    assert reading[0].pbc.all()
    assert "1 crystals read, 0 entries skipped" in reading.report()


def test_names_that_look_like_a_poscar(tmp_path: Path) -> None:
    ase_write(tmp_path / "POSCAR_relaxed.1", SALT, format="vasp")
    assert same(moldiff.read(tmp_path / "POSCAR_relaxed.1")[0], SALT)
    assert not holds_crystals(tmp_path / "poscar.sdf")


def test_molecules_stay_molecules(tmp_path: Path) -> None:
    ase_write(tmp_path / "water.extxyz", molecule("H2O"))
    ase_write(tmp_path / "water.xyz", molecule("H2O"))
    assert not holds_crystals(tmp_path / "water.extxyz")
    assert moldiff.read(tmp_path / "water.xyz")[0].GetNumAtoms() == 3


def test_one_bad_block_costs_no_other(tmp_path: Path) -> None:
    text = cif(tmp_path / "a.cif", SALT)
    flat = text.replace("_cell_length_c ", "_cell_length_c 0.0 #")
    odd = text.replace("_atom_site_type_symbol", "_atom_site_nonsense").replace("_atom_site_label", "_atom_site_other")
    missing = text.replace("0.5", "?")
    (tmp_path / "all.cif").write_text(
        "# a comment\n" + text + DISORDERED + flat + odd + missing + "data_empty\n_publ_author 'nobody'\n" + text
    )
    reading = read_crystals(tmp_path / "all.cif")
    assert reading.indices == [0, 6]
    assert all(same(atoms, SALT) for atoms in reading)
    reasons = {entry: reason for entry, reason, _ in reading.skipped}
    assert reasons[1] == "disordered: site 1 (Fe) has the occupancy 0.5"
    assert set(reasons) == {1, 2, 3, 4, 5}
    assert reasons[5] == "no atom sites"


def test_symmetry_operations_are_applied(tmp_path: Path) -> None:
    from pymatgen.io.cif import CifWriter

    from moldiff.crystals.convert import from_atoms, to_structure

    (tmp_path / "a.cif").write_text(str(CifWriter(to_structure(from_atoms(ZINC)), symprec=0.1)))
    assert same(read_crystals(tmp_path / "a.cif")[0], ZINC)


def test_sites_that_coincide_are_kept(tmp_path: Path) -> None:
    both = Atoms("Fe2", scaled_positions=[[0, 0, 0], [0, 0, 0]], cell=[3, 3, 3], pbc=True)
    cif(tmp_path / "a.cif", both)
    assert len(read_crystals(tmp_path / "a.cif")[0]) == 2


def test_bad_frames_of_extended_xyz(tmp_path: Path) -> None:
    ase_write(tmp_path / "a.extxyz", SALT)
    text = (tmp_path / "a.extxyz").read_text()
    flat = text.replace(text.split('"')[1], "0 0 0 0 0 0 0 0 0")
    (tmp_path / "b.extxyz").write_text(text + text.replace("Na", "Qq") + flat + text + "3\nLattice=\n")
    reading = read_crystals(tmp_path / "b.extxyz")
    assert reading.indices == [0, 3]
    reasons = {entry: reason for entry, reason, _ in reading.skipped}
    assert "no volume" in reasons[2] and "truncated: 3 atoms promised" in reasons[4]


def test_not_finite_and_too_many(tmp_path: Path) -> None:
    bad = SALT.copy()
    bad.positions[0] = np.nan
    ase_write(tmp_path / "a.traj", [SALT, bad, ZINC])
    reading = read_crystals(tmp_path / "a.traj", max_atoms=3)
    assert reading.indices == [0]
    assert [reason for _, reason, _ in reading.skipped] == [
        "coordinates are not finite",
        "too many atoms: 4 are more than 3",
    ]


def test_folders_globs_and_gzip(tmp_path: Path) -> None:
    cif(tmp_path / "b.cif", SALT)
    cif(tmp_path / "a.cif", ZINC, SALT)
    (tmp_path / "c.cif").write_text("")
    (tmp_path / "notes.txt").write_text("nothing")
    reading = read_crystals(tmp_path)
    assert [len(atoms) for atoms in reading] == [4, 2, 2]
    assert [(entry, reason) for entry, reason, _ in reading.skipped] == [(3, "c.cif: no entry: the file is empty")]
    assert len(read_crystals(tmp_path / "[ab].cif")) == 3
    assert holds_crystals(tmp_path) and holds_crystals(tmp_path / "*.cif")
    with open(tmp_path / "a.cif", "rb") as plain, gzip.open(tmp_path / "z.cif.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert len(moldiff.read(tmp_path / "z.cif.gz")) == 2


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "mixed.cif").write_text(DISORDERED)
    (tmp_path / "a.db").write_text("no database")
    for name, message in (
        ("empty.cif", "no readable crystal .the file is empty"),
        ("mixed.cif", "entry 0: disordered: site 1"),
        ("a.db", "cannot read .*a.db as an ASE .db file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_crystals(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.cif"):
        read_crystals(tmp_path / "none.cif")
    (tmp_path / "a.foo").write_text("x")
    with pytest.raises(ValueError, match=r"unknown suffix '\.foo'"):
        read_crystals(tmp_path / "a.foo")


def test_archive_of_a_file(tmp_path: Path) -> None:
    frames = []
    for number, a in enumerate((5.64, 5.64, 5.0)):
        atoms = bulk("NaCl", "rocksalt", a=a, cubic=True)
        atoms.info |= {"band_gap": 5.0 + number, "label": "text", "name": f"salt-{number}"}
        frames.append(atoms)
    frames.append(bulk("MgO", "rocksalt", a=4.2))
    ase_write(tmp_path / "a.extxyz", frames)
    archive, reading = read_crystal_archive(tmp_path / "a.extxyz", fractions=(0.5, 0.0, 0.5))
    assert archive.n_atoms.tolist() == [2, 2, 2, 2]
    assert archive.spacegroup_number.tolist() == [225] * 4
    assert archive.property_names.tolist() == ["band_gap", "spacegroup"]
    assert np.isnan(archive.column("band_gap")[3])
    assert archive.material_id.tolist() == ["salt-0", "salt-1", "salt-2", "a-3"]
    # one composition never lies on both sides of a split
    assert len(set(archive.split[:3])) == 1 and archive.split[3] != archive.split[0]
    assert len(reading) == 4
    archive.save(tmp_path / "a.npz")
    assert holds_crystals(tmp_path / "a.npz")
    again = read_crystals(tmp_path / "a.npz")
    assert again[0].info["band_gap"] == 5.0 and again[0].info["name"] == "salt-0"


def test_duplicates_are_left_out_on_request(tmp_path: Path) -> None:
    ase_write(tmp_path / "a.extxyz", [SALT, bulk("NaCl", "rocksalt", a=5.64, cubic=True), ZINC])
    archive, reading = read_crystal_archive(tmp_path / "a.extxyz", duplicates=False, max_atoms=4)
    assert len(archive) == 2
    assert reading.skipped[0].reason == "duplicate of entry 0"
