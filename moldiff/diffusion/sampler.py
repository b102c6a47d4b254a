"""The sampler: one short loop from noise to structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from moldiff.config import SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.schedule import time_grid
from moldiff.state import State


class Step(NamedTuple):
    """What a callback sees after a step, and may exchange by returning another Step."""

    number: int
    steps: int
    state: State
    clocks: Clocks
    prediction: Prediction


Callback = Callable[[Step], Step | None]

#: What is drawn anew at the end with `SamplerConfig.redraw`, and what it is drawn on.
REDRAWN, SETTLED = ("charges", "bonds"), ("positions", "elements")


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    process: JointProcess,
    *,
    state: State,
    generator: torch.Generator,
    config: SamplerConfig | None = None,
    given: Mapping[str, Tensor] | None = None,
    condition: Condition | None = None,
    callback: Callback | None = None,
) -> State:
    """Draw structures.

    Args:
        denoiser: guesses the clean structure; guidance wraps it.
        process: the noise of every field.
        state: sizes (mask) and the values of what is given; other values do not matter. Fields without a process are
            passed through.
        generator: all random numbers; the same generator state gives the same structures.
        config: steps, churn, re-masking.
        given: field -> bool mask of the entries that are exactly data; a field that is given whole is not stepped.
        condition: target properties.
        callback: called after every step with a `Step`; completion, steering and recording hook in here. One that
            exchanges rows must do so among structures of the same clocks.

    Returns:
        The finished batch, at clock 0. Given entries are bit-identical to those of `state`.
    """
    config = config or SamplerConfig()
    given = dict(given or {})
    redraws = config.redraws if _can_redraw(process, state, given) else 0
    grid = time_grid(config.steps - redraws, config.density, config.last).to(state.device, torch.float32)
    rows = len(state)
    whole = {
        name: mask.reshape(rows, -1).sum(1) == state.entries(name).reshape(rows, -1).sum(1)
        for name, mask in given.items()
    }

    def clocks_at(t: Tensor) -> Clocks:
        time = t.expand(rows)
        return Clocks(
            {name: torch.where(whole[name], 0.0, time) if name in whole else time for name in process.processes}, given
        )

    def settled_at(done: float) -> Clocks:
        """After a share of the redrawing: what decides is given, what is redrawn stands that far in its window."""
        nothing = torch.zeros(rows, device=state.device)
        times = dict.fromkeys(process.processes, nothing)
        for name in REDRAWN:
            symbols = process.processes[name]
            if done < 1 and isinstance(symbols, CategoricalProcess):
                time = nothing + symbols.config.end - done * (symbols.config.end - symbols.config.begin)
                times[name] = torch.where(whole[name], 0.0, time) if name in whole else time
        return Clocks(times, {**given, **{name: state.entries(name) for name in SETTLED}})

    def walk(current: State, path: Sequence[Clocks], config: SamplerConfig, first: int = 0) -> State:
        previous: Prediction | None = None
        before: Clocks | None = None
        current, clocks = process.prior(current, path[0], generator=generator), path[0]
        for index, after in enumerate(path[1:]):
            if index + 2 < len(path):
                current, clocks = process.churn(current, clocks, config, generator=generator)
            prediction = denoiser(current, clocks, condition, previous)
            guess = prediction
            if config.order == 2 and previous is not None and before is not None:
                guess = process.extrapolate(prediction, previous, current, before=before, clocks=clocks, after=after)
            current = process.step(current, guess, clocks, after, generator=generator)
            before, clocks, previous = clocks, after, prediction
            if callback is not None:
                changed = callback(Step(first + index, config.steps, current, clocks, prediction))
                if changed is not None:
                    current, clocks, previous = changed.state, changed.clocks, changed.prediction
        return current

    done = walk(state, [clocks_at(t) for t in grid], config)
    if redraws:
        path = [settled_at(number / redraws) for number in range(redraws + 1)]
        done = walk(done, path, replace(config, order=1, churn=0.0), first=config.steps - redraws)
    return done


def _can_redraw(process: JointProcess, state: State, given: Mapping[str, Tensor]) -> bool:
    """Whether symbols that follow from a geometry are made together with it, in any structure."""
    if any(name not in process.processes for name in (*SETTLED, *REDRAWN)):
        return False
    return all(name not in given or bool((state.entries(name) & ~given[name]).any()) for name in ("positions", "bonds"))
