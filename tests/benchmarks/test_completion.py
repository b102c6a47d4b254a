"""What the benchmark of completions keeps of a molecule."""

from __future__ import annotations

import completion
import numpy as np
from rdkit import Chem


def test_cuts_through_aromatic_rings_are_known() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("Cc1ccccc1"))
    assert completion.cuts_aromatic(mol, [0, 1, 2])
    assert not completion.cuts_aromatic(mol, [1, 2, 3, 4, 5, 6])
    assert not completion.cuts_aromatic(Chem.MolFromSmiles("CC1CCCCC1"), [0, 1, 2])


def test_parts_hang_together_and_leave_three_heavy_atoms() -> None:
    mol, rng = Chem.AddHs(Chem.MolFromSmiles("CC(C)CC1CC1O")), np.random.default_rng(0)
    for _ in range(50):
        keep = completion.random_part(mol, rng)
        assert 1 <= len(keep) <= mol.GetNumHeavyAtoms() - 3
        assert all(mol.GetAtomWithIdx(i).GetAtomicNum() > 1 for i in keep)
        assert len(Chem.GetMolFrags(Chem.MolFromSmiles(Chem.MolFragmentToSmiles(mol, keep)))) == 1
