"""Numbers that rest on somebody's model of molecules: MMFF94, GFN2-xTB, PoseBusters."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from moldiff.evaluation.comparison import average, median
from moldiff.evaluation.rates import Metric
from moldiff.evaluation.workers import Workers
from moldiff.molecules.summary import rate

__all__ = ["busted", "mmff", "relaxed", "require"]

XTB_SECONDS = 120.0
"""Seconds for one relaxation."""
BUST_SECONDS = 60.0


def require(*, xtb: bool, posebusters: bool) -> None:
    """Say at once that an extra is missing, not after the work.

    Raises:
        ImportError: with the command that installs it.
    """
    for wanted, module, extra in ((xtb, "tblite", "xtb"), (posebusters, "posebusters", "posebusters")):
        if wanted and importlib.util.find_spec(module) is None:
            raise ImportError(f"{module} is not installed; install the extra: pip install 'moldiff[{extra}]'")


def mmff(rows: Sequence[dict[str, Any]], total: int, *, seed: int = 0) -> dict[str, Metric]:
    """The MMFF94 energy drops that the rows hold."""
    drops = np.array([row["mmff_drop"] for row in rows if not math.isnan(row.get("mmff_drop", math.nan))])
    converged = sum(bool(row.get("mmff_converged")) for row in rows)
    return {
        "mmff_drop": median(drops, total, seed=seed),
        "mmff_drop_mean": average(drops[np.isfinite(drops)], total, seed=seed),
        "mmff_converged": rate(converged, len(drops)),
    }


def relaxed(
    workers: Workers, mols: Sequence[bytes], count: int, *, rows: list[dict[str, Any]], seed: int = 0
) -> dict[str, Metric]:
    """Relax a random ``count`` of the molecules with GFN2-xTB; details go into their rows.

    Raises:
        ImportError: tblite is not installed.
    """
    chosen = np.random.default_rng(seed).permutation(len(mols))[:count].tolist()
    outcomes = workers.run(
        "moldiff.evaluation.analyse:relax",
        [mols[i] for i in chosen],
        label="GFN2-xTB",
        time_limit=1.5 * XTB_SECONDS,
        options={"seconds": XTB_SECONDS},
    )
    done = []
    for i, (status, result) in zip(chosen, outcomes, strict=True):
        rows[i]["xtb_reason"] = result["reason"] if status == "ok" else status
        if status == "ok" and result["ok"]:
            done.append(result)
            rows[i] |= {"xtb_drop": result["drop"], "xtb_rmsd": result["rmsd"]}
            rows[i]["xtb_graph_changed"] = bool(result["graph_changed"])
    tried = len(chosen)

    def mean(name: str) -> Metric:
        values = np.array([result[name] for result in done], dtype=np.float64)
        return average(values[np.isfinite(values)], tried, seed=seed)

    drops = np.array([result["drop"] for result in done], dtype=np.float64)
    return {
        "xtb_drop": median(drops, tried, seed=seed),
        "xtb_drop_mean": mean("drop"),
        "xtb_rmsd": mean("rmsd"),
        "xtb_length_change": mean("length_change"),
        "xtb_angle_change": mean("angle_change"),
        "xtb_torsion_change": mean("torsion_change"),
        "xtb_graph_changed": rate(sum(bool(result["graph_changed"]) for result in done), len(done)),
        "xtb_failed": rate(tried - len(done), tried),
    }


def busted(
    workers: Workers, mols: Sequence[bytes | None], count: int, *, rows: Sequence[dict[str, Any]], seed: int = 0
) -> dict[str, Metric]:
    """PoseBusters' verdicts on a random ``count`` of the structures, which are the denominator of passing everything.

    Args:
        mols: all structures, as bytes; None, one that is not valid and in one piece, does not pass.
        rows: their lines, which get the verdict.

    Raises:
        ImportError: posebusters is not installed.
    """
    chosen = np.random.default_rng(seed).permutation(len(mols))[:count].tolist()
    tested = [(i, mol) for i in chosen if (mol := mols[i]) is not None]
    outcomes = workers.run(
        "moldiff.evaluation.analyse:bust",
        [mol for _, mol in tested],
        label="PoseBusters",
        time_limit=BUST_SECONDS,
    )
    found = [result if status == "ok" else {"passed": False} for status, result in outcomes]
    verdicts = dict.fromkeys(chosen, False)
    verdicts |= {i: bool(flags["passed"]) for (i, _), flags in zip(tested, found, strict=True)}
    for i, passed in verdicts.items():
        rows[i]["posebusters"] = passed
    table = {"posebusters": rate(sum(verdicts.values()), len(chosen))}
    tests = list(dict.fromkeys(name for flags in found for name in flags if name != "passed"))
    for test in tests:
        answers = [bool(flags[test]) for flags in found if test in flags]
        table[f"posebusters_{test}"] = rate(sum(answers), len(answers))
    return table
