"""Molecules per second, and the time from the start of a process to its first molecules and to all of them.

    python benchmarks/speed.py qm9 -n 1000 --steps 50

Beside the sampling as it is, on a CPU, the same one batch at a time on all cores, in turns. Machines are noisy: quote
ratios and medians of runs in one process. Writes benchmarks/results/speed.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from common import provenance, write_json

import moldiff
from moldiff.generator import Generator, threads

COLD = """
import json, time
import moldiff
stream = moldiff.load({model!r}).stream({n}, seed=0, steps={steps})
found, ten = 0, None
for item in stream:
    found += item.mol is not None
    if found == 10 and ten is None:
        ten = time.time()
print(json.dumps([ten, time.time()]))
"""


def sampling(generator: Generator, n: int, steps: int, seed: int, most: int) -> float:
    """Seconds of a sample, chemistry included, with at most so many batches at once."""
    before, threads.MOST = threads.MOST, most
    start = time.perf_counter()
    try:
        for _ in generator.stream(n, seed=seed, steps=steps):
            pass
    finally:
        threads.MOST = before
    return time.perf_counter() - start


def main() -> None:
    """Time and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cold: list[list[float]] = []
    for _ in range(args.repeats):
        begin = time.time()
        code = COLD.format(model=args.model, n=args.n, steps=args.steps[0])
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        cold.append([moment - begin for moment in json.loads(done.stdout)])
    ten, every = (statistics.median(times) for times in zip(*cold, strict=True))
    print(f"from a cold process: ten molecules after {ten:.1f} s, all {args.n} after {every:.1f} s")
    generator = moldiff.load(args.model)
    generator.draw(64, steps=10)
    warm = {}
    for steps in args.steps:
        times: dict[int, list[float]] = {threads.MOST: [], 1: []}
        for seed in range(args.repeats):
            for most, found in times.items():
                found.append(sampling(generator, args.n, steps, seed, most))
        seconds, alone = times.values()
        warm[str(steps)] = {
            "seconds": seconds,
            "median": statistics.median(seconds),
            "molecules": args.n,
            "one_batch_at_a_time": {"seconds": alone, "median": statistics.median(alone)},
        }
        print(f"{args.n} molecules at {steps} steps, warm: {warm[str(steps)]}")
    content = {
        "meta": provenance(0),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "precision": "bf16" if generator.execution.half else "fp32",
        "threads": torch.get_num_threads(),
        "cold": {
            "molecules": args.n,
            "steps": args.steps[0],
            "first_ten": [times[0] for times in cold],
            "all": [times[1] for times in cold],
        },
        "sampling": warm,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(write_json("speed", content))


if __name__ == "__main__":
    main()
