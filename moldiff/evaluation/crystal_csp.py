"""Structure prediction: predicted crystals against the true ones of the same place."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from moldiff.crystals.matching import CSP, Crystal
from moldiff.crystals.validity import reduced_composition
from moldiff.evaluation.comparison import average
from moldiff.evaluation.rates import Metric, rate
from moldiff.evaluation.workers import Workers

__all__ = ["predicted"]


def predicted(
    workers: Workers,
    crystals: Sequence[Crystal | None],
    truth: Sequence[Crystal | None],
    rows: Sequence[dict[str, Any]],
    *,
    limit: float,
    seed: int = 0,
) -> dict[str, Metric]:
    """Match rate, RMSE and METRe; each structure's verdict goes into its row.

    Args:
        workers: who compares.
        crystals: one prediction for each true crystal, None for a failure.
        truth: the true ones, None where one cannot be read: nothing matches it, and it stays in the denominator.
        rows: lines of the predictions, with ``structure_valid`` and ``composition_valid``.
        limit: seconds for one comparison; one that takes longer is a miss.
        seed: of the bootstrap.
    """
    total = len(truth)
    # what has no density has no cell or places to match
    sound = [c if math.isfinite(r.get("density", math.nan)) else None for c, r in zip(crystals, rows, strict=True)]
    makers: dict[Any, list[int]] = defaultdict(list)
    for place, crystal in enumerate(sound):
        if crystal is not None:
            makers[reduced_composition(crystal[0])].append(place)
    keys = [None if crystal is None else reduced_composition(crystal[0]) for crystal in truth]
    asked = [(place, other) for other, key in enumerate(keys) if key is not None for place in makers.get(key, ())]
    pairs = [(sound[place], truth[other]) for place, other in asked]
    outcomes = workers.run("moldiff.evaluation.crystal_analyse:rms", pairs, label="matching", time_limit=limit)
    distances = {pair: one.result for pair, one in zip(asked, outcomes, strict=True) if one.status == "ok"}
    failed = {pair: one.status for pair, one in zip(asked, outcomes, strict=True) if one.status != "ok"}
    own, best = np.full(total, math.nan), np.full(total, math.nan)
    for (place, other), distance in distances.items():
        if distance is not None:
            best[other] = np.fmin(best[other], distance)
            if place == other:
                own[other] = distance
    same = np.zeros(total, dtype=bool)
    for place, row in enumerate(rows):
        crystal = crystals[place]
        same[place] = crystal is not None and reduced_composition(crystal[0]) == keys[place]
        row["match"] = bool(np.isfinite(own[place]))
        row["match_rms"] = float(own[place])
        row["match_reason"] = (
            "ok" if row["match"] else failed.get((place, place), "differs" if same[place] else "composition")
        )
    matched = np.isfinite(own)
    valid = np.array([bool(row["structure_valid"] and row["composition_valid"]) for row in rows], dtype=bool)
    return {
        "match_rate": rate(int(matched.sum()), total),
        "match_rate_valid": rate(int((matched & valid).sum()), total),
        "match_rmse": average(own[matched], total, seed=seed),
        "match_rmse_all": average(np.where(matched, own, CSP.stol), total, seed=seed),
        "metre": rate(int(np.isfinite(best).sum()), total),
        "metre_rmse": average(best[np.isfinite(best)], total, seed=seed),
        "same_composition": rate(int(same.sum()), total),
    }
