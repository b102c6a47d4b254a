"""The numbers of the README for crystals: structure prediction on MP-20's test set, and samples from nothing.

    python benchmarks/crystals.py mp20 --csp 2000 -n 1000 --steps 50 100

Structure prediction takes a fixed random part of the test set, true compositions and atom counts, one sample each.
One file a step count and kind, benchmarks/results/crystals-<model>-<kind>-<steps>.json, written as soon as it is known;
``--table`` only puts the table together from the files that are there, benchmarks/results/crystals-<model>.md. Nothing
is filtered: every structure drawn counts. 0 leaves a kind out.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, passes, provenance, read_same, write_json

import moldiff
from moldiff.config import to_dict
from moldiff.data.batching import PERIODIC_TABLE, blank_crystals, mix
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.data.download import find_archive
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.evaluation import evaluate
from moldiff.evaluation.definitions import definition
from moldiff.generator.crystal_plan import settings
from moldiff.generator.export import to_crystals

KINDS = {
    "csp": ("match_rate", "match_rate_valid", "match_rmse", "match_rmse_all", "metre", "same_composition"),
    "denovo": (
        *("structure_valid", "structure_valid_images", "composition_valid", "valid", "unique", "novel", "vun"),
        *("unique_loose", "novel_loose", "memorised", "cov_recall", "cov_precision", "w1_density", "w1_elements"),
        "p1_share",
    ),
}
HEADS = {"csp": "Structure prediction", "denovo": "From nothing"}


def predict(
    generator: Any, compositions: Sequence[np.ndarray], *, seed: int = 0, steps: int = 50, batch_size: int = 64
) -> list[Any]:
    """One crystal for each composition.

    Args:
        generator: a `moldiff.generator.crystals.CrystalGenerator`.
        compositions: atomic numbers, one an atom of the cell (n,).
        seed: with the batch size it decides everything.
        steps: network evaluations a crystal.
        batch_size: crystals a batch; near sizes share one.

    Returns:
        `moldiff.crystals.convert.CrystalArrays` in the order of the compositions.
    """
    config = settings(generator, steps)
    process = JointProcess.for_crystals(generator.config.diffusion, generator.alphabets, sampler=config)
    model, known = denoiser(generator.network, process), generator.alphabets["elements"]
    made: dict[int, Any] = {}
    order = np.argsort([len(numbers) for numbers in compositions], kind="stable")
    for index, start in enumerate(range(0, len(order), batch_size)):
        rows = order[start : start + batch_size]
        state = blank_crystals([len(compositions[row]) for row in rows])
        elements = state.field("elements").clone()
        for place, row in enumerate(rows):
            symbols = [known.index(PERIODIC_TABLE[int(number)]) for number in compositions[row]]
            elements[place, : len(symbols)] = torch.tensor(symbols)
        state = state.replace(elements=elements).to(generator.device)
        noise = torch.Generator(generator.device).manual_seed(mix(seed, index))
        with generator.execution.running():
            done = sample(
                model,
                process,
                state=state,
                generator=noise,
                config=config,
                given={"elements": state.entries("elements")},
            )
        made |= dict(zip(rows.tolist(), to_crystals(done, generator.alphabets), strict=True))
        print(f"\r{len(made)} of {len(compositions)} predicted", end="", flush=True)
    print()
    return [made[row] for row in range(len(compositions))]


def run(generator: Any, kind: str, count: int, steps: int, *, args: argparse.Namespace) -> dict[str, Any]:
    """Draw and judge one kind at one step count."""
    start = time.perf_counter()
    if kind == "csp":
        test = CrystalArchive.load(find_archive(args.data)).subset("test")
        rows = np.sort(np.random.default_rng(0).permutation(len(test))[:count])
        truth = test.select(rows)
        compositions = [truth.record(row).numbers for row in range(len(truth))]
        drawn = predict(generator, compositions, seed=args.seed, steps=steps, batch_size=args.batch)
        options: dict[str, Any] = {"csp": truth}
    else:
        items = generator.stream(count, seed=args.seed, steps=steps, batch_size=args.batch, progress=True)
        drawn = [item.arrays for item in sorted(items, key=lambda item: item.number)]
        options = {"reference": args.reference or args.model}
    seconds = time.perf_counter() - start
    result = evaluate(drawn, jobs=args.jobs, seed=args.seed, **options)
    print(result)
    return {
        "meta": provenance(args.seed),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "sampler": to_dict(settings(generator, steps)),
        "kind": kind,
        "steps": steps,
        "n": len(drawn),
        "seconds": round(seconds, 1),
        "crystals_per_second": round(len(drawn) / seconds, 2),
        "evaluation": json.loads(result.to_json()),
    }


def cell(name: str, metric: dict[str, Any] | None, key: str = "value") -> str:
    """One number of the table, with its interval where it has one."""
    if metric is None or metric.get(key) is None:
        return ""
    share = definition(name, "crystals").unit == "%"

    def text(value: float) -> str:
        return f"{100 * value:.1f}" if share else f"{value:.3g}"

    if key == "floor" or metric["low"] is None or metric["high"] is None:
        return text(metric[key])
    return f"{text(metric['value'])} ({text(metric['low'])} - {text(metric['high'])})"


def stored(name: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The results of a name by kind and step count, all of the same weights."""
    return {
        (one["kind"], one["steps"]): one for one in read_same(rf"crystals-{re.escape(name)}-({'|'.join(KINDS)})-\d+")
    }


