"""Molecules per second, time to the first molecules from a cold process, and where a training step's time goes.

    python benchmarks/speed.py qm9 -n 1000 --steps 50

Machines are noisy: quote ratios and medians of runs in one process. Writes benchmarks/results/speed.json.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
from common import provenance, write_json

import moldiff

FIRST = """
import time
start = time.perf_counter()
import moldiff
stream = moldiff.load({model!r}).stream({n}, seed=0, steps={steps})
found = 0
for item in stream:
    found += item.mol is not None
    if found == 10:
        break
print(time.perf_counter() - start)
"""


def main() -> None:
    """Time and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    first = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        code = FIRST.format(model=args.model, n=args.n, steps=args.steps[0])
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        first.append(time.perf_counter() - begin)
    print(f"first ten molecules after {statistics.median(first):.1f} s from a cold process")
    generator = moldiff.load(args.model)
    generator.draw(64, steps=10)
    warm = {}
    for steps in args.steps:
        times = []
        for seed in range(args.repeats):
            start = time.perf_counter()
            drawn = sum(1 for _ in generator.stream(args.n, seed=seed, steps=steps))
            times.append(time.perf_counter() - start)
        warm[str(steps)] = {"seconds": times, "median": statistics.median(times), "molecules": drawn}
        print(f"{drawn} molecules at {steps} steps: {statistics.median(times):.1f} s, warm")
    content = {
        "meta": provenance(0),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "precision": "bf16" if generator.execution.half else "fp32",
        "threads": torch.get_num_threads(),
        "first_ten_seconds": first,
        "sampling": warm,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(write_json("speed", content))


if __name__ == "__main__":
    main()
