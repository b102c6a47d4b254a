"""Are constraints met, and what do they cost? Every structure drawn is checked, valid or not.

    python benchmarks/constraints.py qm9 -n 250

Writes benchmarks/results/constraints-<name>.json: violations, V&C and uniqueness under each constraint, and without.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import provenance, write_json

import moldiff
from moldiff.molecules.convert import Arrays, canonical_smiles
from moldiff.molecules.summary import rate

H, C, N, O = 1, 6, 7, 8  # noqa: E741


def of_formula(structure: Arrays) -> bool:
    """C7H10O2, exactly."""
    return Counter(structure.numbers.tolist()) == {C: 7, H: 10, O: 2}


SETTINGS: dict[str, tuple[dict[str, Any], Callable[[Arrays], bool]]] = {
    "none": ({}, lambda structure: True),
    "formula C7H10O2": ({"formula": "C7H10O2"}, of_formula),
    "forbid O": ({"forbid": "O"}, lambda structure: O not in structure.numbers),
    "elements C,H,O": ({"elements": "C,H,O"}, lambda structure: set(structure.numbers.tolist()) <= {C, H, O}),
    "require N,O": ({"require": "N,O"}, lambda structure: {N, O} <= set(structure.numbers.tolist())),
    "charge 0": ({"charge": 0}, lambda structure: int(structure.charges.sum()) == 0),
}


def main() -> None:
    """Sample under each constraint and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    results: dict[str, Any] = {}
    for name, (wishes, holds) in SETTINGS.items():
        start = time.perf_counter()
        items = list(generator.stream(args.n, seed=args.seed, steps=args.steps, **wishes))
        smiles = [canonical_smiles(item.mol) for item in items if item.mol is not None]
        results[name] = {
            "violations": rate(sum(not holds(item.arrays) for item in items), len(items)),
            "valid_connected": rate(sum(item.verdict.valid_connected for item in items), len(items)),
            "unique": rate(len(set(smiles)), len(smiles)),
            "seconds": round(time.perf_counter() - start, 1),
        }
        both, broken = results[name]["valid_connected"], results[name]["violations"]
        print(f"{name:18} violations {broken['n']} of {broken['of']}, V&C {100 * both['value']:.1f} %", flush=True)
        content = {
            "meta": provenance(args.seed),
            "model": {"name": generator.name, "facts": generator.config.facts},
            "n": args.n,
            "results": results,
        }
        write_json(f"constraints-{Path(args.model).name}", content)


if __name__ == "__main__":
    main()
