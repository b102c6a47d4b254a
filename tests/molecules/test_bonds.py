"""Perception of bonds, on small hand-made geometries and on the archive."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.molecules.bonds import perceive
from moldiff.molecules.convert import Arrays, canonical_smiles, from_mol, kekule_orders, to_mol
from moldiff.molecules.validity import check


def embedded(smiles: str) -> Arrays:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    return from_mol(mol)


@pytest.mark.parametrize("smiles", ["C", "CCO", "c1ccncc1", "c1c[nH]cn1", "C[N+](=O)[O-]", "CC#N", "[NH3+]CC(=O)[O-]"])
def test_bonds_are_found(smiles):
    known = embedded(smiles)
    found = perceive(known.numbers, known.positions)
    assert found.reason == "ok"
    assert found.arrays is not None
    assert canonical_smiles(to_mol(found.arrays)) == smiles
    assert np.array_equal(found.arrays.positions, known.positions)
    plain = perceive(known.numbers, known.positions, aromatic=False)
    assert plain.arrays is not None
    assert plain.arrays.bonds.max() <= 3
    assert canonical_smiles(to_mol(plain.arrays)) == smiles


def test_charge_is_the_total():
    ammonium = embedded("[NH4+]")
    assert perceive(ammonium.numbers, ammonium.positions).arrays is None
    found = perceive(ammonium.numbers, ammonium.positions, charge=1)
    assert found.arrays is not None
    assert found.arrays.charges.tolist() == [1, 0, 0, 0, 0]


def test_failures_have_a_reason():
    water = embedded("O")
    apart = np.concatenate([water.positions, water.positions + 8])
    assert perceive(np.tile(water.numbers, 2), apart).reason == "disconnected"
    methyl = embedded("C")
    assert perceive(methyl.numbers[:4], methyl.positions[:4]).arrays is None
    assert perceive([], np.zeros((0, 3))).reason == "empty"
    assert perceive([8], [[np.nan, 0, 0]]).reason == "nonfinite"
    assert perceive([0], np.zeros((1, 3))).reason == "element"
    with pytest.raises(ValueError, match="positions"):
        perceive([1, 1], np.zeros((3, 3)))


@pytest.mark.data
def test_the_archive_of_qm9(data_root):
    """Round trip, verdict and perception of 200 molecules agree with the archive."""
    with np.load(data_root / "qm9" / "qm9.npz", allow_pickle=False) as archive:
        sizes = archive["n_atoms"].astype(np.int64)
        columns = {name: archive[name] for name in ("numbers", "positions", "charges", "bonds", "smiles")}
    ends = np.concatenate([[0], sizes.cumsum()])
    pair_ends = np.concatenate([[0], (sizes * (sizes - 1) // 2).cumsum()])
    for i in np.random.default_rng(5).choice(len(sizes), 200, replace=False):
        atoms = slice(ends[i], ends[i + 1])
        bonds = np.zeros((sizes[i], sizes[i]), dtype=np.int64)
        bonds[np.triu_indices(sizes[i], 1)] = columns["bonds"][pair_ends[i] : pair_ends[i + 1]]
        kekulised = Arrays(
            columns["numbers"][atoms], columns["positions"][atoms], columns["charges"][atoms], bonds + bonds.T
        )
        smiles = str(columns["smiles"][i])
        verdict = check(kekulised)
        assert verdict.valid_connected and verdict.molecule_stable and verdict.published_valid, smiles
        assert canonical_smiles(verdict.mol) == smiles
        aromatic = from_mol(verdict.mol)
        again = check(aromatic)
        assert again.valid_connected and again.molecule_stable, smiles
        assert canonical_smiles(again.mol) == smiles
        assert np.array_equal(from_mol(again.mol).bonds, aromatic.bonds)
        assert np.array_equal(kekule_orders(again.mol).sum(1), kekulised.bonds.sum(1))
        found = perceive(kekulised.numbers, kekulised.positions)
        assert found.arrays is not None
        assert np.array_equal(found.arrays.bonds, aromatic.bonds), smiles
        assert np.array_equal(found.arrays.charges, kekulised.charges), smiles
