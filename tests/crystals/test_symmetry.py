"""Space groups of crystals whose symmetry is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("spglib")

from ase import Atoms
from ase.build import bulk

from moldiff.crystals import symmetry


def number(atoms: Atoms) -> int:
    return symmetry.number(atoms.numbers, atoms.get_scaled_positions(), np.array(atoms.cell))


def test_known_space_groups_and_none() -> None:
    assert number(bulk("NaCl", "rocksalt", a=5.64)) == 225
    assert number(bulk("NaCl", "cesiumchloride", a=3.5)) == 221
    assert number(bulk("ZnS", "wurtzite", a=3.8)) == 186
    rng = np.random.default_rng(0)
    # four different elements at random places of a skewed cell: nothing but translations
    cell = np.array([[4.0, 0, 0], [0.5, 5.0, 0], [0.7, 0.9, 6.0]])
    assert symmetry.number([3, 8, 15, 26], rng.random((4, 3)), cell) == 1
    assert symmetry.number([3, 3], np.zeros((2, 3)), cell) == 0


def test_sites_within_a_tenth_of_an_angstrom_keep_their_symmetry() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.01, seed=0)
    assert number(atoms) == 225
    atoms.rattle(0.3, seed=0)
    assert number(atoms) == 1


def test_equivalent_sites() -> None:
    cubic = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    sites = symmetry.equivalent_sites(cubic.numbers, cubic.get_scaled_positions(), np.array(cubic.cell))
    assert len(set(sites.tolist())) == 2 and (cubic.numbers[sites] == cubic.numbers).all()
    nowhere = symmetry.equivalent_sites([3, 3], np.zeros((2, 3)), 4 * np.eye(3))
    assert nowhere.tolist() == [0, 1]


def test_histogram() -> None:
    assert symmetry.histogram([225, 1, 225, 0]) == {"225": 2, "1": 1, "0": 1}
