"""What another process on one of the cores costs a small sample, with OpenMP's threads spinning and waiting asleep.

    python benchmarks/busy.py qm9 -n 4 --steps 25

Writes benchmarks/results/busy.json: the seconds of a warm sample, alone and beside a process that keeps one core busy,
with OpenMP's own way to wait and with `moldiff.openmp`'s. Each case is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from common import provenance, write_json

from moldiff.openmp import SPINS

#: The way to wait, and the environment that asks for it; nothing is changed after torch was imported.
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "OpenMP's": ("import torch", {}),
    "moldiff's": ("import moldiff", {"GOMP_SPINCOUNT": str(SPINS)}),
}
BUSY = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
SAMPLE = """
{first}
import json, sys, time
import moldiff
model, n, steps, repeats = sys.argv[1], *map(int, sys.argv[2:])
generator = moldiff.load(model, device="cpu")
generator.draw(n, steps=2)
seconds = []
for _ in range(repeats):
    start = time.perf_counter()
    generator.draw(n, steps=steps)
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def seconds(way: str, args: argparse.Namespace) -> list[float]:
    """Of each sample of a process that waits in this way."""
    first, variables = WAYS[way]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    arguments = [args.model, str(args.n), str(args.steps), str(args.repeats)]
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE.format(first=first), *arguments],
        env=environment | variables,
        capture_output=True,
        check=True,
        text=True,
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Time the four cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    results: list[dict[str, Any]] = []
    for beside in (False, True):
        # in a session of its own, as another user's or another terminal's
        other = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) if beside else None
        try:
            time.sleep(1)
            for way in WAYS:
                found = seconds(way, args)
                results.append({"beside": beside, "waiting": way, "seconds": found, "median": statistics.median(found)})
                print(f"{'beside another process' if beside else 'alone'}, waiting {way} way: {found} s", flush=True)
        finally:
            if other is not None:
                other.kill()
    write_json("busy", {"meta": provenance(0), "facts": None, "n": args.n, "steps": args.steps, "results": results})


if __name__ == "__main__":
    main()