def table(results: dict[tuple[str, int], dict[str, Any]]) -> str:
    """Markdown: for each kind a row a number and a column a step count, the floor last."""
    lines: list[str] = []
    for kind, names in KINDS.items():
        chosen = {steps: one for (one_kind, steps), one in sorted(results.items()) if one_kind == kind}
        if not chosen:
            continue
        floor = kind == "denovo"
        heads = [HEADS[kind], *(f"{steps} steps" for steps in chosen), *(["real crystals"] if floor else [])]
        lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for name in names:
            metrics = [one["evaluation"]["metrics"].get(name) for one in chosen.values()]
            if all(metric is None or metric["value"] is None for metric in metrics):
                continue
            found = definition(name, "crystals")
            label = f"{found.label}, {found.unit}" if found.unit else found.label
            cells = [cell(name, metric) for metric in metrics]
            cells += [cell(name, metrics[-1], "floor")] if floor else []
            lines.append("| " + " | ".join([label, *cells]) + " |")
        first = next(iter(chosen.values()))
        hardware = first["meta"]["hardware"]
        where = hardware["gpu"] or f"{hardware['cpu']}, {hardware['threads']} threads"
        speeds = ", ".join(f"{one['crystals_per_second']:.2f} at {steps}" for steps, one in chosen.items())
        counts = ", ".join(map(str, sorted({one["n"] for one in chosen.values()})))
        what = (
            f"{counts} random crystals of the test set, one prediction each with the true composition and atom count"
            if kind == "csp"
            else f"{counts} samples a column, nothing filtered; the last column is as many training crystals against "
            "the test set, for unique and novel test against training crystals"
        )
        lines += [
            "",
            f"{what}; 95 % intervals in brackets. Crystals/s by steps: {speeds} ({where}). Weights after "
            f"{passes(first['model']['facts'])}, commit {first['meta']['commit'][:12]}; "
            "`benchmarks/crystals.py`.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Draw, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--reference", help="as for moldiff evaluate; the model's own by default")
    parser.add_argument("--data", default="mp20", help="archive whose test set is predicted")
    parser.add_argument("--name", help="in the names of the results; the model by default")
    parser.add_argument("-n", type=int, default=1000, help="samples from nothing")
    parser.add_argument("--csp", type=int, default=2000, help="test crystals to predict")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only make the table of the results there are")
    args = parser.parse_args()
    name = args.name or Path(args.model).name
    if not args.table:
        generator = moldiff.load(args.model)
        for steps in args.steps:
            for kind, count in (("csp", args.csp), ("denovo", args.n)):
                if count:
                    content = run(generator, kind, count, steps, args=args)
                    print(write_json(f"crystals-{name}-{kind}-{steps}", content))
    text = table(stored(name))
    (RESULTS / f"crystals-{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
