"""Counts and denominators, on rows written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from moldiff.evaluation.analyse import failure
from moldiff.evaluation.rates import determine_bonds, distinct, rates


def row(smiles: str, **changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("valid", "connected", "valid_connected", "valid_connected_published"), True)
    good = {"smiles": smiles, "reason": "ok", "atoms": 5, "atoms_stable": 5, "charge": 0, "radical": False}
    return {**flags, **good, "molecule_stable": True} | changes


def test_denominators() -> None:
    rows = [
        row("C"),
        row("C"),
        row("CC", atoms=8, atoms_stable=8),
        row("C.C", connected=False, valid_connected=False, valid_connected_published=False, charge=1),
        row("", valid=False, valid_connected=False, reason="radical", radical=True, atoms=4, atoms_stable=3)
        | {"molecule_stable": False},
        failure("unreadable", "no atoms"),
    ]
    found = rates(rows, {"CC", "N"}, protocol="bonds")
    counts = {name: (metric["n"], metric["of"]) for name, metric in found.items()}
    assert counts == {
        "valid": (4, 6),
        "connected": (4, 6),
        "valid_connected": (3, 6),
        "valid_connected_published": (4, 6),
        "atom_stable": (26, 27),
        "molecule_stable": (4, 6),
        "unique": (3, 4),  # C, CC and C.C among four valid ones
        "vu": (3, 6),
        "novel": (2, 3),  # CC is known
        "vun": (2, 6),
        "radicals": (1, 6),
        "net_charge": (1, 6),
    }
    assert found["valid"]["value"] == pytest.approx(4 / 6)
    # Wilson 95 % of 4 of 6, from the closed formula
    z, p, n = 1.959963984540054, 4 / 6, 6
    centre = (p + z * z / 12) / (1 + z * z / 6)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / 6)
    assert (found["valid"]["low"], found["valid"]["high"]) == pytest.approx((centre - half, centre + half))


def test_duplicates_only() -> None:
    found = distinct(["C"] * 10, 20, frozenset())
    assert (found["unique"]["value"], found["vu"]["value"]) == (0.1, 0.05)
    assert (found["novel"]["value"], found["vun"]["value"]) == (1.0, 0.05)


def test_without_training_nothing_is_novel_or_known() -> None:
    assert set(distinct(["C"], 1, None)) == {"unique", "vu"}


def test_an_empty_set_has_no_rates() -> None:
    found = rates([], None, protocol="bonds")
    assert all(math.isnan(metric["value"]) and metric["of"] == 0 for metric in found.values())


def test_determine_bonds_stands_under_its_own_names() -> None:
    rows = [
        {"determine_bonds_valid": True, "determine_bonds_smiles": "C"},
        {"determine_bonds_valid": True, "determine_bonds_smiles": "CC"},
        failure("crash", ""),
    ]
    found = determine_bonds(rows, {"C"})
    assert {name: (metric["n"], metric["of"]) for name, metric in found.items()} == {
        "determine_bonds_valid": (2, 3),
        "determine_bonds_unique": (2, 2),
        "determine_bonds_novel": (1, 2),
        "determine_bonds_vun": (1, 3),
    }
