"""The numbers of the README: sample a model at several step counts and seeds, evaluate everything drawn, write a table.

    python benchmarks/molecules.py qm9 -n 1000 --seeds 0 1 2 --steps 20 50 100 --xtb 200

One file a step count, benchmarks/results/molecules-<model>-<steps>.json, written as soon as it is known: the numbers of
every seed alone (``by_seed``), their mean and deviation (``over_seeds``), and those of all seeds together with
intervals (``evaluation``), which alone hold energies. ``--table`` only puts the tables together from the files that are
there, benchmarks/results/molecules-<model>.md: one for the bonds as generated, one for the same structures with their
bonds removed (the EDM protocol). Nothing is filtered: every structure drawn counts. The second by hand, for a file of
samples: moldiff evaluate samples.sdf --protocol edm

What was drawn stays in ``--samples``, a file a step count and seed: an interrupted run goes on where it was, and the
same samples can be judged again. Other weights, settings or numbers of structures are other files.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import time
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, passes, provenance, read_same, without_floor, write_json

import moldiff
from moldiff.config import to_dict
from moldiff.data.reference import Reference
from moldiff.evaluation import evaluate
from moldiff.evaluation.definitions import definition
from moldiff.evaluation.references import find
from moldiff.evaluation.workers import Workers
from moldiff.molecules.convert import Arrays
from moldiff.shipped import find_reference

ROWS = (
    *("valid", "valid_connected", "valid_connected_published", "atom_stable", "molecule_stable"),
    *("unique", "novel", "vun", "mmff_drop", "xtb_drop", "xtb_rmsd", "posebusters"),
    *("w1_bond_length", "w1_bond_angle", "w1_torsion", "mmd_bond", "mmd_angle", "mmd_torsion"),
    *("tv_element", "tv_bond", "tv_ring_size", "fragment_similarity", "snn", "fcd", "internal_diversity"),
    *("in_training", "memorised_rmsd"),
)
EDM_ROWS = (
    *("valid", "atom_stable", "molecule_stable", "unique", "novel", "vun"),
    *("determine_bonds_valid", "determine_bonds_unique", "determine_bonds_vun"),
)


def draw(generator: Any, n: int, *, seed: int, steps: int, folder: Path) -> tuple[list[Arrays], float]:
    """All structures of a seed in order, and the seconds it took, chemistry included; drawn once, then read."""
    settings = json.dumps(to_dict(generator.sampler), sort_keys=True)
    digest = sha256(settings.encode() + generator.path.read_bytes()).hexdigest()[:12]
    path = folder / f"{digest}-{steps}-{seed}-{n}.npz"
    stored = load(path)
    if stored is not None:
        return stored
    start = time.perf_counter()
    items = sorted(generator.stream(n, seed=seed, steps=steps, progress=True), key=lambda item: item.number)
    found, seconds = [item.arrays for item in items], time.perf_counter() - start
    save(path, found, seconds)
    return found, seconds


def save(path: Path, structures: Sequence[Arrays], seconds: float) -> None:
    """Write structures as drawn, valid or not, and the seconds they took; never half of a file."""
    names = [field.name for field in dataclasses.fields(Arrays)]
    flat = {name: np.concatenate([getattr(one, name).ravel() for one in structures]) for name in names}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as stream:
        np.savez_compressed(stream, n_atoms=[len(one.numbers) for one in structures], seconds=seconds, **flat)
    os.replace(temporary, path)


def load(path: Path) -> tuple[list[Arrays], float] | None:
    """What `save` wrote; None where there is no such file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except (FileNotFoundError, EOFError, ValueError, zipfile.BadZipFile):
        return None
    found, atom, pair = [], 0, 0
    for n in stored["n_atoms"].tolist():
        here, bonds = slice(atom, atom + n), stored["bonds"][pair : pair + n * n].reshape(n, n)
        positions = stored["positions"][3 * atom : 3 * (atom + n)].reshape(n, 3)
        found.append(Arrays(stored["numbers"][here], positions, stored["charges"][here], bonds))
        atom, pair = atom + n, pair + n * n
    return found, float(stored["seconds"])


def known(value: float | None) -> float | None:
    """A number as JSON may hold it."""
    return None if value is None or not np.isfinite(value) else float(value)


def over_seeds(by_seed: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | int | None]]:
    """Mean and standard deviation of every number over the seeds that have it."""
    table: dict[str, dict[str, float | int | None]] = {}
    for name in dict.fromkeys(name for values in by_seed.values() for name in values):
        found = [value for values in by_seed.values() if (value := values.get(name)) is not None]
        if found:
            deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
            table[name] = {"mean": float(np.mean(found)), "deviation": deviation, "seeds": len(found)}
    return table


