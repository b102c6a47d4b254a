"""Energies of crystals before and after relaxation with a calculator that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from moldiff.crystals import relax
from moldiff.crystals.matching import Crystal
from moldiff.evaluation.comparison import median
from moldiff.evaluation.rates import Metric, rate
from moldiff.evaluation.workers import Workers

__all__ = ["check", "energies"]

SECONDS = 300.0
"""Wall-clock seconds for one relaxation."""


def check(calculator: str) -> None:
    """Say at once that a calculator cannot be made, not after the work.

    Raises:
        ValueError: see `moldiff.crystals.relax.resolve`.
    """
    relax.resolve(calculator)


def energies(
    workers: Workers, crystals: Sequence[Crystal | None], rows: Sequence[dict[str, Any]], calculator: str, *, seed: int
) -> dict[str, Metric]:
    """Relax every crystal whose structure is valid; what comes of each goes into its row."""
    places = [place for place, row in enumerate(rows) if row["structure_valid"] and crystals[place] is not None]
    outcomes = workers.run(
        "moldiff.evaluation.crystal_analyse:relaxed",
        [crystals[place] for place in places],
        label="relaxation",
        # the relaxation looks at the clock itself, between steps
        time_limit=1.2 * SECONDS + 60,
        options={"calculator": calculator, "seconds": SECONDS},
    )
    done = []
    for place, (status, result) in zip(places, outcomes, strict=True):
        rows[place]["relax_reason"] = result["reason"] if status == "ok" else status
        if status != "ok":
            rows[place]["relax_message"] = str(result)
            continue
        rows[place] |= {"energy_before": result["before"], "energy_after": result["after"]}
        if result["reason"] == "ok":
            done.append(result)

    def middle(values: list[float]) -> Metric:
        return median(np.array(values, dtype=np.float64), len(places), seed=seed)

    return {
        "energy_before": middle([one["before"] for one in done]),
        "energy_after": middle([one["after"] for one in done]),
        "energy_drop": middle([one["before"] - one["after"] for one in done]),
        "relax_volume_change": middle([abs(one["volume_change"]) for one in done]),
        "relax_failed": rate(len(places) - len(done), len(places)),
    }
