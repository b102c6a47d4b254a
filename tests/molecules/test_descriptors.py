"""Descriptors: known values, and hydrogens make no difference."""

import pytest
from rdkit import Chem

from moldiff.molecules.descriptors import DESCRIPTORS, NAMES, UNITS, describe


def test_known_values():
    aspirin = describe(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"))
    assert list(aspirin) == list(NAMES) == list(UNITS)
    assert aspirin["logp"] == pytest.approx(1.3101, abs=1e-3)
    assert aspirin["tpsa"] == pytest.approx(63.6, abs=0.1)
    assert aspirin["qed"] == pytest.approx(0.55, abs=0.01)
    assert aspirin["sa"] == pytest.approx(1.58, abs=0.02)
    assert (aspirin["rings"], aspirin["heavy_atoms"]) == (1, 13)


@pytest.mark.parametrize("smiles", ["C", "CCO", "c1c[nH]cn1", "[NH3+]CC(=O)[O-]", "C[C@H](N)O"])
def test_explicit_hydrogens_make_no_difference(smiles):
    mol = Chem.MolFromSmiles(smiles)
    assert describe(Chem.AddHs(mol)) == pytest.approx(describe(mol))


def test_each_is_callable_by_name():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert {name: DESCRIPTORS[name](mol) for name in NAMES} == describe(mol)
    assert UNITS["tpsa"] == "angstrom^2"
