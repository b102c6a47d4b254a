"""How many of a growing sample are distinct, beside a memoriser that draws training molecules at random.

    python benchmarks/unique.py qm9 -n 10000

The rates of the first 1,000, 3,000, ... molecules of one sample: distinct ones become rarer the more are drawn, and
fewer than a memoriser's would tell of a model that repeats itself. Writes benchmarks/results/unique-<name>.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import provenance, write_json

import moldiff
from moldiff.data.reference import Reference
from moldiff.molecules.summary import summary
from moldiff.molecules.validity import Verdict
from moldiff.shipped import REFERENCE, find_weights

#: Sizes of sample that are reported, as far as they are drawn.
SIZES = (1000, 3000, 10000, 30000)
RATES = ("valid", "valid_connected", "molecule_stable", "unique", "vu", "vun")


def memoriser(known: int, count: int) -> float:
    """Expected share of distinct ones among `count` of `known` molecules drawn with replacement."""
    return known * (1 - (1 - 1 / known) ** count) / count


def rates(verdicts: list[Verdict], training: frozenset[str]) -> dict[str, Any]:
    """The rates of the first of `SIZES`, and of all."""
    found = {}
    for size in sorted({size for size in SIZES if size < len(verdicts)} | {len(verdicts)}):
        whole = summary(verdicts[:size], training)
        found[str(size)] = {name: whole[name] for name in RATES} | {
            "memoriser": memoriser(len(training), size),
            "points_lost": 100 * (whole["valid"]["value"] - whole["vu"]["value"]),
        }
    return found


def main() -> None:
    """Draw, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=10000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=10)
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    reference = Reference.load(find_weights(args.model).parent / REFERENCE)
    drawn = sorted(
        generator.stream(args.n, seed=args.seed, steps=args.steps, progress=True), key=lambda one: one.number
    )
    content = {
        "meta": provenance(args.seed),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "steps": args.steps or generator.sampler.steps,
        "results": rates([one.verdict for one in drawn], reference.train),
    }
    for size, one in content["results"].items():
        print(size, {name: round(one[name]["value"], 4) for name in RATES}, one["memoriser"], one["points_lost"])
    print(write_json(f"unique-{Path(args.model).name}", content))


if __name__ == "__main__":
    main()
