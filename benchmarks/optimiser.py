"""Optimisers side by side: the same weights, batches and noise at every step, so that losses are paired.

    python benchmarks/optimiser.py --data qm9 --steps 240 --plan 800 --out runs/optimiser

Every variant trains for --steps of a schedule of --plan steps. Because seed and step decide batches and noise, the mean
losses of the same steps differ by the optimiser alone. Logs that are there are not made again. Writes
benchmarks/results/optimiser.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from common import provenance, write_json

from moldiff.config import TrainConfig
from moldiff.training.loop import Trainer
from moldiff.training.run import describe_model, open_archive

VARIANTS: dict[str, dict[str, Any]] = {
    "adamw": {"optimiser": "adamw"},
    "muon x1": {"optimiser": "muon", "matrix_rate": 1.0},
    "muon x3": {"optimiser": "muon", "matrix_rate": 3.0},
    "muon x8": {"optimiser": "muon", "matrix_rate": 8.0},
}
#: Steps averaged in one number.
WINDOW = 80


def losses(log: Path) -> dict[int, dict[str, float]]:
    """Step -> numbers of a training log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {line["step"]: line for line in lines if "loss" in line}


def main() -> None:
    """Train every variant and average the losses over the same steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="qm9")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--plan", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/optimiser"))
    args = parser.parse_args()
    archive, name = open_archive(args.data)
    model = describe_model(archive, data=name, size="s")
    logs = {}
    for variant, settings in VARIANTS.items():
        folder = args.out / variant.replace(" ", "-")
        if not (folder / "log.jsonl").exists():
            config = TrainConfig(steps=args.plan, seed=args.seed, check_every=0.0, **settings)
            trainer = Trainer(archive.subset("train"), model, config=config, out=folder)
            lines = []
            for step in range(1, args.steps + 1):
                numbers = trainer.update()
                if step % 20 == 0:
                    lines.append(json.dumps({k: float(v) for k, v in numbers.items()} | {"step": step}))
            (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
        logs[variant] = losses(folder / "log.jsonl")
    common = sorted(set.intersection(*(set(log) for log in logs.values())))
    results: dict[str, list[dict[str, float]]] = {variant: [] for variant in logs}
    for end in range(WINDOW, max(common) + 1, WINDOW):
        steps = [step for step in common if end - WINDOW < step <= end]
        for variant, log in logs.items():
            means = {key: sum(log[s][key] for s in steps) / len(steps) for key in ("loss", "positions", "bonds")}
            results[variant].append({"to_step": end} | means)
            print(variant, results[variant][-1], flush=True)
    write_json("optimiser", {"meta": provenance(args.seed), "plan": args.plan, "results": results})


if __name__ == "__main__":
    main()
