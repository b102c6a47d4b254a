"""What distillation to few steps can give: samples of a perfect pupil, which asks its teacher several times a step.

    python benchmarks/pupil.py qm9 -n 400 --seed 2000

Writes benchmarks/results/pupil-<model>.json as it goes. Each row is a number of steps and of the teacher's evaluations
for each of them. "none" takes the teacher's own steps. A perfect pupil steps to where the teacher's short steps lead
(`moldiff.training.distillation`), and shows symbols by the teacher's probabilities at the end of the step, or, "at
first", at its beginning, as a pupil would that learns positions alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from common import provenance, write_json
from sampler import judged

import moldiff
from moldiff.config import SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.schedule import next_time
from moldiff.generator import generator as drawing
from moldiff.networks.trunk import Trunk
from moldiff.state import State
from moldiff.training.distillation import Distillation, Start

#: Steps, evaluations of the teacher for each, and whether the symbols are those of the beginning.
ROWS = ((20, 1, False), (16, 1, False), (8, 1, False), (20, 3, True), (20, 2, False), (20, 3, False), (16, 4, False))
ROWS += ((12, 5, False), (8, 8, False))


def perfect(
    teacher: Denoiser, process: JointProcess, sampler: SamplerConfig, *, substeps: int, at_first: bool = False
) -> Denoiser:
    """A denoiser that predicts what a pupil is taught.

    Args:
        teacher: the trained denoiser.
        process: the joint process.
        sampler: the settings that are sampled with.
        substeps: evaluations of the teacher for a step.
        at_first: symbols as the teacher sees them where the step begins.
    """
    distillation = Distillation(process, sampler, substeps=substeps)

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        if bool((clocks.time("positions", state) == 0).all()):  # charges and bonds are drawn anew
            return teacher(state, clocks, condition, previous)
        # the noise is raised already; the symbols' clocks tell from where
        count = sampler.steps - sampler.redraws
        after = next_time(clocks.time("elements", state), count, density=sampler.density, last=sampler.last)
        generator = torch.Generator(state.device)
        start = Start(state, clocks, after)
        told = distillation.walk(teacher, start, condition, previous, generator=generator)
        return (
            dataclasses.replace(teacher(state, clocks, condition, previous), positions=told.positions)
            if at_first
            else told
        )

    return denoise


def main() -> None:
    """Sample with each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2000)
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    shipped = generator.sampler
    plain: Callable[[Trunk, JointProcess], Denoiser] = drawing.denoiser
    results: list[dict[str, Any]] = []
    for steps, substeps, at_first in ROWS:
        few = shipped.in_steps(steps)
        generator.sampler = few if substeps == 1 else dataclasses.replace(few, order=1)

        def make(network: Trunk, process: JointProcess) -> Denoiser:
            teacher = plain(network, process)
            if substeps == 1:  # noqa: B023 - called in this turn
                return teacher
            return perfect(teacher, process, generator.sampler, substeps=substeps, at_first=at_first)  # noqa: B023

        drawing.denoiser = make  # type: ignore[assignment]
        start = time.perf_counter()
        found = judged([item.verdict for item in generator.stream(args.n, seed=args.seed)])
        results.append({"steps": steps, "substeps": substeps, "at_first": at_first, **found})
        both = found["valid_connected"]
        name = f"{steps} x {substeps}{' at first' * at_first}"
        print(f"{name}: {100 * both['value']:.1f} %, {time.perf_counter() - start:.0f} s", flush=True)
        content = {"meta": provenance(args.seed), "n": args.n, "facts": generator.config.facts, "results": results}
        write_json(f"pupil-{args.model}", content)


if __name__ == "__main__":
    main()
