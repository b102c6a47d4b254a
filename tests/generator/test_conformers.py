from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from moldiff.generator import Generator
from moldiff.generator.conformers import sound, with_stereo
from moldiff.molecules.convert import from_mol

from .oracles import Answer, config, made


def oracle(smiles: str, *others: str, **options: Any) -> Generator:
    """A generator that answers conformers of a SMILES, and of others that differ in stereochemistry only."""
    mols = [made(text) for text in (smiles, *others)]
    arrays = from_mol(mols[0])
    places = [mol.GetConformer().GetPositions() for mol in mols]
    return Generator(Answer(arrays, places=places, **options), config(arrays), device="cpu", precision="fp32")


def stereo(mol: Any, conformer: int) -> str:
    copy = Chem.Mol(mol, confId=conformer)
    Chem.AssignStereochemistryFrom3D(copy)
    return str(Chem.MolToSmiles(Chem.RemoveHs(copy)))


@pytest.mark.parametrize("smiles", ["C[C@H](O)N", "C[C@@H](O)N", "C[C@H](O)[C@@H](N)C=O", "C1C[C@H]1O", "CCO"])
def test_mirror_images_are_turned_over(smiles: str) -> None:
    mol = oracle(smiles, mirror=True).conformers(smiles, 6)
    assert mol.GetNumConformers() == 6
    assert {stereo(mol, i) for i in range(6)} == {Chem.CanonSmiles(smiles)}
    assert mol.GetIntProp("drawn") == 6 and mol.GetIntProp("other_stereo") == 0


def test_diastereomers_are_drawn_again() -> None:
    right, wrong = "C[C@H](O)[C@@H](N)C=O", "C[C@H](O)[C@H](N)C=O"
    mol = oracle(right, wrong, mirror=False).conformers(right, 5)
    assert {stereo(mol, i) for i in range(mol.GetNumConformers())} == {Chem.CanonSmiles(right)}
    assert mol.GetNumConformers() == 5
    assert mol.GetIntProp("drawn") > 5 and mol.GetIntProp("other_stereo") > 0


def test_double_bonds_are_honoured_and_a_shortfall_is_told() -> None:
    cis, trans = "C/C=C\\O", "C/C=C/O"
    both = oracle(cis, trans).conformers(cis, 4)
    assert {stereo(both, i) for i in range(4)} == {Chem.CanonSmiles(cis)}
    with pytest.warns(UserWarning, match="0 of 4 conformers after drawing 80"):
        none = oracle(trans).conformers(cis, 4)
    assert none.GetNumConformers() == 0 and none.GetIntProp("other_stereo") == 80
    # what the SMILES leaves open is free
    assert oracle(cis, trans).conformers("CC=CO", 4).GetIntProp("drawn") == 4


def test_a_specified_centre_beside_an_open_one() -> None:
    smiles = "C[C@H](O)C(N)C=O"
    generator = oracle("C[C@H](O)[C@@H](N)C=O", "C[C@H](O)[C@H](N)C=O", mirror=True)
    mol = generator.conformers(smiles, 8)
    assert mol.GetIntProp("drawn") == 8
    assert {stereo(mol, i) for i in range(8)} == {
        Chem.CanonSmiles(text) for text in ("C[C@H](O)[C@@H](N)C=O", "C[C@H](O)[C@H](N)C=O")
    }


def test_broken_geometries_are_refused() -> None:
    mol = made("CCO")
    arrays = from_mol(mol)
    assert sound(arrays, arrays.positions)
    assert not sound(arrays, arrays.positions * 2)
    assert not sound(arrays, arrays.positions * 0.5)
    assert not sound(arrays, arrays.positions * np.nan)
    moved = arrays.positions.copy()
    moved[3] = moved[8] + 0.1
    assert not sound(arrays, moved)
    places = [arrays.positions, arrays.positions * 3]
    generator = Generator(Answer(arrays, places=places), config(arrays), device="cpu", precision="fp32")
    found = generator.conformers("CCO", 3)
    assert found.GetNumConformers() == 3 and found.GetIntProp("broken") > 0


def test_a_flattened_centre_has_no_stereochemistry() -> None:
    mol = made("C[C@H](O)N")
    positions = np.array(mol.GetConformer().GetPositions())
    assert with_stereo(mol, positions) is positions
    assert with_stereo(mol, positions * [1, 1, 0]) is None


def test_a_molecule_with_a_conformer_says_its_stereochemistry() -> None:
    flat = made("C[C@H](O)N")
    Chem.RemoveStereochemistry(flat)
    mol = oracle("C[C@H](O)N", mirror=True).conformers(flat, 4)
    assert {stereo(mol, i) for i in range(4)} == {Chem.CanonSmiles("C[C@H](O)N")}


def test_bad_requests_say_what_to_do() -> None:
    generator = oracle("CCO")
    for smiles, text in (("C(", "no SMILES"), ("C.C", "fragments"), ("[CH3]", "unpaired"), ("CBr", "element Br")):
        with pytest.raises(ValueError, match=text):
            generator.conformers(smiles)
    with pytest.raises(ValueError, match="at least 1"):
        generator.conformers("CCO", 0)
