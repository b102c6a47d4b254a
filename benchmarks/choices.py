"""One choice of the training recipe changed at a time, from nothing and at equal time.

    python benchmarks/choices.py --data qm9 --steps 450 --samples 256 --out runs/choices

Equal time: the mean processor time of a step of a variant is measured against one of the base in turns, and the variant
gets so many more or fewer steps. Judged by the averaged weights: losses of each field on the same validation molecules
with the same noise, de novo and after a first look (paired, so they tell small differences), and how many of a sample
with the shipped settings are valid and connected. Short runs tell what learns faster early, not what ends best. Writes
benchmarks/results/choices.json as it goes; runs that are there are not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, provenance, step_ratio, write_json

import moldiff
from moldiff.config import ModelConfig, NetworkConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import Batches, widen
from moldiff.denoiser import Clocks, Denoiser, Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.tasks import draw_noisy
from moldiff.generator import Generator
from moldiff.molecules.summary import summary
from moldiff.networks.weights import alphabets
from moldiff.state import State
from moldiff.training.ema import Average
from moldiff.training.loop import Trainer
from moldiff.training.run import describe_model, open_archive

#: What a variant changes: settings of training, the network, loss weights, the noise, the share of first looks.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "no self-conditioning": {"looks": False},
    "loss of elements x 3": {"weights": {"elements": 1.2}},
    "de novo only": {"train": {"tasks": {"generate": 1.0}}},
    "no property shown to 70 %": {"train": {"unconditional": 0.7}},
    "hidden channels of pairs 64, products 12": {"network": {"pair_hidden": 64, "products": 12}},
    "batches of 32": {"train": {"batch": 32}},
    "batches of 128": {"train": {"batch": 128}},
    "wide and shallow, 256 x 5": {"network": {"scalars": 256, "blocks": 5}},
    "narrow and deep, 144 x 12": {"network": {"scalars": 144, "blocks": 12}},
    "pair stream of 32": {"network": {"pairs": 32}},
    "pair stream of 96": {"network": {"pairs": 96}},
    "all losses alike": {"weights": dict.fromkeys(("positions", "elements", "charges", "bonds"), 1.0)},
    "no small noise": {"diffusion": {"clock_small": 0.0}},
}
#: The network of the base, that with which the first variants were measured.
BASE = NetworkConfig(pair_hidden=128, products=16)
#: Horizons of the average that the base's run is judged with, too; 0 for the last weights.
HORIZONS = (0.0, 0.01, 0.1, 0.3)
Noised = list[tuple[State, State, Clocks]]
"""Molecules, the same with noise, and their clocks."""
FIELDS = ("positions", "elements", "charges", "bonds")


def describe(archive: Archive, name: str, changes: dict[str, Any]) -> ModelConfig:
    """The model of a variant."""
    model = describe_model(archive, data=name)
    network = dataclasses.replace(BASE, **changes.get("network", {}))
    diffusion = dataclasses.replace(
        model.diffusion,
        **changes.get("diffusion", {}),
        weights={**model.diffusion.weights, **changes.get("weights", {})},
    )
    return dataclasses.replace(model, network=network, diffusion=diffusion)


def trainer_of(archive: Archive, model: ModelConfig, changes: dict[str, Any], *, steps: int, out: Path) -> Trainer:
    """A variant's trainer, nothing compiled."""
    config = TrainConfig(steps=steps, check_every=0, compile="off", **changes.get("train", {}))
    trainer = Trainer(archive, model, config=config, out=out)
    if not changes.get("looks", True):
        trainer.looks_twice = lambda step: False  # type: ignore[method-assign]
    return trainer


def ratio_of(archive: Archive, name: str, changes: dict[str, Any], *, out: Path) -> float:
    """How many times longer a step of a variant takes than one of the base."""

    def update(own: dict[str, Any]) -> Callable[[], object]:
        return trainer_of(archive, describe(archive, name, own), own, steps=10**6, out=out).update

    return step_ratio(update({}), update(changes))


