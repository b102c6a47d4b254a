"""The numbers of the README: sample a model at several step counts and seeds, evaluate everything drawn, write a table.

    python benchmarks/molecules.py qm9 -n 1000 --seeds 0 1 2 --steps 20 50 100 --xtb 200 --posebusters

One file a step count, benchmarks/results/molecules-<model>-<steps>.json, written as soon as it is known; ``--table``
only puts the tables together from the files that are there, benchmarks/results/molecules-<model>.md: one for the bonds
as generated, one for the same structures with their bonds removed (the EDM protocol). Nothing is filtered: every
structure drawn counts. The second by hand, for a file of samples: moldiff evaluate samples.sdf --protocol edm
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, provenance, write_json

import moldiff
from moldiff.evaluation import evaluate
from moldiff.evaluation.definitions import definition
from moldiff.evaluation.rates import rates

ROWS = (
    *("valid", "valid_connected", "valid_connected_published", "atom_stable", "molecule_stable"),
    *("unique", "novel", "vun", "mmff_drop", "xtb_drop", "xtb_rmsd", "posebusters"),
    *("w1_bond_length", "w1_bond_angle", "w1_torsion", "mmd_bond", "mmd_angle", "mmd_torsion"),
    *("tv_element", "tv_ring_size", "fragment_similarity", "snn", "fcd", "internal_diversity"),
    *("in_training", "memorised_rmsd"),
)
EDM_ROWS = (
    *("valid", "atom_stable", "molecule_stable", "unique", "novel", "vun"),
    *("determine_bonds_valid", "determine_bonds_unique", "determine_bonds_vun"),
)


def draw(generator: Any, n: int, seeds: list[int], steps: int) -> tuple[list[Any], float]:
    """All structures in order, seed after seed, and the seconds it took, chemistry included."""
    start = time.perf_counter()
    found = []
    for seed in seeds:
        items = sorted(generator.stream(n, seed=seed, steps=steps, progress=True), key=lambda item: item.number)
        found += [item.arrays for item in items]
    return found, time.perf_counter() - start


def by_seed(rows: list[dict[str, Any]], n: int, seeds: list[int], training: Any) -> dict[str, dict[str, float | None]]:
    """The main numbers of each seed alone, to see how much they scatter."""
    table = {}
    for place, seed in enumerate(seeds):
        own = rows[place * n : (place + 1) * n]
        drops = [row["mmff_drop"] for row in own if not np.isnan(row.get("mmff_drop", np.nan))]
        values = {name: metric["value"] for name, metric in rates(own, training, protocol="bonds").items()}
        values["mmff_drop"] = float(np.median(drops)) if drops else float("nan")
        table[str(seed)] = {name: value if np.isfinite(value) else None for name, value in values.items()}
    return table


def cell(metric: dict[str, Any] | None, share: bool, key: str = "value") -> str:
    """One number of the table, with its interval where it has one; a share is shown in per cent."""
    if metric is None or metric.get(key) is None:
        return ""

    def text(value: float) -> str:
        return f"{100 * value:.1f}" if share else f"{value:.3g}"

    if key == "floor" or metric["low"] is None or metric["high"] is None:
        return text(metric[key])
    return f"{text(metric['value'])} ({text(metric['low'])} - {text(metric['high'])})"


def ratio(metric: dict[str, Any] | None) -> dict[str, Any] | None:
    """A metric divided by its floor; None where there is no floor."""
    if metric is None or not metric.get("floor"):
        return None
    divided = {key: None if metric[key] is None else metric[key] / metric["floor"] for key in ("value", "low", "high")}
    return {**divided, "floor": 1.0}


def rows(results: dict[int, dict[str, Any]], names: Sequence[str], *, part: str, protocol: str) -> list[str]:
    """Markdown: a row a number, a column a step count, the floor last; under each MMD its ratio to the floor."""
    steps = sorted(results)
    heads = ["", *(f"{count} steps" for count in steps), "test molecules"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in names:
        found = definition(name, protocol)
        metrics = [results[count].get(part, {}).get("metrics", {}).get(name) for count in steps]
        label = f"{found.label}, {found.unit}" if found.unit else found.label
        shown = [(label, metrics)]
        if name.startswith("mmd_"):
            shown.append((f"{label}, ratio to floor", [ratio(metric) for metric in metrics]))
        for text, values in shown:
            known = [value for value in values if value is not None and value["value"] is not None]
            if known:
                cells = [cell(value, found.unit == "%") for value in values]
                lines.append("| " + " | ".join([text, *cells, cell(known[-1], found.unit == "%", "floor")]) + " |")
    return lines if len(lines) > 2 else []


def table(results: dict[int, dict[str, Any]]) -> str:
    """Both tables with what a reader must know of them. The two protocols never share a table."""
    steps = sorted(results)
    first = results[steps[0]]
    drawn = {result["evaluation"]["metrics"]["valid"]["of"] for result in results.values()}
    lines = rows(results, ROWS, part="evaluation", protocol="bonds")
    speeds = ", ".join(f"{results[count]['molecules_per_second']:.1f} at {count}" for count in steps)
    hardware = first["meta"]["hardware"]
    where = hardware["gpu"] or f"{hardware['cpu']}, {hardware['threads']} threads"
    commit = first["meta"]["commit"][:12]
    lines += [
        "",
        f"{', '.join(map(str, sorted(drawn)))} structures a column over seeds {first['seeds']}, nothing filtered; "
        f"95 % intervals in brackets; the last column is the same for as many test molecules "
        f"({first['evaluation']['meta']['reference']['floor_n']}). Molecules/s by steps: {speeds} ({where}). "
        f"Commit {commit}; `benchmarks/molecules.py`.",
    ]
    bare = rows(results, EDM_ROWS, part="evaluation_edm", protocol="edm")
    if bare:
        lines += [
            "",
            "The same structures with their bonds and charges removed, judged by the EDM protocol (bonds from its "
            "distance table; comparable with tables of its kind only, QM9 itself is far from 100 %):",
            "",
            *bare,
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Sample, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--reference", help="as for moldiff evaluate; the model's own by default")
    parser.add_argument("--name", help="in the names of the results; the model by default")
    parser.add_argument("-n", type=int, default=1000, help="structures a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--xtb", type=int, default=0)
    parser.add_argument("--posebusters", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only make the table of the results there are")
    args = parser.parse_args()
    name = args.name or Path(args.model).name
    if not args.table:
        generator = moldiff.load(args.model)
        for steps in args.steps:
            structures, seconds = draw(generator, args.n, args.seeds, steps)
            result = evaluate(
                structures,
                reference=args.reference or args.model,
                xtb=args.xtb,
                posebusters=args.posebusters,
                jobs=args.jobs,
                seed=args.seeds[0],
            )
            print(result)
            bare = evaluate(
                structures, reference=args.reference or args.model, protocol="edm", jobs=args.jobs, seed=args.seeds[0]
            )
            print(bare)
            content = {
                "meta": provenance(args.seeds[0]),
                "model": {"name": generator.name, "facts": generator.config.facts},
                "steps": steps,
                "seeds": args.seeds,
                "n": args.n,
                "seconds": round(seconds, 1),
                "molecules_per_second": round(len(structures) / seconds, 2),
                "by_seed": by_seed(result.rows, args.n, args.seeds, None),
                "evaluation": json.loads(result.to_json()),
                "evaluation_edm": json.loads(bare.to_json()),
            }
            print(write_json(f"molecules-{name}-{steps}", content))
    stored = {}
    for path in RESULTS.glob(f"molecules-{name}-*.json"):
        steps = path.stem.rpartition("-")[2]
        if steps.isdigit():
            stored[int(steps)] = json.loads(path.read_text())
    if not stored:
        raise ValueError(f"no results molecules-{name}-*.json in {RESULTS}; run without --table first")
    text = table(stored)
    (RESULTS / f"molecules-{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
