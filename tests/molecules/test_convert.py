"""Round trips between arrays and RDKit molecules."""

import copy

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.molecules.convert import (
    Arrays,
    MoleculeError,
    canonical_smiles,
    from_mol,
    kekule_orders,
    stereo_from_3d,
    to_mol,
)

SMILES = [
    "C",
    "c1ccncc1",
    "c1cc[nH]c1",
    "c1c[nH]cn1",
    "c1ccccc1",
    "C[N+](=O)[O-]",
    "[NH3+]CC(=O)[O-]",
    "[NH4+]",
    "c1ccc2cccc-2cc1",
    "c1ccc2[nH]ccc2c1",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "O=c1cc[nH]cc1",
    "C1=CC=C1",
    "c1cc[o+]cc1",
    "c1cc[cH-]c1",
    "C[S](=O)(=O)c1ccsc1",
    "[C-]#[O+]",
    "[Na+].[Cl-]",
]


def embedded(smiles: str) -> Chem.Mol:
    """The molecule with explicit hydrogens on made-up coordinates."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)))
    mol.AddConformer(conformer)
    return mol


@pytest.mark.parametrize("smiles", SMILES)
def test_round_trip(smiles):
    mol = embedded(smiles)
    arrays = from_mol(mol)
    aromatic = {
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in Chem.MolFromSmiles(smiles).GetBonds() if b.GetIsAromatic()
    }
    assert (arrays.bonds == 4).sum() == 2 * len(aromatic)
    back = to_mol(arrays)
    assert canonical_smiles(back) == Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    again = from_mol(back)
    for name in ("numbers", "positions", "charges", "bonds"):
        assert np.array_equal(getattr(again, name), getattr(arrays, name)), name
    assert not any(atom.GetTotalNumHs() for atom in back.GetAtoms())
    assert back.GetNumConformers() == 1


@pytest.mark.parametrize("smiles", SMILES)
def test_aromatic_and_kekulised_forms_mean_the_same(smiles):
    arrays = from_mol(embedded(smiles))
    orders = kekule_orders(to_mol(arrays))
    assert orders.max() <= 3
    assert np.array_equal(orders > 0, arrays.bonds > 0)
    plain = Arrays(arrays.numbers, arrays.positions, arrays.charges, orders)
    assert np.array_equal(from_mol(to_mol(plain)).bonds, arrays.bonds)
    assert canonical_smiles(to_mol(plain)) == canonical_smiles(to_mol(arrays))
    assert (arrays.kekulised().bonds.sum(1) == orders.sum(1)).all()


def test_kekulised_molecule_has_no_aromatic_flags():
    mol = to_mol(from_mol(embedded("c1ccncc1")), kekulised=True)
    assert not any(a.GetIsAromatic() for a in mol.GetAtoms())
    assert not any(b.GetIsAromatic() for b in mol.GetBonds())
    drawn = kekule_orders(mol)
    assert all(drawn[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] == b.GetBondTypeAsDouble() for b in mol.GetBonds())


def test_reading_does_not_change_the_molecule():
    mol = embedded("c1cc[nH]c1")
    before = mol.ToBinary()
    from_mol(mol)
    kekule_orders(mol)
    canonical_smiles(mol)
    assert mol.ToBinary() == before


def test_conformer_is_chosen_by_id():
    mol = embedded("CO")
    second = Chem.Conformer(mol.GetNumAtoms())
    second.SetPositions(np.ones((mol.GetNumAtoms(), 3)))
    identity = mol.AddConformer(second, assignId=True)
    assert (from_mol(mol, conformer=identity).positions == 1).all()


def test_implicit_hydrogens_are_refused_unless_drawn():
    mol = Chem.MolFromSmiles("CO")
    AllChem.Compute2DCoords(mol)
    with pytest.raises(ValueError, match="AddHs"):
        from_mol(mol)
    assert from_mol(mol, as_drawn=True).numbers.tolist() == [6, 8]


def test_missing_conformer_and_strange_bonds_are_named():
    with pytest.raises(ValueError, match="conformer"):
        from_mol(Chem.AddHs(Chem.MolFromSmiles("C")))
    with pytest.raises(ValueError, match="DATIVE"):
        kekule_orders(Chem.MolFromSmiles("[NH3]->[Fe+2]", sanitize=False), as_drawn=True)
    with pytest.raises(ValueError, match="conformer"):
        stereo_from_3d(Chem.MolFromSmiles("C"))


def test_errors_carry_a_reason():
    methyl = from_mol(embedded("C"))
    five = np.zeros((6, 6), dtype=np.int64)
    five[0, 1:] = five[1:, 0] = 1
    hypervalent = Arrays([6, 1, 1, 1, 1, 1], np.zeros((6, 3)), np.zeros(6), five)
    with pytest.raises(MoleculeError, match="valence") as caught:
        to_mol(hypervalent)
    assert caught.value.reason == "valence"
    # by the same protocol that takes it from one process to another
    assert copy.copy(caught.value).reason == "valence"
    unsanitised = to_mol(hypervalent, sanitise=False)
    assert unsanitised.GetNumAtoms() == 6
    assert unsanitised.GetNumBonds() == 5
    with pytest.raises(MoleculeError, match="atomic number 0") as caught:
        to_mol(Arrays([0], np.zeros((1, 3)), [0], [[0]]))
    assert caught.value.reason == "element"
    triangle = np.full((3, 3), 4) - 4 * np.eye(3, dtype=int)
    with pytest.raises(MoleculeError, match="aromatic") as caught:
        to_mol(Arrays([6, 6, 6], np.zeros((3, 3)), [0] * 3, triangle))
    assert caught.value.reason == "kekulize"
    assert len(methyl) == 5


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"positions": np.zeros((2, 2))}, r"positions has shape \(2, 2\)"),
        ({"charges": [0]}, "charges has shape"),
        ({"bonds": [[0, 1], [0, 0]]}, "symmetric"),
        ({"bonds": [[1, 0], [0, 0]]}, "diagonal"),
        ({"bonds": [[0, 5], [5, 0]]}, r"\[5\]"),
    ],
)
def test_arrays_refuse_what_does_not_belong_together(change, match):
    good = {"numbers": [1, 1], "positions": np.zeros((2, 3)), "charges": [0, 0], "bonds": [[0, 1], [1, 0]]}
    assert len(Arrays(**good)) == 2
    with pytest.raises(ValueError, match=match):
        Arrays(**{**good, **change})


def test_types_are_fixed():
    arrays = Arrays(np.array([1], dtype=np.uint8), np.zeros((1, 3), dtype=np.float32), [0], [[0]])
    assert arrays.numbers.dtype == arrays.charges.dtype == arrays.bonds.dtype == np.int64
    assert arrays.positions.dtype == np.float64


def test_stereo_comes_from_the_coordinates():
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)O"))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    flat = to_mol(from_mol(mol))
    assert Chem.FindMolChiralCenters(flat, includeUnassigned=False) == []
    assert Chem.MolToSmiles(stereo_from_3d(flat)) == Chem.MolToSmiles(mol)
    arrays = from_mol(mol)
    mirrored = Arrays(arrays.numbers, arrays.positions * [-1, 1, 1], arrays.charges, arrays.bonds)
    other = stereo_from_3d(to_mol(mirrored))
    assert Chem.MolToSmiles(other) != Chem.MolToSmiles(mol)
    assert canonical_smiles(other) == canonical_smiles(mol) == "CC(N)O"


def test_isotopes_are_not_part_of_the_identity():
    mol = Chem.MolFromSmiles("[2H]C([2H])([2H])[18OH]")
    assert canonical_smiles(mol) == "CO"
    assert mol.GetAtomWithIdx(0).GetIsotope() == 2


def test_identity_has_no_hydrogen_even_where_one_defines_the_stereo():
    mol = Chem.AddHs(Chem.MolFromSmiles("[H]/N=C/C"))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    assert canonical_smiles(stereo_from_3d(mol)) == canonical_smiles(mol) == "CC=N"
