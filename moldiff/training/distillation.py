"""Distillation to few steps: one step of the pupil does what several of its teacher do (Salimans & Ho 2022).

The teacher walks each step of the pupil's in smaller ones, in which positions move and hidden symbols stay hidden. The
pupil learns the clean positions that lead there at once, and the teacher's last probabilities of the symbols, which
have seen where the atoms go. Both follow from what the pupil sees, so that one evaluation can know them. Many symbols
shown at once contradict each other less, and positions keep to the teacher's curved path.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, final

import torch
from torch import Tensor

from moldiff.config import SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.schedule import next_time
from moldiff.state import State

#: How much more than from data symbols weigh: it is they that a pupil gets wrong, not the places of atoms.
EMPHASIS = {"elements": 5.0, "bonds": 2.0}


class Start(NamedTuple):
    """Where a step of the pupil's begins: the noisy batch, its clocks, and where the positions' clock (B,) goes."""

    noisy: State
    clocks: Clocks
    after: Tensor


@final
class Distillation:
    """Steps of the pupil's sampler, walked by its teacher.

    Args:
        process: the joint process of both.
        sampler: the pupil's settings; its number of steps is what is distilled to.
        substeps: evaluations of the teacher for each of them.

    Raises:
        ValueError: if the process has no Gaussian positions.
    """

    def __init__(self, process: JointProcess, sampler: SamplerConfig, *, substeps: int) -> None:
        positions = process.processes.get("positions")
        if not isinstance(positions, GaussianProcess):
            raise ValueError("only models of molecules can be distilled: this process has no Gaussian positions")
        self.process, self.positions, self.sampler, self.substeps = process, positions, sampler, substeps

    def begin(self, noisy: State, clocks: Clocks, *, generator: torch.Generator) -> Start:
        """The noise raised as before a step of the sampler, and where the step leads."""
        config = self.sampler
        after = next_time(
            clocks.time("positions", noisy), config.steps - config.redraws, density=config.density, last=config.last
        )
        raised, at = self.process.churn(noisy, clocks, config, generator=generator)
        # the last step has no churn
        final = after <= 0
        noisy = noisy.replace(
            positions=torch.where(final[:, None, None], noisy.field("positions"), raised.field("positions"))
        )
        time = torch.where(final, clocks.time("positions", noisy), at.time("positions", noisy))
        return Start(noisy, clocks.at(positions=time), after)

    @torch.no_grad()
    def walk(
        self,
        teacher: Denoiser,
        start: Start,
        condition: Condition | None,
        previous: Prediction | None,
        *,
        generator: torch.Generator,
    ) -> Prediction:
        """What the pupil is to predict at the start of a step, as it would follow from the teacher's own steps.

        Args:
            teacher: the trained denoiser.
            start: from `begin`.
            condition: target properties.
            previous: the guess before that the pupil sees.
            generator: random numbers of a step, of which one of positions needs none.
        """
        noisy, clocks, after = start
        begun = clocks.time("positions", noisy)
        state = noisy
        for number in range(self.substeps):
            done, next_done = number / self.substeps, (number + 1) / self.substeps
            # the last step to 0 is one for the teacher, too, which looks several times
            stays = (after <= 0) & (next_done < 1)
            t_from = torch.where(after <= 0, begun, begun + (after - begun) * done)
            t_to = torch.where(stays, begun, begun + (after - begun) * next_done)
            now = clocks.at(positions=t_from)
            previous = told = teacher(state, now, condition, previous)
            state = state.replace(positions=self.positions.step(state, told, now, t_from, t_to, generator=generator))
        s_from, s_to = self.positions.level(begun, noisy), self.positions.level(after, noisy)
        ratio = torch.where(s_from > 0, s_to / torch.where(s_from > 0, s_from, 1.0), 0.0)
        x = noisy.field("positions")
        return replace(told, positions=(state.field("positions") - ratio * x) / (1 - ratio))
