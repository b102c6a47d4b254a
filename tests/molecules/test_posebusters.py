"""PoseBusters, and how its absence is told."""

import importlib.util
import sys

import pytest
import rdkit
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem

from moldiff.molecules.posebusters import posebust


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("posebusters") is None, reason="PoseBusters is not installed")
def test_a_good_molecule_a_bad_one_and_a_failure(capfd):
    status, stream = rdBase.LogStatus(), rdkit.log_handler.stream
    good = embedded("CC(=O)Nc1ccccc1")
    stretched = Chem.Mol(good)
    stretched.GetConformer().SetPositions(good.GetConformer().GetPositions() * 1.4)
    passing, failing, none, flat = posebust([good, stretched, None, Chem.MolFromSmiles("CC")])
    assert all(value is True for value in passing.values())
    assert {"bond_lengths", "bond_angles", "internal_steric_clash", "internal_energy", "passed"} <= set(passing)
    assert failing["bond_lengths"] is False and failing["passed"] is False
    assert failing["sanitization"] is True
    assert none == {"passed": False}
    assert flat["passed"] is False  # without a conformer nothing can be measured
    assert rdBase.LogStatus() == status and rdkit.log_handler.stream is stream
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C(C)(C)(C)(C)C")
    assert "valence" in capfd.readouterr().err


def test_absence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "posebusters", None)
    with pytest.raises(ImportError, match=r"moldiff\[posebusters\]"):
        posebust([])
