"""Distances against formulas worked out another way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from moldiff.data.profile import Profile, measure
from moldiff.evaluation import comparison
from moldiff.molecules import similarity
from moldiff.molecules.convert import from_mol


def measures(embedded: Callable[..., Any], *smiles: str) -> list[dict[str, Any]]:
    mols = [embedded(text) for text in smiles]
    return [measure(mol, from_mol(mol)) for mol in mols]


def test_a_set_has_no_distance_from_itself(embedded: Callable[..., Any]) -> None:
    found = measures(embedded, "CCO", "CC(=O)C", "C1CC1CN", "c1ccc2ccccc2c1")
    table, types = comparison.compare(found, Profile.of(found, ["?"] * 4), 4, intervals=False)
    ones = {"fragment_similarity", "scaffold_similarity"}
    for name, metric in table.items():
        if not math.isnan(metric["value"]):
            assert metric["value"] == pytest.approx(1.0 if name in ones else 0.0, abs=1e-9), name
        assert (metric["n"], metric["of"]) == (4, 4)
    assert types["w1_bond_length"]["C-O"] == 0


def test_longer_bonds_show_as_their_shift(embedded: Callable[..., Any]) -> None:
    mol = embedded("C")
    near, far = from_mol(mol), from_mol(mol)
    far.positions[:] *= 1.1
    profile = Profile.of([measure(mol, near)], ["C"])
    table, types = comparison.compare([measure(mol, far)], profile, 1, intervals=False)
    length = np.linalg.norm(near.positions[1:] - near.positions[0], axis=1).mean()
    assert table["w1_bond_length"]["value"] == pytest.approx(0.1 * length, abs=1e-3)
    assert types["w1_bond_length"] == {"C-H": pytest.approx(0.1 * length, abs=1e-3)}
    assert table["w1_bond_angle"]["value"] == pytest.approx(0, abs=1e-9)


def test_total_variation_by_hand() -> None:
    # 3 C 1 H against 1 C 1 H: shares 3/4, 1/4 and 1/2, 1/2
    value, _ = comparison.counted([{"C": 1}, {"C": 2, "H": 1}], {"C": 1, "H": 1}, "element", 0, False)
    assert value == 0.25
    value, _ = comparison.counted([{"C": 1}], {"N": 1}, "element", 0, False)
    assert value == 1.0
    assert math.isnan(comparison.counted([], {"N": 1}, "element", 0, True)[0])


def test_cosine_by_hand() -> None:
    value, _ = comparison.counted([{"a": 3}, {"b": 4}], {"a": 3, "c": 4}, "fragment", 0, False)
    assert value == pytest.approx(9 / 25)


def test_intervals_hold_the_value_and_shrink() -> None:
    rng = np.random.default_rng(0)
    reference = {"C": 500, "H": 500}

    def width(n: int) -> float:
        counters = [{"C": int(c), "H": 10 - int(c)} for c in rng.integers(2, 7, n)]
        value, (low, high) = comparison.counted(counters, reference, "element", 0, True)
        assert low <= value <= high
        return high - low

    assert width(400) < width(40)


def test_descriptors_by_hand() -> None:
    value, (low, high) = comparison.described(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 0, True)
    assert value == 1.0 and low <= 1.0 <= high


def test_diversity_is_that_of_the_similarity_module(embedded: Callable[..., Any]) -> None:
    packed = similarity.fingerprints([embedded(smiles) for smiles in ("CCO", "CCN", "c1ccccc1", "CC(=O)O")])
    table = comparison.similar(packed, packed, 10)
    assert table["internal_diversity"]["value"] == pytest.approx(similarity.internal_diversity(packed), abs=1e-6)
    assert table["internal_diversity"]["low"] <= table["internal_diversity"]["value"]
    assert (table["snn"]["value"], table["snn"]["n"], table["snn"]["of"]) == (1.0, 4, 10)
    assert comparison.similar(packed[:0], packed, 10) == {}


def test_median_counts_infinite_drops() -> None:
    found = comparison.median(np.array([1.0, 2.0, math.inf]), 5)
    assert (found["value"], found["n"], found["of"]) == (2.0, 3, 5)
    assert found["low"] == 1.0 and math.isinf(found["high"])
    assert math.isnan(comparison.median(np.zeros(0), 5)["value"])


def test_average_and_its_interval() -> None:
    found = comparison.average(np.arange(101.0), 101)
    assert found["value"] == 50
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * np.arange(101.0).std() / 101**0.5, rel=0.15)
