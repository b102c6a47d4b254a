"""Hand-made molecules on both sides of each definition."""

import time

import numpy as np
import pytest
from rdkit import Chem

from moldiff.molecules.convert import Arrays, canonical_smiles, from_mol, to_mol
from moldiff.molecules.valences import STABLE_VALENCES, is_stable
from moldiff.molecules.validity import REASONS, check


def made(numbers: list[int], edges: list[tuple[int, int, int]], charges: dict[int, int] | None = None) -> Arrays:
    n = len(numbers)
    bonds = np.zeros((n, n), dtype=np.int64)
    for i, j, order in edges:
        bonds[i, j] = bonds[j, i] = order
    q = [(charges or {}).get(i, 0) for i in range(n)]
    return Arrays(numbers, np.arange(3.0 * n).reshape(n, 3), q, bonds)


def from_smiles(smiles: str) -> Arrays:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    return from_mol(mol)


def star(centre: int, hydrogens: int, charge: int = 0) -> Arrays:
    return made([centre] + [1] * hydrogens, [(0, i + 1, 1) for i in range(hydrogens)], {0: charge})


def aromatic_ring(symbols: list[int], hydrogens: list[int], charges: dict[int, int] | None = None) -> Arrays:
    n = len(symbols)
    edges = [(i, (i + 1) % n, 4) for i in range(n)] + [(i, n + k, 1) for k, i in enumerate(hydrogens)]
    return made(symbols + [1] * len(hydrogens), edges, charges)


NITROMETHANE = ([6, 7, 8, 8, 1, 1, 1], [(0, 1, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1), (1, 2, 2)])


@pytest.mark.parametrize(
    ("arrays", "smiles"),
    [
        (aromatic_ring([6] * 6, [0, 1, 2, 3, 4, 5]), "c1ccccc1"),
        (aromatic_ring([7, 6, 6, 6, 6, 6], [1, 2, 3, 4, 5]), "c1ccncc1"),
        (aromatic_ring([7, 6, 6, 6, 6], [0, 1, 2, 3, 4]), "c1cc[nH]c1"),
        (aromatic_ring([7, 6, 7, 6, 6], [0, 1, 3, 4]), "c1c[nH]cn1"),
        (aromatic_ring([7, 6, 6, 6, 6, 6], [0, 1, 2, 3, 4, 5], {0: 1}), "c1cc[nH+]cc1"),
        (made(NITROMETHANE[0], [*NITROMETHANE[1], (1, 3, 1)], {1: 1, 3: -1}), "C[N+](=O)[O-]"),
        (star(7, 4, 1), "[NH4+]"),
        (star(6, 4), "C"),
        (star(6, 3, -1), "[CH3-]"),
        (star(6, 3, 1), "[CH3+]"),
        (star(16, 6), "S"),
        (made([1, 1], [(0, 1, 1)]), "[H][H]"),
        (from_smiles("[NH3+]CC(=O)[O-]"), "[NH3+]CC(=O)[O-]"),
        (from_smiles("NCC(=O)O"), "NCC(=O)O"),
    ],
)
def test_valid_connected_and_stable(arrays, smiles):
    for form in (arrays, arrays.kekulised()):
        verdict = check(form)
        assert verdict.reason == "ok", verdict.message
        assert verdict.message == ""
        assert verdict.valid and verdict.connected and verdict.valid_connected and verdict.published_valid
        assert verdict.molecule_stable
        assert verdict.atoms_stable == verdict.atoms == len(arrays)
        assert verdict.mol is not None
        if smiles != "S":  # hexavalent sulphur is written [SH6]
            assert canonical_smiles(verdict.mol) == smiles


@pytest.mark.parametrize(
    ("arrays", "reason", "stable", "published"),
    [
        (made([], []), "empty", 0, False),
        (made(NITROMETHANE[0], [*NITROMETHANE[1], (1, 3, 2)]), "valence", 6, True),  # nitromethane, five bonds on N
        (star(6, 5), "valence", 5, False),  # CH5
        (star(7, 4), "valence", 4, False),  # ammonium without its charge
        (star(6, 4, 1), "valence", 4, False),  # CH4+
        (star(6, 2), "radical", 2, True),  # carbene
        (star(6, 3), "radical", 3, True),  # methyl
        (star(7, 2, 1), "radical", 2, True),  # nitrenium
        (star(16, 3), "radical", 3, True),  # three bonds on sulphur
        (made([6], []), "radical", 0, True),  # a single carbon
        (made([1], []), "radical", 0, True),  # a single hydrogen
        (aromatic_ring([7, 6, 6, 6, 6], [1, 2, 3, 4]), "kekulize", 4, False),  # pyrrole without N-H
        (aromatic_ring([6] * 5, [0, 1, 2, 3, 4]), "kekulize", 5, False),  # cyclopentadienyl
        (aromatic_ring([6] * 6, [0, 1, 2, 3, 4]), "radical", 10, True),  # phenyl
        (made([6, 6, 1, 1, 1, 1], [(0, 1, 4), (0, 2, 1), (0, 3, 1), (1, 4, 1), (1, 5, 1)]), "kekulize", 4, False),
        (made([0], []), "element", 0, False),
        (made([200], []), "element", 0, False),
    ],
)
def test_invalid(arrays, reason, stable, published):
    verdict = check(arrays)
    assert verdict.reason == reason, verdict.message
    assert reason in REASONS
    assert verdict.message
    assert not verdict.valid and not verdict.valid_connected and not verdict.molecule_stable
    assert verdict.mol is None
    assert verdict.atoms_stable == stable
    assert verdict.published_valid == published


