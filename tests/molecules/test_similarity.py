"""MOSES metrics."""

import math
from collections import Counter

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import AllChem

from moldiff.molecules import similarity

SMILES = ["CCO", "c1ccncc1", "CC(=O)Nc1ccccc1", "C1CC1CO", "N#Cc1ccco1", "CCCC", "C", "OCC(O)C1CCC(C1)c1ccccc1"]
MOLS = [Chem.MolFromSmiles(smiles) for smiles in SMILES]


def rdkit_matrix() -> np.ndarray:
    bits = [AllChem.GetMorganFingerprintAsBitVect(mol, 2, nBits=1024) for mol in MOLS]
    return np.array([DataStructs.BulkTanimotoSimilarity(one, bits) for one in bits])


def bits(*ones: int) -> np.ndarray:
    row = np.zeros(1024, dtype=np.uint8)
    row[list(ones)] = 1
    return np.packbits(row)


def test_hydrogens_and_stereo_do_not_matter():
    mol = Chem.MolFromSmiles("C[C@H](O)/C=C/F")
    flat = Chem.MolFromSmiles("CC(O)C=CF")
    assert (similarity.fingerprint(mol) == similarity.fingerprint(Chem.AddHs(flat))).all()
    assert similarity.fragments(mol) == similarity.fragments(Chem.AddHs(flat))
    assert "@" not in "".join(similarity.fragments(mol))


def test_strip_keeps_the_molecule():
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](O)F"))
    assert Chem.MolToSmiles(similarity.strip(mol)) == "CC(O)F"
    assert mol.GetNumAtoms() == 9 and "@" in Chem.MolToSmiles(mol)


def test_tanimoto_by_hand():
    first = np.stack([bits(0, 1, 2), bits(5)])
    second = np.stack([bits(1, 2, 3, 4), bits(0, 1, 2, 3)])
    # {0,1,2} shares 2 of 5 and 3 of 4; {5} shares nothing
    assert similarity.nearest(first, second) == pytest.approx([0.75, 0])
    assert similarity.snn(first, second) == pytest.approx(0.375)
    # within second: 3 of 5 between the two, 1 with themselves
    assert similarity.internal_diversity(second) == pytest.approx(1 - (2 * 1 + 2 * 0.6) / 4)
    assert similarity.internal_diversity(second, p=2) == pytest.approx(1 - math.sqrt((1 + 0.36) / 2))
    assert similarity.nearest(np.stack([bits()]), np.stack([bits(), bits(1)])) == pytest.approx([1])


def test_nearest_and_diversity_are_rdkits():
    packed = similarity.fingerprints(MOLS)
    matrix = rdkit_matrix()
    assert similarity.nearest(packed[:3], packed[3:]) == pytest.approx(matrix[:3, 3:].max(1), abs=1e-6)
    assert similarity.internal_diversity(packed) == pytest.approx(1 - matrix.mean(), abs=1e-6)


def test_blocks_do_not_show(monkeypatch):
    packed = similarity.fingerprints(MOLS)
    whole = similarity.nearest(packed, packed[::-1][:5]), similarity.internal_diversity(packed, p=2)
    monkeypatch.setattr(similarity, "_BLOCK", 3)
    assert similarity.nearest(packed, packed[::-1][:5]) == pytest.approx(whole[0])
    assert similarity.internal_diversity(packed, p=2) == pytest.approx(whole[1])


def test_duplicates_have_no_diversity():
    packed = similarity.fingerprints([MOLS[1]] * 5)
    assert similarity.internal_diversity(packed) == pytest.approx(0)
    assert similarity.snn(packed, packed) == pytest.approx(1)


def test_empty_sets():
    none = similarity.fingerprints([])
    one = similarity.fingerprints(MOLS[:1])
    assert none.shape == (0, 128)
    assert math.isnan(similarity.snn(none, one))
    assert math.isnan(similarity.snn(one, none))
    assert math.isnan(similarity.internal_diversity(none))
    assert math.isnan(similarity.cosine({}, {"a": 1}))


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match="fingerprints"):
        similarity.nearest(np.zeros((3, 1024)), np.zeros((3, 1024)))
    with pytest.raises(ValueError, match="power"):
        similarity.internal_diversity(similarity.fingerprints(MOLS), p=0)


def test_fragments_of_an_amide():
    # BRICS cuts the amide bond (1-5), the ether (3-4) and nothing in the ring
    assert similarity.fragments(Chem.MolFromSmiles("CC(=O)NC")) == Counter({"[1*]C(C)=O": 1, "[5*]NC": 1})
    assert similarity.fragments(Chem.MolFromSmiles("C")) == Counter({"C": 1})


def test_scaffolds():
    assert similarity.scaffold(Chem.MolFromSmiles("CCc1ccc(CC2CC2)cc1")) == "c1ccc(CC2CC2)cc1"
    assert similarity.scaffold(Chem.MolFromSmiles("Cc1ccccc1")) is None
    assert similarity.scaffold(Chem.MolFromSmiles("Cc1ccccc1"), min_rings=1) == "c1ccccc1"
    assert similarity.scaffold(Chem.MolFromSmiles("CCO"), min_rings=0) is None
    assert similarity.scaffold(Chem.AddHs(Chem.MolFromSmiles("C1CC2CC12"))) == "C1CC2CC12"


def test_cosine_by_hand():
    assert similarity.cosine({"a": 1, "b": 1}, {"b": 2, "c": 2}) == pytest.approx(0.5)
    assert similarity.cosine({"a": 3}, {"a": 7}) == pytest.approx(1)
    assert similarity.cosine({"a": 3}, {"b": 7}) == pytest.approx(0)