def run(generator: Any, steps: int, *, args: argparse.Namespace, reference: Reference) -> dict[str, Any]:
    """Draw all seeds at one step count, judge each alone and all together."""
    structures, seconds, by_seed = [], 0.0, {}
    options: dict[str, Any] = {"jobs": args.jobs, "seed": args.seeds[0]}
    alone = without_floor(reference)  # it is judged once, beside all seeds together
    for seed in args.seeds:
        own, took = draw(generator, args.n, seed=seed, steps=steps, folder=args.samples)
        structures, seconds = structures + own, seconds + took
        if len(args.seeds) > 1:
            metrics = evaluate(own, reference=alone, **options).metrics
            by_seed[str(seed)] = {name: known(metric["value"]) for name, metric in metrics.items()}
    options["reference"] = reference
    result = evaluate(structures, xtb=args.xtb, posebusters=args.posebusters, **options)
    print(result)
    bare = evaluate(structures, protocol="edm", **options)
    print(bare)
    if not by_seed:
        by_seed = {str(args.seeds[0]): {name: known(metric["value"]) for name, metric in result.metrics.items()}}
    return {
        "meta": provenance(args.seeds[0]),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "sampler": to_dict(generator.sampler.in_steps(steps)),
        "steps": steps,
        "seeds": args.seeds,
        "n": args.n,
        "seconds": round(seconds, 1),
        "molecules_per_second": round(len(structures) / seconds, 2),
        "by_seed": by_seed,
        "over_seeds": over_seeds(by_seed),
        "evaluation": json.loads(result.to_json()),
        "evaluation_edm": json.loads(bare.to_json()),
    }


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


def stored(name: str) -> dict[int, dict[str, Any]]:
    """The results of a name by step count, all of the same weights."""
    return {one["steps"]: one for one in read_same(rf"molecules-{re.escape(name)}-\d+")}


def table(results: dict[int, dict[str, Any]]) -> str:
    """Both tables with what a reader must know of them. The two protocols never share a table."""
    steps = sorted(results)
    first = results[steps[0]]
    drawn = {result["evaluation"]["metrics"]["valid"]["of"] for result in results.values()}
    lines = rows(results, ROWS, part="evaluation", protocol="bonds")
    hardware = first["meta"]["hardware"]
    where = hardware["gpu"] or hardware["cpu"]
    threads = {count: results[count]["meta"]["hardware"]["threads"] for count in steps}
    speeds = ", ".join(
        f"{results[count]['molecules_per_second']:.1f} at {count} ({threads[count]} threads)" for count in steps
    )
    commit = first["meta"]["commit"][:12]
    lines += [
        "",
        f"{', '.join(map(str, sorted(drawn)))} structures a column over seeds {first['seeds']}, nothing filtered; "
        f"95 % intervals in brackets; the last column is the same for as many test molecules "
        f"({first['evaluation']['meta']['reference']['floor_n']}).{scatter(results)} Molecules/s by steps: {speeds} "
        f"({where}). Weights after {passes(first['model']['facts'])}, commit {commit}; "
        "`benchmarks/molecules.py`.",
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


def scatter(results: dict[int, dict[str, Any]]) -> str:
    """How much the main numbers differ between seeds, in words; nothing for a single seed."""
    parts = []
    for steps, result in sorted(results.items()):
        spread = result.get("over_seeds", {}).get("valid_connected", {})
        if spread.get("deviation") is not None:
            parts.append(f"{100 * spread['mean']:.1f} +- {100 * spread['deviation']:.1f} % at {steps}")
    return f" Valid and connected, mean and deviation over the seeds: {', '.join(parts)}." if parts else ""


def reference_of(generator: Any) -> str:
    """What to compare with: the reference beside the weights, else the shipped one of the same data."""
    return str(find_reference(generator.path) or generator.name)


def main() -> None:
    """Sample, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--reference", help="as for moldiff evaluate; the model's own by default")
    parser.add_argument("--name", help="in the names of the results; the model by default")
    parser.add_argument("-n", type=int, default=1000, help="structures a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--xtb", type=int, default=0, help="relax so many of all seeds' molecules, and test molecules")
    parser.add_argument("--posebusters", type=int, default=0, help="test so many of all seeds' structures; 0.17 s each")
    parser.add_argument("--samples", type=Path, default=Path("runs/samples"), help="folder of what was drawn")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only make the table of the results there are")
    args = parser.parse_args()
    name = args.name or Path(args.model).name
    if not args.table:
        generator = moldiff.load(args.model)
        with Workers(args.jobs) as workers:
            reference, _ = find(args.reference or reference_of(generator), workers)
        for steps in args.steps:
            content = run(generator, steps, args=args, reference=reference)
            print(write_json(f"molecules-{name}-{steps}", content))
    text = table(stored(name))
    (RESULTS / f"molecules-{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