def noised(archive: Archive, model: ModelConfig, *, most: int = 1024) -> Noised:
    """Validation molecules of a size each, with the de novo clocks and the noise that all variants are judged with."""
    process = JointProcess.for_molecules(model.diffusion, alphabets(model))
    validation, found = archive.subset("val"), []
    for number, group in enumerate(Batches(validation, alphabets(model), batch=64).groups):
        state = widen(group.state.index(slice(0, max(1, round(most * len(group.state) / len(validation))))))
        noise = torch.Generator().manual_seed(number)
        found.append(draw_noisy(state, process, model.diffusion, shares={"generate": 1.0}, generator=noise))
    return found


@torch.no_grad()
def held_out(guess: Denoiser, process: JointProcess, judged_on: Noised) -> dict[str, float]:
    """Mean unweighted losses of each field, after a first look."""
    sums, count = dict.fromkeys(FIELDS, 0.0), 0
    for state, noisy, clocks in judged_on:
        with torch.autocast("cpu", torch.bfloat16):
            prediction = guess(noisy, clocks, None, guess(noisy, clocks, None, None))
        for name, value in process.losses(prediction, state, noisy, clocks).items():
            sums[name] += float(value.sum())
        count += len(state)
    return {name: value / count for name, value in sums.items()}


def judge(trainer: Trainer, judged_on: Noised, *, looks: bool, samples: int, seed: int) -> dict[str, Any]:
    """Losses, and the share of a sample with the shipped settings that is valid; `looks`: with self-conditioning."""

    def network(state: State, clocks: Clocks, condition: Any, previous: Any, preconditioning: Any) -> Prediction:
        result: Prediction = trainer.network(state, clocks, condition, previous if looks else None, preconditioning)
        return result

    losses = held_out(denoiser(network, trainer.process), trainer.process, judged_on)
    model = dataclasses.replace(trainer.model, sampler=moldiff.load("qm9").sampler)
    generator = Generator(network, model, device="cpu")
    verdicts = [item.verdict for item in generator.stream(samples, seed=seed)]
    return {"losses": losses, "valid_connected": summary(verdicts)["valid_connected"]}


def run(archive: Archive, name: str, variant: str, *, steps: int, samples: int, seed: int, out: Path) -> dict[str, Any]:
    """Train and judge a variant; the base with other averages, too."""
    changes = VARIANTS[variant]
    train = archive.subset("train")
    ratio = ratio_of(train, name, changes, out=out / "speed") if changes else 1.0
    trainer = trainer_of(train, describe(train, name, changes), changes, steps=round(steps / ratio), out=out / variant)
    averages = {horizon: Average(trainer.network, horizon=horizon) for horizon in HORIZONS if horizon and not changes}
    while trainer.step < round(steps / ratio):
        trainer.update()
        for average in averages.values():
            average.update(trainer.network.named_parameters(), trainer.step)
    trainer.network.eval()
    judged = functools.partial(
        judge,
        trainer,
        noised(archive, describe(train, name, {})),
        looks=changes.get("looks", True),
        samples=samples,
        seed=seed,
    )
    found: dict[str, Any] = {"step_ratio": ratio, "steps": trainer.step, "passes": trainer.passes}
    if not changes:
        found["averages"] = {"0.0": judged()}
        for horizon, average in averages.items():
            average.swap(trainer.network)
            found["averages"][str(horizon)] = judged()
            average.swap(trainer.network)
    trainer.average.swap(trainer.network)
    return found | judged()


def main() -> None:
    """Train and judge what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="qm9")
    parser.add_argument("--steps", type=int, default=450, help="of the base")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/choices"))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()
    archive, name = open_archive(args.data)
    if not isinstance(archive, Archive):
        parser.error("crystals have another recipe: give molecules")
    path = RESULTS / "choices.json"
    results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    for variant in args.variants:
        if variant in results:
            continue
        results[variant] = run(
            archive, name, variant, steps=args.steps, samples=args.samples, seed=args.seed, out=args.out
        )
        print(variant, json.dumps(results[variant]), flush=True)
        write_json("choices", {"meta": provenance(args.seed), "steps": args.steps, "results": results})


if __name__ == "__main__":
    main()
