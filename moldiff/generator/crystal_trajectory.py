"""One crystal with the steps that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from moldiff.data.batching import blank_crystals, mix
from moldiff.data.trajectory import Trajectory
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.generator.crystal_plan import settings
from moldiff.generator.crystal_results import atoms_of, judge
from moldiff.generator.export import to_crystals
from moldiff.generator.trajectory import Recorder

if TYPE_CHECKING:
    from moldiff.generator.crystal_plan import CrystalModel, CrystalPlan


def trajectory(
    generator: CrystalModel, *, seed: int, steps: int | None, n_atoms: int | None, plan: CrystalPlan
) -> Trajectory:
    """Sample one crystal and record its steps; see `CrystalGenerator.trajectory`."""
    config = settings(generator, steps)
    process = JointProcess.for_crystals(generator.config.diffusion, generator.alphabets, sampler=config)
    recorder = Recorder(generator.alphabets)
    sizes = plan.sizes(1, n_atoms, generator=torch.Generator().manual_seed(mix(seed, 0)))
    with generator.execution.running():
        done = plan.draw(
            denoiser(generator.network, process),
            process,
            state=blank_crystals(sizes.tolist(), device=generator.device),
            generator=torch.Generator(generator.device).manual_seed(mix(seed, 7)),
            config=config,
            callback=recorder,
        )
    arrays = next(to_crystals(done, generator.alphabets))
    good = judge(arrays).structure_valid
    return recorder.trajectory(atoms_of(arrays, f"{generator.name}-{seed}") if good else None)
