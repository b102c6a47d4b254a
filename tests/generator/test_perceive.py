from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem

from moldiff.data.writing import write
from moldiff.generator import Failed, Generator
from moldiff.generator.perceive import elect
from moldiff.molecules.convert import Arrays, canonical_smiles, from_mol

from .oracles import Answer, config, made


def knowing(mol: Any) -> Generator:
    arrays = from_mol(mol)
    return Generator(Answer(arrays), config(arrays), device="cpu", precision="fp32")


@pytest.mark.parametrize("smiles", ["C[C@H](O)N", "c1ccoc1", "C[N+](=O)[O-]", "[NH3+]CC(=O)[O-]"])
def test_bonds_charges_and_stereochemistry_are_found(smiles: str, tmp_path: Path) -> None:
    mol = made(smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    positions = np.array(mol.GetConformer().GetPositions()) + np.array([5.0, 0.0, -7.0])
    generator = knowing(mol)
    write([mol], tmp_path / "one.xyz")
    write([mol, mol], tmp_path / "two.xyz")
    found = [
        generator.perceive(Atoms(numbers, positions)),
        generator.perceive((numbers, positions)),
        generator.perceive(tmp_path / "one.xyz", charge=0),
        *generator.perceive([mol, (numbers, positions)], samples=2),
        *generator.perceive(str(tmp_path / "two.xyz")),
    ]
    assert len(found) == 7
    for other in found:
        assert Chem.MolToSmiles(Chem.RemoveHs(other)) == Chem.CanonSmiles(smiles)
        assert other.GetDoubleProp("confidence") == 1.0
    assert np.array_equal(found[1].GetConformer().GetPositions(), positions)


def test_the_total_charge_can_be_demanded() -> None:
    mol = made("CCO")
    wrong = knowing(mol).perceive(mol, charge=1)
    assert isinstance(wrong, Failed)
    assert wrong.reason == "charge" and "+0 instead of +1" in wrong.message and "5 of 5" in wrong.message


def test_the_majority_of_valid_answers_wins() -> None:
    benzene = from_mol(made("c1ccccc1"))
    other_form = benzene.kekulised()
    nothing = Arrays(benzene.numbers, benzene.positions, benzene.charges, benzene.bonds * 0)
    mol = elect(0, benzene, [nothing, benzene, other_form, nothing, nothing], None)
    # both ways to draw the ring are one answer, and invalid ones have no vote
    assert canonical_smiles(mol) == "c1ccccc1" and mol.GetDoubleProp("confidence") == pytest.approx(0.4)
    failed = elect(3, benzene, [nothing, nothing], None)
    assert isinstance(failed, Failed) and failed.number == 3 and failed.reason == "radical"


def test_what_cannot_be_perceived_has_a_reason() -> None:
    mol = made("CCO")
    generator = knowing(mol)
    good, empty, other, lost = generator.perceive(
        [mol, Atoms(), Atoms("Br2", [[0, 0, 0], [0, 0, 2.3]]), Atoms("H2", [[0, 0, 0], [0, 0, np.nan]])]
    )
    assert canonical_smiles(good) == "CCO"
    assert [failed.reason for failed in (empty, other, lost)] == ["empty", "element", "nonfinite"]
    assert "trained on H, C, N, O" in other.message
    with pytest.raises(ValueError, match="no structure"):
        generator.perceive(5)
    with pytest.raises(ValueError, match="no conformer"):
        generator.perceive(Chem.MolFromSmiles("CCO"))
    with pytest.raises(ValueError, match="at least 1"):
        generator.perceive(mol, samples=0)


def test_rdkit_answers_only_when_allowed_and_says_so() -> None:
    water, fluoride = made("O"), made("CF")
    generator = knowing(water)
    assert generator.perceive(water).GetProp("source") == "moldiff"
    assert isinstance(generator.perceive(fluoride), Failed)
    found = generator.perceive([water, fluoride], fallback=True)
    assert [mol.GetProp("source") for mol in found] == ["moldiff", "rdkit"]
    assert canonical_smiles(found[1]) == "CF" and not found[1].HasProp("confidence")
    # two lone atoms are no molecule for RDKit either
    apart = (np.array([2, 2]), np.array([[0.0, 0, 0], [0, 0, 5]]))
    assert isinstance(generator.perceive(apart, fallback=True), Failed)
