from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from moldiff.data.embed import embed


def test_same_seed_same_coordinates() -> None:
    mol = Chem.MolFromSmiles("CCO")
    first, again, other = (embed(mol, seed=seed).GetConformer().GetPositions() for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert mol.GetNumAtoms() == 3 and mol.GetNumConformers() == 0


def test_bond_lengths_of_methane() -> None:
    positions = embed(Chem.MolFromSmiles("C"), seed=-5).GetConformer().GetPositions()
    assert np.allclose(np.linalg.norm(positions[1:] - positions[0], axis=1), 1.092, atol=2e-3)


def test_elements_without_mmff_parameters() -> None:
    assert embed(Chem.MolFromSmiles("C[Se]C"), seed=0).GetNumAtoms() == 9


def test_impossible_molecule() -> None:
    with pytest.raises(ValueError, match="no 3D coordinates"):
        embed(Chem.MolFromSmiles("C12C3C4C1C5C2C3C45.C1C2CC1C2.[C@H]12[C@@H]3[C@@]1([C@]23C)F"), seed=0)
