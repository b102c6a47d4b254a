"""Distributions of a set of molecules, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.data.profile import COUNTED, DESCRIBED, Profile, add_up, edm_smiles, heavy_geometry, measure


def test_a_molecule_without_geometry() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("C1CC1Cc1ccccc1"))
    found = measure(mol)
    assert found["internals"] is None and set(found["descriptors"]) == set(DESCRIBED)
    counts = found["counts"]
    assert set(counts) == set(COUNTED)
    assert counts["element"] == {"C": 10, "H": 12}
    assert counts["size"] == {"22": 1}
    assert counts["ring_size"] == {"3": 1, "6": 1}
    assert counts["bond"] == {"single": 5, "aromatic": 6}
    assert counts["scaffold"] == {"c1ccc(CC2CC2)cc1": 1}
    assert found["descriptors"]["weight"] == pytest.approx(132.206, abs=1e-3)


def test_adding_up() -> None:
    assert add_up([{"b": 1}, {"a": 2, "b": 3}]) == {"a": 2, "b": 4}
    assert list(add_up([{"b": 1}, {"a": 2}])) == ["a", "b"]
    profile = Profile.of([measure(Chem.MolFromSmiles("CO"))] * 3, ["CO"] * 3)
    assert (profile.structures, profile.histograms) == (3, {})
    assert profile.counts["element"] == {"C": 3, "O": 3}


def test_heavy_atoms_follow_the_smiles() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("OCC#N"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    Chem.Kekulize(mol)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    bonds = Chem.GetAdjacencyMatrix(mol, useBO=True).astype(int)
    x = mol.GetConformer().GetPositions()
    smiles, heavy = heavy_geometry((numbers, x, np.zeros(len(numbers)), bonds))
    order = [
        numbers.tolist().index(8) if atom.GetSymbol() == "O" else None for atom in Chem.MolFromSmiles(smiles).GetAtoms()
    ]
    oxygen = order.index(0)
    assert smiles == "N#CCO" and np.allclose(heavy[oxygen], x[0])
    assert edm_smiles((numbers, x)) is not None
