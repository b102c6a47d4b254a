from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.crystals.convert import CrystalArrays, from_atoms, to_atoms
from moldiff.crystals.reduction import niggli, primitive, reduced, space_group, symmetrised


def distances(crystal: CrystalArrays) -> np.ndarray:
    """Sorted distances under periodic boundaries, which do not know which cell was chosen."""
    return np.sort(to_atoms(crystal).get_all_distances(mic=True).ravel())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_niggli_changes_the_cell_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = 4 * np.eye(3) + rng.normal(size=(3, 3))
    skew = np.eye(3)
    skew[0, 1], skew[1, 2], skew[0, 2] = rng.integers(-2, 3, 3)  # triangular: the volume stays
    one = CrystalArrays(rng.integers(1, 90, 3), rng.random((3, 3)), skew @ cell)
    two = niggli(one)
    assert two.volume == pytest.approx(one.volume)
    assert np.array_equal(two.numbers, one.numbers)
    assert np.allclose(distances(one), distances(two), atol=1e-6)
    again = niggli(two)
    lengths = np.linalg.norm(two.cell, axis=1)
    assert np.allclose(np.linalg.norm(again.cell, axis=1), lengths, atol=1e-4)
    assert (np.diff(lengths) > -1e-4).all()


def test_primitive_cell_of_supercells_and_conventional_cells() -> None:
    small = from_atoms(bulk("NaCl", "rocksalt", a=5.64))
    large = from_atoms(make_supercell(to_atoms(small), [[2, 0, 0], [0, 1, 1], [1, 0, 1]]))
    conventional = from_atoms(bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    for crystal in (large, conventional):
        one = reduced(crystal)
        assert sorted(one.numbers) == [11, 17]
        assert one.volume == pytest.approx(small.volume)
        assert np.allclose(one.cell @ one.cell.T, niggli(small).cell @ niggli(small).cell.T, atol=1e-6)
    assert primitive(small) is small


def test_space_groups() -> None:
    assert space_group(from_atoms(bulk("NaCl", "rocksalt", a=5.64))) == 225
    assert space_group(from_atoms(bulk("ZnO", "wurtzite", a=3.25, c=5.2))) == 186
    same = CrystalArrays(np.array([1, 1]), np.zeros((2, 3)), 4 * np.eye(3))
    assert space_group(same) == 0
    assert symmetrised(same) is same
    assert primitive(same) is same


def test_symmetrised_is_exact() -> None:
    rng = np.random.default_rng(0)
    ideal = from_atoms(bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    rough = CrystalArrays(ideal.numbers, ideal.fractional + 0.002 * rng.normal(size=(8, 3)), ideal.cell)
    assert space_group(rough, tolerance=1e-5) == 1
    exact = symmetrised(rough)
    assert space_group(exact, tolerance=1e-5) == 225
    assert len(exact.numbers) == 2


def test_no_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="no Niggli-reduced cell for one of volume 0"):
        niggli(CrystalArrays(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3))))