def test_single_atoms_that_need_no_bond_are_molecules():
    for number, charge in ((2, 0), (10, 0), (11, 1), (17, -1)):
        verdict = check(made([number], [], {0: charge}))
        assert verdict.reason == "ok"
        assert not verdict.molecule_stable  # not in the table


def test_two_fragments_are_valid_but_not_connected():
    verdict = check(made([8, 1, 1, 8, 1, 1], [(0, 1, 1), (0, 2, 1), (3, 4, 1), (3, 5, 1)]))
    assert verdict.valid and verdict.mol is not None
    assert not verdict.connected and not verdict.valid_connected and not verdict.published_valid
    assert verdict.molecule_stable
    assert verdict.reason == "disconnected"


def test_a_failed_aromatic_system_leaves_the_others_stable():
    # Benzene, and a pyrrole ring without its hydrogen, in one record.
    good = aromatic_ring([6] * 6, [0, 1, 2, 3, 4, 5])
    bad = aromatic_ring([7, 6, 6, 6, 6], [1, 2, 3, 4])
    n, m = len(good), len(bad)
    bonds = np.zeros((n + m, n + m), dtype=np.int64)
    bonds[:n, :n], bonds[n:, n:] = good.bonds, bad.bonds
    both = Arrays(np.append(good.numbers, bad.numbers), np.zeros((n + m, 3)), np.zeros(n + m), bonds)
    verdict = check(both)
    assert verdict.reason == "kekulize"
    assert verdict.atoms_stable == n + 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite_fail_in_every_respect(value):
    water = made([8, 1, 1], [(0, 1, 1), (0, 2, 1)])
    water.positions[1, 2] = value
    verdict = check(water)
    assert verdict.reason == "nonfinite"
    assert not verdict.valid and not verdict.published_valid and not verdict.molecule_stable
    assert verdict.atoms_stable == 0


def test_valid_is_not_stable():
    # An element that is not in the table is never stable.
    assert check(star(5, 3)).molecule_stable
    selenium = check(star(34, 2))
    assert selenium.valid_connected and not selenium.molecule_stable
    assert selenium.atoms_stable == 2


def test_stability_table():
    assert is_stable(16, 0, 4) and not is_stable(16, 0, 3)
    assert is_stable(7, 1, 4) and not is_stable(7, 0, 4)
    assert not is_stable(7, 2, 5)
    assert all(sums == tuple(sorted(sums)) for sums in STABLE_VALENCES.values())


def test_random_symbols_never_raise():
    rng = np.random.default_rng(3)
    for _ in range(200):
        n = int(rng.integers(1, 12))
        upper = np.triu(rng.choice(5, (n, n), p=[0.7, 0.1, 0.05, 0.05, 0.1]), 1)
        arrays = Arrays(
            rng.choice([1, 6, 7, 8, 16], n), rng.normal(size=(n, 3)), rng.integers(-1, 2, n), upper + upper.T
        )
        verdict = check(arrays)
        assert verdict.reason in REASONS
        assert verdict.valid == (verdict.mol is not None)
        assert verdict.published_valid or not verdict.valid_connected
        assert verdict.reason == "element" or to_mol(arrays, sanitise=False).GetNumAtoms() == n


def test_rdkit_is_silent_only_here(capfd):
    check(star(6, 5))
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C(C)(C)(C)(C)C")
    assert "valence" in capfd.readouterr().err


def test_is_quick():
    arrays = from_smiles("CC1=CC(=O)NC2CC12C")
    check(arrays)
    began = time.perf_counter()
    for _ in range(50):
        check(arrays)
    # Meant to be under 1 ms (0.2 measured); the bound leaves room for a busy machine.
    assert (time.perf_counter() - began) / 50 < 5e-3
