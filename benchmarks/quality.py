"""How good a model's samples are: nothing filtered, every rate with its denominator, real molecules beside them.

    python benchmarks/quality.py qm9 --data qm9 -n 1000 --seeds 0 --steps 50

Writes benchmarks/results/quality-<model>.json. The floor is the same metric on as many molecules of the test split.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from common import median_interval, provenance, write_json

import moldiff
from moldiff.data.archive import Archive
from moldiff.data.batching import molecule_alphabets, to_state
from moldiff.generator.export import to_arrays
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.summary import summary
from moldiff.molecules.validity import Verdict, check
from moldiff.training.run import open_archive


def drops(verdicts: list[Verdict]) -> dict[str, Any]:
    """Median MMFF94 energy drop (kcal/mol) over the valid and connected molecules, and the share converged."""
    found = [mmff_drop(v.mol) for v in verdicts if v.valid_connected and v.mol is not None]
    known = [drop for drop in found if drop is not None]
    share = float(np.mean([converged for _, converged in known])) if known else float("nan")
    result: dict[str, Any] = median_interval([drop for drop, _ in known])
    return {**result, "of": len(verdicts), "converged": share, "no_parameters": len(found) - len(known)}


def real(archive: Archive, count: int, *, seed: int) -> list[Verdict]:
    """Verdicts on random test molecules, taken through the same tensors as generated ones."""
    test = archive.subset("test")
    rows = np.random.default_rng(seed).permutation(len(test))[:count]
    alphabets = molecule_alphabets(archive)
    return [check(arrays) for arrays in to_arrays(to_state(test, rows, alphabets), alphabets)]


def main() -> None:
    """Sample, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", default="qm9")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--name", help="name of the result; the model's data set by default")
    args = parser.parse_args()
    archive, _ = open_archive(args.data)
    training = frozenset(archive.subset("train").smiles.tolist())
    generator = moldiff.load(args.model)
    count = args.n * len(args.seeds)
    floor_verdicts = real(archive, count, seed=0)
    floor = {**summary(floor_verdicts, training), "mmff_drop": drops(floor_verdicts)}
    results = {}
    for steps in args.steps:
        start = time.perf_counter()
        verdicts = [
            item.verdict
            for seed in args.seeds
            for item in generator.stream(args.n, seed=seed, steps=steps, progress=True)
        ]
        seconds = time.perf_counter() - start
        rates = {**summary(verdicts, training), "mmff_drop": drops(verdicts)}
        results[str(steps)] = {"metrics": rates, "seconds": round(seconds, 1), "drawn": len(verdicts)}
        print(f"{steps} steps, {len(verdicts)} drawn in {seconds:.0f} s")
        for name, rate in rates.items():
            real_value = floor[name]["value"]
            print(f"  {name:28}{rate['value']:9.4f}  [{rate['low']:.4f}, {rate['high']:.4f}]  real {real_value:.4f}")
    content = {
        "meta": provenance(args.seeds[0]),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "seeds": args.seeds,
        "n": args.n,
        "floor": floor,
        "results": results,
    }
    print(write_json(f"quality-{args.name or generator.name}", content))


if __name__ == "__main__":
    main()
