"""Equal-time comparisons of recipes before a long run: path, size of the trunk, bond symbols.

    python benchmarks/recipe.py --data qm9 --steps 800 --samples 500 --out runs/recipe

Variants of one network size cost the same a step, so equal time is an equal number of steps; this holds also on a
machine that others slow down while one of them runs. A larger network gets fewer steps, by the ratio of the processor
times of a step of both, measured in turns. Results go to benchmarks/results/recipe.json; runs that are there are
not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from common import median_interval, provenance, step_ratio, write_json
from linear_path import LinearProcess

from moldiff.config import ModelConfig, SamplerConfig, TrainConfig, to_dict
from moldiff.data.archive import Archive
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.generator.export import to_arrays
from moldiff.generator.generator import blank_state
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.summary import summary
from moldiff.molecules.validity import check
from moldiff.networks.weights import alphabets, load
from moldiff.shipped import WEIGHTS
from moldiff.state import SYMBOL_FIELDS
from moldiff.training.loop import Trainer
from moldiff.training.run import describe_model, open_archive

VARIANTS: dict[str, dict[str, Any]] = {
    "exploding-s-aromatic": {},
    "linear-s-aromatic": {"linear": True},
    "exploding-m-aromatic": {"size": "m"},
    "exploding-s-kekulised": {"aromatic": False},
}
GRIDS = {"exploding": [SamplerConfig()], "linear": [SamplerConfig(density=d) for d in (0.0, 2.0)]}


def process_of(model: ModelConfig, *, linear: bool, sampler: SamplerConfig | None) -> JointProcess:
    """The joint process of a variant."""
    joint = JointProcess.for_molecules(model.diffusion, alphabets(model), sampler=sampler)
    if not linear:
        return joint
    symbols = [p for p in joint.processes.values() if isinstance(p, CategoricalProcess)]
    assert len(symbols) == len(SYMBOL_FIELDS)
    return JointProcess([LinearProcess(model.diffusion.positions), *symbols], weights=model.diffusion.weights)


@torch.no_grad()
def judge(folder: Path, *, linear: bool, sampler: SamplerConfig, samples: int, seed: int) -> dict[str, Any]:
    """Sample from a run's averaged weights and count."""
    network, model = load(folder / WEIGHTS)
    process = process_of(model, linear=linear, sampler=sampler)
    sizes = torch.tensor([int(n) for n in model.sizes])
    weights = torch.tensor([float(c) for c in model.sizes.values()])
    generator = torch.Generator().manual_seed(seed)
    drawn = sizes[torch.multinomial(weights, samples, replacement=True, generator=generator)].sort().values
    verdicts, drops = [], []
    for part in drawn.split(64):
        with torch.autocast("cpu", torch.bfloat16):
            done = sample(
                denoiser(network, process), process, state=blank_state(part), generator=generator, config=sampler
            )
        verdicts += [check(arrays) for arrays in to_arrays(done, alphabets(model))]
    for verdict in verdicts:
        drop = mmff_drop(verdict.mol) if verdict.valid_connected and verdict.mol is not None else None
        if drop is not None:
            drops.append(drop[0])
    rates = {k: v for k, v in summary(verdicts).items() if k in ("valid_connected", "molecule_stable", "atom_stable")}
    return {"sampler": to_dict(sampler), **rates, "mmff_drop": median_interval(drops), "facts": model.facts}


def ratio_of(archive: Archive, name: str, size: str, *, out: Path) -> float:
    """How many times longer a step of a network size takes than one of size "s"."""
    trainers = []
    for each in ("s", size):
        config = TrainConfig(steps=10**6, size=each, check_every=0)
        model = describe_model(archive, data=name, size=each)
        trainers.append(Trainer(archive, model, config=config, out=out / f"speed-{each}"))
    return step_ratio(*(trainer.update for trainer in trainers))


def main() -> None:
    """Train and judge every variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="qm9")
    parser.add_argument("--steps", type=int, default=800, help="steps of size s")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    archive, name = open_archive(args.data)
    train = archive.subset("train")
    results: dict[str, Any] = {}
    ratios = {"s": 1.0}
    for variant in args.variants:
        settings = dict(VARIANTS[variant])
        linear = settings.pop("linear", False)
        size = settings.get("size", "s")
        if size not in ratios:
            ratios[size] = ratio_of(train, name, size, out=args.out)
        config = TrainConfig(steps=round(args.steps / ratios[size]), seed=args.seed, check_every=0, **settings)
        model = describe_model(archive, data=name, size=config.size)
        folder = args.out / variant
        if not (folder / WEIGHTS).exists():
            process = process_of(model, linear=linear, sampler=None)
            Trainer(train, model, config=config, out=folder, process=process).fit()
        results[variant] = [
            judge(folder, linear=linear, sampler=grid, samples=args.samples, seed=args.seed)
            for grid in GRIDS["linear" if linear else "exploding"]
        ]
        print(variant, results[variant], flush=True)
        write_json(
            "recipe", {"meta": provenance(args.seed), "steps": args.steps, "step_ratios": ratios, "results": results}
        )


if __name__ == "__main__":
    main()
