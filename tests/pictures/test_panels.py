"""Crystals as panels: what is repeated on the faces, what is bonded, and that the cell is seen."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from moldiff.pictures import view
from moldiff.pictures.panels import atoms_panel, drawn_atoms, near


def test_atoms_on_faces_are_repeated() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    numbers, positions, cell = drawn_atoms(salt)
    assert cell is not None
    # 8 corners and 6 faces of sodium, 12 edges and the centre of chlorine
    assert sorted(np.unique(numbers, return_counts=True)[1].tolist()) == [13, 14]
    assert positions.min() > -1e-4
    assert positions.max() < 5.64 + 1e-4
    salt.positions += 1.1 * salt.cell[0] + 1.41  # away from the faces, out of the cell
    numbers, positions, _ = drawn_atoms(salt)
    assert len(numbers) == 8
    assert (positions >= 0).all()
    assert (positions < 5.64).all()


def test_atoms_without_a_cell_are_drawn_as_they_are() -> None:
    benzene = molecule("C6H6")
    numbers, positions, cell = drawn_atoms(benzene)
    assert cell is None
    assert np.array_equal(positions, benzene.positions)
    assert near(numbers, positions).sum() == 2 * 12


def test_metals_have_no_bonds() -> None:
    numbers, positions, _ = drawn_atoms(bulk("Cu", cubic=True))
    assert near(numbers, positions).sum() == 0


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si"),
        bulk("Mg"),
        Atoms("CsCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.1, 4.1, 4.1], pbc=True),
        Atoms("Fe", cell=[2, 2, 40], pbc=True),
        molecule("H2O"),
    ],
)
def test_the_drawing_stays_inside_its_panel(atoms: Atoms) -> None:
    panel = np.asarray(atoms_panel(atoms, 300, 170).convert("L"))
    assert panel.shape == (170, 300)
    solid = panel[:, :168]
    assert (solid < 200).sum() > 200
    assert (panel[:, 174:] < 200).sum() > 20  # the elements beside it
    border = np.concatenate([solid[0], solid[-1], solid[:, 0], panel[:, -1]])
    assert border.min() > 200


def test_a_narrow_panel_leaves_the_text_out() -> None:
    assert atoms_panel(bulk("Si"), 100, 80).size == (100, 80)


def test_crystals_and_molecules_in_one_grid() -> None:
    picture = view([bulk("Si"), molecule("C6H6")], columns=2)
    assert picture.size == (2 * 12 + 600, 2 * 12 + 192)
    with pytest.raises(ValueError, match="structure 0 has 1001 atoms"):
        view(Atoms("H1001"))
    with pytest.raises(ValueError, match="not finite"):
        view(Atoms("H", positions=[[np.nan, 0, 0]]))
