"""MMFF94 strain."""

import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.molecules.convert import Arrays, from_mol, to_mol
from moldiff.molecules.energy import mmff_drop


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return mol


def test_relaxed_molecule_has_nothing_to_drop():
    mol = embedded("CCO")
    AllChem.MMFFOptimizeMolecule(mol, maxIters=5000)
    drop, converged = mmff_drop(mol)
    assert converged
    assert drop == pytest.approx(0, abs=1e-3)


def test_strain_is_measured_and_the_molecule_kept():
    mol = embedded("c1ccncc1")
    arrays = from_mol(mol)
    stretched = to_mol(Arrays(arrays.numbers, arrays.positions * 1.1, arrays.charges, arrays.bonds))
    drop, converged = mmff_drop(stretched)
    assert converged
    assert drop > mmff_drop(mol)[0] + 10
    assert np.allclose(stretched.GetConformer().GetPositions(), arrays.positions * 1.1)


def test_drop_is_that_of_rdkit():
    mol = embedded("CC(=O)N")
    field = AllChem.MMFFGetMoleculeForceField(mol, AllChem.MMFFGetMoleculeProperties(mol))
    before = field.CalcEnergy()
    drop, _ = mmff_drop(mol)
    AllChem.MMFFOptimizeMolecule(mol, maxIters=1000)
    field = AllChem.MMFFGetMoleculeForceField(mol, AllChem.MMFFGetMoleculeProperties(mol))
    assert drop == pytest.approx(before - field.CalcEnergy(), abs=1e-6)


def test_limit_is_kept_and_reported():
    drop, converged = mmff_drop(embedded("CCCCCCO"), max_iterations=1)
    assert not converged
    assert math.isfinite(drop)


def test_no_parameters_and_bad_input():
    assert mmff_drop(embedded("[H][H]")) is None
    with pytest.raises(ValueError, match="conformer"):
        mmff_drop(Chem.MolFromSmiles("C"))
    with pytest.raises(ValueError, match="max_iterations = 0"):
        mmff_drop(embedded("C"), max_iterations=0)


def test_atoms_on_one_point_do_not_raise():
    arrays = from_mol(embedded("CO"))
    drop, converged = mmff_drop(to_mol(Arrays(arrays.numbers, arrays.positions * 0, arrays.charges, arrays.bonds)))
    assert drop > 1000 or not converged
