"""The EDM protocol: bonds from a distance table."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.molecules import edm

DATA = Path(os.environ.get("MOLDIFF_DATA", "")) / "qm9" / "qm9.npz"


def pair(first: int, second: int, distance: float, table: str = "qm9") -> int:
    return int(edm.edm_bonds(np.array([first, second]), np.array([[0, 0, 0], [0, 0, distance]]), table=table)[0, 1])


METHANE = np.array([6, 1, 1, 1, 1]), np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63


@pytest.mark.parametrize(
    ("first", "second", "longest"),
    [  # the longest single, double and triple bond: typical length plus 10, 5 and 3 pm
        (1, 1, (0.84,)),
        (6, 1, (1.19,)),
        (7, 1, (1.11,)),
        (8, 1, (1.06,)),
        (6, 6, (1.64, 1.39, 1.23)),
        (6, 7, (1.57, 1.34, 1.19)),
        (6, 8, (1.53, 1.25, 1.16)),
        (7, 7, (1.55, 1.30, 1.13)),
        (7, 8, (1.50, 1.26)),
        (8, 8, (1.58, 1.26)),
        (6, 9, (1.45,)),
    ],
)
def test_thresholds_of_the_published_table(first, second, longest):
    assert pair(first, second, longest[0] + 0.001) == 0
    for order, distance in enumerate(longest, start=1):
        assert pair(first, second, distance - 0.001) == order
        assert pair(second, first, distance - 0.001) == order
    assert pair(first, second, 0.3) == len(longest)


def test_geom_table():
    assert pair(6, 17, 1.86, "geom") == 1
    assert pair(6, 17, 1.88, "geom") == 0
    assert pair(15, 8, 1.54, "geom") == 2
    assert pair(5, 6, 1.0, "geom") == 0  # no entry, no bond
    with pytest.raises(ValueError, match="17"):
        pair(6, 17, 1.8)
    with pytest.raises(ValueError, match="table"):
        pair(6, 6, 1.5, "zinc")


def test_methane():
    verdict = edm.edm_check(*METHANE)
    assert verdict.valid and verdict.molecule_stable and verdict.reason == "ok"
    assert (verdict.atoms, verdict.atoms_stable, verdict.fragments) == (5, 5, 1)
    assert verdict.smiles == "[H]C([H])([H])[H]"


def test_carbene_is_valid_here_but_not_stable():
    numbers, positions = METHANE
    verdict = edm.edm_check(numbers[:3], positions[:3])
    assert verdict.valid  # implicit hydrogens fill it up
    assert (verdict.atoms_stable, verdict.molecule_stable) == (2, False)
    assert verdict.smiles == "[H]C[H]"


def test_five_bonds_on_carbon():
    numbers, positions = METHANE
    crowded = np.concatenate([positions, [[0, 0, 1.0]]])
    crowded[1] *= 1.02  # keeps the hydrogens apart: 0.9 angstrom and more
    verdict = edm.edm_check(np.append(numbers, 1), crowded)
    assert (verdict.valid, verdict.smiles, verdict.reason) == (False, None, "valence")
    assert verdict.atoms_stable == 5


def test_ammonium_has_no_charge_here_and_fails():
    _, positions = METHANE
    verdict = edm.edm_check(np.array([7, 1, 1, 1, 1]), positions * 0.94)
    assert (verdict.valid, verdict.reason, verdict.atoms_stable) == (False, "valence", 4)


def test_largest_fragment_is_kept():
    numbers, positions = METHANE
    both = np.concatenate([[1, 1], numbers])
    apart = np.concatenate([[[9, 0, 0], [9, 0, 0.74]], positions])
    verdict = edm.edm_check(both, apart)
    assert (verdict.valid, verdict.fragments, verdict.molecule_stable) == (True, 2, True)
    assert verdict.smiles == "[H]C([H])([H])[H]"


def test_geom_draws_single_bonds_but_counts_orders():
    numbers = np.array([6, 6, 1, 1, 1, 1])
    half = 0.67
    positions = np.array(
        [[-half, 0, 0], [half, 0, 0]] + [[sign * (half + 0.54), y, 0] for sign in (-1, 1) for y in (-0.93, 0.93)]
    )
    assert edm.edm_check(numbers, positions).smiles == "[H]C([H])=C([H])[H]"
    verdict = edm.edm_check(numbers, positions, table="geom")
    assert verdict.smiles == "[H]C([H])C([H])[H]"
    assert verdict.molecule_stable


@pytest.mark.parametrize(
    ("numbers", "positions", "reason"),
    [
        ([], np.zeros((0, 3)), "empty"),
        ([6], [[0, 0, math.nan]], "nonfinite"),
        ([6], [[0, 0, math.inf]], "nonfinite"),
        ([16], [[0, 0, 0]], "element"),
        ([0], [[0, 0, 0]], "element"),
        ([-5], [[0, 0, 0]], "element"),
        ([4000], [[0, 0, 0]], "element"),
        ([6, 6], [[0, 0, 0], [0, 0, 1e200]], "ok"),
        ([6] * 7, np.zeros((7, 3)), "valence"),
    ],
)
def test_bad_structures_are_answers(numbers, positions, reason):
    verdict = edm.edm_check(np.array(numbers, dtype=int), np.array(positions, dtype=float))
    assert verdict.reason == reason
    assert verdict.reason in edm.REASONS
    assert verdict.atoms == len(numbers)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="shape"):
        edm.edm_check(np.array([6, 6]), np.zeros((1, 3)))


def test_summary_by_hand():
    numbers, positions = METHANE
    good, bare = edm.edm_check(numbers, positions), edm.edm_check(numbers[:3], positions[:3])
    bad = edm.edm_check(np.zeros(0, dtype=int), np.zeros((0, 3)))
    table = edm.edm_summary([good, good, bare, bad], {"[H]C[H]"})
    counts = {name: (row["n"], row["of"]) for name, row in table.items()}
    assert counts == {
        "edm_valid": (3, 4),
        "edm_molecule_stable": (2, 4),
        "edm_atom_stable": (12, 13),
        "edm_unique": (2, 3),
        "edm_vu": (2, 4),
        "edm_novel": (1, 2),
        "edm_vun": (1, 4),
    }
    empty = edm.edm_summary([])
    assert math.isnan(empty["edm_valid"]["value"])
    assert "edm_novel" not in empty


def test_valid_means_what_rdkit_says():
    for smiles in ("CCO", "C#N", "C=C=O"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=3)
        AllChem.MMFFOptimizeMolecule(mol)
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        verdict = edm.edm_check(numbers, mol.GetConformer().GetPositions())
        assert verdict.smiles == Chem.MolToSmiles(mol)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_file(), reason="MOLDIFF_DATA has no qm9/qm9.npz")
def test_qm9_test_molecules_score_as_measured():
    from moldiff.data.archive import Archive

    archive = Archive.load(DATA).subset("test")
    archive = archive.select(np.arange(0, len(archive), 3))
    verdicts = [edm.edm_check(r.numbers, r.positions) for r in map(archive.record, range(len(archive)))]
    table = edm.edm_summary(verdicts)
    assert table["edm_atom_stable"]["value"] == pytest.approx(0.994, abs=0.003)
    assert table["edm_molecule_stable"]["value"] == pytest.approx(0.955, abs=0.005)
    assert table["edm_valid"]["value"] == pytest.approx(0.978, abs=0.006)
