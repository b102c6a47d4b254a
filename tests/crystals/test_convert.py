from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.crystals.convert import CrystalArrays, from_atoms, from_structure, to_atoms, to_structure, wrap


def crystal(seed: int = 0, n: int = 4) -> CrystalArrays:
    rng = np.random.default_rng(seed)
    return CrystalArrays(rng.integers(1, 90, n), rng.random((n, 3)), 4 * np.eye(3) + rng.normal(size=(3, 3)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_both_round_trips_give_the_same_crystal(seed: int, n: int) -> None:
    one = crystal(seed, n)
    for other in (from_atoms(to_atoms(one)), from_structure(to_structure(one))):
        assert np.array_equal(other.numbers, one.numbers)
        assert np.allclose(other.cell, one.cell, atol=1e-12)
        # a coordinate near 0 may come back near 1
        shift = other.fractional - one.fractional
        assert np.abs(shift - np.round(shift)).max() < 1e-9
        assert other.fractional.min() >= 0 and other.fractional.max() < 1


def test_wrap_never_returns_one() -> None:
    assert np.array_equal(wrap(np.array([-1e-20, 1.25, -0.25, 1.0, 0.0])), [0.0, 0.25, 0.75, 0.0, 0.0])


def test_volume_and_periodicity_of_rocksalt() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    one = from_atoms(atoms)
    assert one.volume == pytest.approx(5.64**3 / 4)
    assert to_atoms(one).pbc.all()


def test_bad_crystals_are_refused() -> None:
    good = np.eye(3)
    with pytest.raises(ValueError, match="no volume"):
        from_atoms(Atoms("Na", positions=[[0, 0, 0]]))
    with pytest.raises(ValueError, match="no atoms"):
        from_atoms(Atoms(cell=good, pbc=True))
    with pytest.raises(ValueError, match="coordinates are not finite"):
        from_atoms(Atoms("Na", positions=[[np.nan, 0, 0]], cell=good, pbc=True))
    with pytest.raises(ValueError, match="cell is not finite"):
        from_atoms(Atoms("Na", positions=[[0, 0, 0]], cell=np.full((3, 3), np.inf), pbc=True))
    with pytest.raises(ValueError, match=r"numbers \(2,\), fractional \(1, 3\)"):
        CrystalArrays(np.array([1, 2]), np.zeros((1, 3)), good)


def test_disordered_and_dummy_sites_are_refused() -> None:
    from pymatgen.core import DummySpecies, Lattice, Structure

    lattice = Lattice.cubic(4.0)
    with pytest.raises(ValueError, match=r"site 0 is disordered \(.*Fe.*\)"):
        from_structure(Structure(lattice, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]))
    with pytest.raises(ValueError, match="disordered"):
        from_structure(Structure(lattice, [{"Fe": 0.5}], [[0, 0, 0]]))
    with pytest.raises(ValueError, match="no element"):
        from_structure(Structure(lattice, [DummySpecies("X")], [[0, 0, 0]]))


def test_oxidation_states_are_dropped() -> None:
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.cubic(4.0), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert from_structure(structure).numbers.tolist() == [11, 17]
