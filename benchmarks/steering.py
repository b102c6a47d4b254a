"""Steering by a reward, beside unsteered samples and beside the best of as many at the same cost.

    python benchmarks/steering.py qm9 --n 100 --reward qed --particles 4 --strengths 1 2 4

Each place of a steered sample costs `particles` trajectories. Unsteered, `n * particles` structures are drawn once;
their mean is the baseline, and the best of every `particles` neighbours is what the same number of evaluations buys
without steering. The mean of the reward is over the places with a valid, connected molecule; V&C is over all places,
where a place of best-of-k is valid if any of its structures is. Rewards are in their own unit (QED itself, eV,
kcal/mol; those of which less is better with a minus).

Writes benchmarks/results/steering-<name>-<reward>.json.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import provenance, write_json

import moldiff
from moldiff.data.reference import Reference
from moldiff.generator import Generator
from moldiff.generator.rewards import CALCULATED, NAMED, STRAIN_UNIT, Rewards
from moldiff.molecules.convert import canonical_smiles
from moldiff.molecules.similarity import fingerprints, internal_diversity
from moldiff.molecules.summary import rate
from moldiff.shipped import find_reference


def interval(values: np.ndarray, *, draws: int = 1000) -> dict[str, float]:
    """Mean with a 95 % bootstrap interval over places."""
    if not len(values):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    means = values[np.random.default_rng(0).integers(0, len(values), (draws, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high), "n": len(values)}


def difference(first: np.ndarray, second: np.ndarray, *, draws: int = 1000) -> dict[str, float]:
    """Difference of two means with a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    one, two = (v[rng.integers(0, len(v), (draws, len(v)))].mean(1) for v in (first, second))
    low, high = np.quantile(one - two, [0.025, 0.975])
    return {"value": float(first.mean() - second.mean()), "low": float(low), "high": float(high)}


def summary(mols: list[Any], values: np.ndarray, places: int, training: frozenset[str]) -> dict[str, Any]:
    """Mean reward, V&C, novelty and diversity of the molecules that fill some of the places."""
    distinct = {canonical_smiles(mol) for mol in mols}
    return {
        "reward": interval(values),
        "valid_connected": rate(len(mols), places),
        "unique": rate(len(distinct), len(mols)),
        "novel": rate(sum(text not in training for text in distinct), len(distinct)),
        "diversity": internal_diversity(fingerprints(mols)) if len(mols) > 1 else None,
    }


def main() -> None:
    """Sample, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--name", help="in the name of the result; the model by default")
    parser.add_argument("--n", type=int, default=100, help="places of a sample")
    parser.add_argument("--reward", choices=(*NAMED, *CALCULATED), default="qed")
    parser.add_argument("--particles", type=int, default=4)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator: Generator = moldiff.load(args.model)
    reference = find_reference(generator.path)
    training = Reference.load(reference).train if reference is not None else frozenset[str]()
    rewards = Rewards(args.reward, config=generator.config, alphabets=generator.alphabets)
    unit = next((p.deviation for p in generator.config.properties if p.name == args.reward.removeprefix("xtb-")), 1.0)
    unit = STRAIN_UNIT if args.reward == "strain" else unit

    def score(mols: list[Any]) -> np.ndarray:
        return unit * rewards._judge(mols) if mols else np.zeros(0)

    start = time.perf_counter()
    free: dict[int, Any] = {
        item.number: item.mol
        for item in generator.stream(args.n * args.particles, seed=args.seed, steps=args.steps)
        if item.mol is not None
    }
    values = dict(zip(free, score(list(free.values())), strict=True))
    chosen = []
    for place in range(args.n):
        rivals = range(place * args.particles, (place + 1) * args.particles)
        known = [i for i in rivals if np.isfinite(values.get(i, np.nan))]
        chosen += [max(known, key=values.__getitem__)] if known else []
    plain = np.array([value for value in values.values() if np.isfinite(value)])
    best = np.array([values[i] for i in chosen])
    if not len(plain):
        raise ValueError(
            f"none of {args.n * args.particles} unsteered structures has a reward: draw more, in more steps"
        )
    content: dict[str, Any] = {
        "meta": provenance(args.seed),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "settings": {"n": args.n, "reward": args.reward, "particles": args.particles, "steps": args.steps},
        "unsteered": summary(list(free.values()), plain, args.n * args.particles, training),
        "best_of": summary([free[i] for i in chosen], best, args.n, training),
        "steered": {},
    }
    content["best_of"]["gain"] = difference(best, plain)
    for strength in args.strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = generator.sample(
                args.n,
                seed=args.seed + 1,
                steps=args.steps,
                reward=args.reward,
                particles=args.particles,
                strength=strength,
                progress=False,
            )
        found = score(list(made))
        found = found[np.isfinite(found)]
        entry = summary(list(made), found, args.n, training)
        if len(found):
            entry |= {"gain": difference(found, plain), "over_best_of": difference(found, best)}
        content["steered"][f"{strength:g}"] = {**entry, "evaluations": made.report.evaluations}
        content["seconds"] = round(time.perf_counter() - start, 1)
        path = write_json(f"steering-{args.name or Path(args.model).name}-{args.reward}", content)
        print(
            strength,
            {k: entry[k] for k in ("reward", "valid_connected", "gain", "over_best_of") if k in entry},
            flush=True,
        )
    print(path)


if __name__ == "__main__":
    main()
