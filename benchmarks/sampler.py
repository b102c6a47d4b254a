"""One setting of the sampler changed at a time, on the same weights, sizes and seeds.

    python benchmarks/sampler.py runs/qm9 -n 400 --seed 1000
    python benchmarks/sampler.py qm9 -n 400 --steps 5 10 20 30 50 100 250 --settings "as shipped" --out curve
    python benchmarks/sampler.py qm9 -n 1000 --steps 10 20 30 --settings "as shipped" "rare bonds cooled, too" --out few
    python benchmarks/sampler.py qm9 runs/one runs/two --settings "as shipped" "first order" --out weights

Writes benchmarks/results/sampler.json, or another name, as it goes: V&C, stability, MMFF94 energy drop, and how far the
molecules are from the reference, of each setting at each number of steps. Settings change one thing of the shipped
ones. With fewer steps than the model's own churn, temperature and the steps that draw anew are less, as in every sample
of so few (`SamplerConfig.in_steps`), but for "settings of 50 steps". What comes to the same sampler as something before
it is not drawn again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import passes, provenance, without_floor, write_json

import moldiff
from moldiff.config import SamplerConfig, to_dict
from moldiff.data.reference import Reference
from moldiff.evaluation import evaluate
from moldiff.evaluation.references import find
from moldiff.evaluation.workers import Workers
from moldiff.molecules.convert import Arrays

METRICS = (
    *("valid_connected", "molecule_stable", "unique", "mmff_drop", "fcd", "snn"),
    *("tv_element", "tv_bond", "tv_ring_size", "w1_bond_length", "w1_bond_angle", "w1_torsion"),
)

STEADY = "settings of 50 steps"
SETTINGS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    STEADY: {},
    "first order": {"order": 1},
    "no churn": {"churn": 0.0},
    "churn 0.4": {"churn": 0.4},
    "churn 0.8": {"churn": 0.8},
    "no re-masking": {"remask": 0.0},
    "re-masking 10": {"remask": 10.0},
    "re-masking 50": {"remask": 50.0},
    "temperature 1": {"temperature": 1.0},
    "temperature 0.9": {"temperature": 0.9},
    "temperature 0.8": {"temperature": 0.8},
    "rare bonds cooled, too": {"bond_shares": ()},
    "confidence 0.3": {"confidence": 0.3},
    "grid density 2": {"density": 2.0},
    "grid density 2.7": {"density": 2.7},
    "whole clock": {"last": 0.0},
    "bonds not drawn anew": {"redraw": 0},
    "any number of electrons": {"closed_shell": False},
    "neither": {"redraw": 0, "closed_shell": False},
}


def samplers(shipped: SamplerConfig, names: Sequence[str], steps: Sequence[int]) -> dict[SamplerConfig, str]:
    """Each different sampler of these settings and numbers of steps, with the first setting that it comes from."""
    found: dict[SamplerConfig, str] = {}
    for name, count in itertools.product(names, steps):
        changed = dataclasses.replace(shipped, **SETTINGS[name])
        found.setdefault(dataclasses.replace(changed, steps=count) if name == STEADY else changed.in_steps(count), name)
    return found


def judged(structures: list[Arrays], reference: Reference) -> dict[str, Any]:
    """What is compared of the structures drawn with one setting; validity must not be bought with diversity."""
    metrics = evaluate(structures, reference=reference, jobs=torch.get_num_threads(), seed=0).metrics
    return {name: metrics[name] for name in METRICS if name in metrics}


def main() -> None:
    """Sample with each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="weights; the settings of the first are those of all")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--reference", default="qm9", help="as for moldiff evaluate")
    parser.add_argument("--out", default="sampler")
    args = parser.parse_args()
    with Workers(1) as workers:
        # the floors of so many molecules stand with the results of `benchmarks/molecules.py`
        reference = without_floor(find(args.reference, workers)[0])
    results: list[dict[str, Any]] = []
    generators = {Path(model).name: moldiff.load(model) for model in args.models}
    first = next(iter(generators.values()))
    settings = samplers(first.sampler, args.settings, args.steps)
    for (config, name), (weights, generator) in itertools.product(settings.items(), generators.items()):
        generator.sampler = config
        start = time.perf_counter()
        drawn = [item.arrays for item in generator.stream(args.n, seed=args.seed)]
        found = judged(drawn, reference)
        how = {"weights": weights, "passes": passes(generator.config.facts), "setting": name, "steps": config.steps}
        results.append({**how, "sampler": to_dict(config), **found})
        shown = ", ".join(f"{key} {one['value']:.4g}" for key, one in found.items() if one["value"] is not None)
        took = f"{time.perf_counter() - start:.0f} s"
        print(f"{weights}, {name:24} {config.steps:4} steps: {shown}; {took}", flush=True)
        facts = first.config.facts if len(generators) == 1 else None
        content = {"meta": provenance(args.seed), "n": args.n, "facts": facts, "results": results}
        write_json(args.out, content)


if __name__ == "__main__":
    main()
