"""Energies and tests that rest on other programs; those not installed are skipped."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import pytest

from moldiff.data.archive import Archive
from moldiff.evaluation import analyse, energies, evaluate


def test_drops_that_are_not_finite_stay_in_the_median() -> None:
    rows = [{"mmff_drop": drop, "mmff_converged": math.isfinite(drop)} for drop in (1.0, 3.0, math.inf)]
    found = energies.mmff([*rows, {"mmff_drop": math.nan}, {}], 5)
    assert (found["mmff_drop"]["value"], found["mmff_drop"]["n"], found["mmff_drop"]["of"]) == (3.0, 3, 5)
    assert found["mmff_drop_mean"]["value"] == 2.0
    assert (found["mmff_converged"]["n"], found["mmff_converged"]["of"]) == (2, 3)
    assert math.isnan(energies.mmff([], 0)["mmff_drop"]["value"])


def test_a_missing_extra_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"moldiff\[xtb\]"):
        evaluate([], xtb=1)
    with pytest.raises(ImportError, match=r"moldiff\[posebusters\]"):
        evaluate([], posebusters=True)


def test_relaxation(archive: Archive, embedded: Callable[..., Any]) -> None:
    pytest.importorskip("tblite")
    stretched = embedded("O")
    stretched.GetConformer().SetAtomPosition(0, stretched.GetConformer().GetPositions()[0] * 1.3)
    result = evaluate([stretched, embedded("C"), None], reference=archive, xtb=2, jobs=1)
    drop = result.metrics["xtb_drop"]
    assert (drop["n"], drop["of"]) == (2, 2) and drop["value"] > 0
    assert drop["floor"] is not None and 0 <= drop["floor"] < 20
    assert result.metrics["xtb_failed"]["value"] == 0
    # methane is near its minimum, the stretched water is not
    assert result.rows[0]["xtb_drop"] > 5 > result.rows[1]["xtb_drop"] >= 0
    assert result.rows[2].get("xtb_drop") is None


# not importorskip: importing PoseBusters reroutes RDKit's messages, which posebust() puts right and a test would not
@pytest.mark.skipif(importlib.util.find_spec("posebusters") is None, reason="PoseBusters is not installed")
def test_posebusters(embedded: Callable[..., Any]) -> None:
    result = evaluate([embedded("CCO"), None], reference=None, posebusters=True, jobs=0)
    passed = result.metrics["posebusters"]
    assert (passed["n"], passed["of"]) == (1, 2)
    assert any(name.startswith("posebusters_") and "bond" in name for name in result.metrics)
    assert result.rows[0]["posebusters"] is True


def test_posebusters_on_a_random_part(monkeypatch: pytest.MonkeyPatch, embedded: Callable[..., Any]) -> None:
    monkeypatch.setattr(energies, "require", lambda **wanted: None)
    asked: list[bytes] = []

    def bust(binary: bytes) -> dict[str, bool]:
        asked.append(binary)
        return {"bond_lengths": True, "internal_energy": len(asked) > 1, "passed": len(asked) > 1}

    monkeypatch.setattr(analyse, "bust", bust)
    mols = [embedded("CCO"), None, embedded("CC"), embedded("CCC"), None, embedded("O")]
    result = evaluate(mols, reference=None, posebusters=6, jobs=0)
    # four are valid and the first of them does not pass: three of six
    assert (result.metrics["posebusters"]["n"], result.metrics["posebusters"]["of"]) == (3, 6)
    assert (result.metrics["posebusters_bond_lengths"]["n"], result.metrics["posebusters_bond_lengths"]["of"]) == (4, 4)
    assert [row["posebusters"] for row in result.rows].count(True) == 3 and result.rows[1]["posebusters"] is False
    asked.clear()
    part = evaluate(mols, reference=None, posebusters=4, jobs=0)
    assert part.metrics["posebusters"]["of"] == 4 and len(asked) == sum(
        "posebusters" in row and mols[row["index"]] is not None for row in part.rows
    )
    with pytest.raises(ValueError, match="posebusters = -1"):
        evaluate(mols, reference=None, posebusters=-1)
