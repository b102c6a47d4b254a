"""Rates, their denominators and intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from moldiff.molecules.convert import from_mol
from moldiff.molecules.summary import atom_rate, rate, reasons, summary, wilson
from moldiff.molecules.validity import Verdict, check


def verdict(smiles: str) -> Verdict:
    """The verdict on a SMILES taken strictly: bracket atoms may lack hydrogens."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    return check(from_mol(mol))


def test_wilson_against_published_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_rate(case):
    k, n = case
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_at_the_ends():
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="k = 3 of n = 2"):
        wilson(3, 2)


def test_summary_counts():
    verdicts = [verdict(s) for s in ("CO", "OC", "CC", "O.O", "[CH3]")]
    table = summary(verdicts, ["CC"])
    expected = {
        "valid": (4, 5),
        "connected": (4, 5),
        "valid_connected": (3, 5),
        "valid_connected_published": (4, 5),
        "molecule_stable": (4, 5),
        "atom_stable": (29, 30),
        "unique": (3, 4),
        "vu": (3, 5),
        "novel": (2, 3),
        "vun": (2, 5),
    }
    assert {name: (row["n"], row["of"]) for name, row in table.items()} == expected
    for row in table.values():
        assert row["value"] == row["n"] / row["of"]
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert reasons(verdicts) == {"ok": 3, "radical": 1, "disconnected": 1}


def test_without_training_smiles_nothing_is_novel_or_not():
    assert not {"novel", "vun"} & set(summary([verdict("C")]))


def test_nothing_to_count():
    table = summary([], [])
    assert all(math.isnan(row["value"]) and row["of"] == 0 for row in table.values())
    bad = summary([verdict("[CH3]")])
    assert bad["valid"]["value"] == 0
    assert math.isnan(bad["unique"]["value"])


def test_atoms_of_one_molecule_are_not_independent():
    verdicts = [verdict("CCCC")] * 30 + [verdict("[CH]")] * 10
    row = summary(verdicts)["atom_stable"]
    low, high = wilson(int(row["n"]), int(row["of"]))
    assert row["high"] - row["low"] > 0
    assert row == summary(verdicts)["atom_stable"]
    assert row != summary(verdicts, rng=np.random.default_rng(9))["atom_stable"]
    assert low < row["value"] < high


def test_rows_by_hand():
    assert rate(3, 4)["value"] == 0.75
    assert (rate(3, 4)["low"], rate(3, 4)["high"]) == wilson(3, 4)
    assert math.isnan(rate(0, 0)["value"])
    with pytest.raises(ValueError, match="k = 5"):
        rate(5, 4)
    row = atom_rate([5, 0], [5, 15])
    assert (row["n"], row["of"], row["value"]) == (5, 20, 0.25)
    # two molecules: a draw has both, the whole one twice, or the broken one twice
    assert (row["low"], row["high"]) == (0, 1)
    with pytest.raises(ValueError, match="2 counts"):
        atom_rate([1, 2], [3])
