"""One structure with the steps that led to it, recorded by a callback of the sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor

from moldiff.data.batching import PERIODIC_TABLE, mix
from moldiff.data.trajectory import Frame, Trajectory
from moldiff.denoiser import Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import Step
from moldiff.generator.given import Model, settings, to_state
from moldiff.generator.guided import Guidance
from moldiff.state import Alphabet, State


@final
class Recorder:
    """A callback of the sampler that keeps one structure of the batch at every step.

    Args:
        alphabets: of the model.
        row: which structure of the batch.
    """

    def __init__(self, alphabets: Mapping[str, Alphabet], *, row: int = 0) -> None:
        self.numbers = torch.tensor([PERIODIC_TABLE.index(s) for s in alphabets["elements"].symbols] + [0])
        self.row = row
        self.states: list[Frame] = []
        self.guesses: list[Frame] = []
        self.clocks: list[float] = []

    def __call__(self, step: Step) -> None:
        """Keep the state after the step and the guess it was made with."""
        self.states.append(self._frame(step.state))
        self.guesses.append(self._frame(guessed(step.state, step.prediction)))
        name = "positions" if step.state.positions is not None else "fractional"
        self.clocks.append(float(step.clocks.time(name, step.state)[self.row]))

    def _frame(self, state: State) -> Frame:
        here = state.mask[self.row].cpu()
        count = int(here.sum())

        def pick(value: Tensor) -> np.ndarray:
            return value[self.row].detach().double().cpu().numpy()

        numbers = self.numbers[state.field("elements")[self.row].cpu()][here].numpy()
        bonds = np.zeros((count, count), dtype=np.int64)
        if state.bonds is not None:
            drawn = state.bonds[self.row].cpu()[here][:, here].numpy()
            bonds = np.where(drawn > 4, 0, drawn)
        if state.positions is not None:
            return Frame(numbers, pick(state.positions)[here.numpy()], bonds)
        cell = pick(state.field("cell"))
        fractional = pick(state.field("fractional"))[here.numpy()] % 1.0
        return Frame(numbers, fractional @ cell, bonds, cell)

    def trajectory(self, structure: Any = None) -> Trajectory:
        """What was recorded, with the finished structure."""
        return Trajectory(tuple(self.states), tuple(self.guesses), np.array(self.clocks), structure)


def guessed(state: State, prediction: Prediction) -> State:
    """The clean structure a prediction means: its coordinates, and the most likely symbols."""
    changes: dict[str, Tensor] = {}
    for name in state.present:
        value = getattr(prediction, name)
        if value is not None:
            changes[name] = value.argmax(-1) if name in ("elements", "charges", "bonds") else value
    return state.replace(**changes)


class Sized(Model, Protocol):
    """A model that also draws atom counts, and from nothing."""

    def _sizes(self, n: int, seed: int, n_atoms: int | Sequence[int] | None) -> Tensor: ...

    def guide(self) -> Guidance:
        """No wishes."""
        ...


def trajectory(generator: Sized, *, seed: int, steps: int | None, n_atoms: int | None) -> Trajectory:
    """Sample one molecule and record its steps; see `moldiff.generator.Generator.trajectory`."""
    from moldiff.generator.export import to_arrays
    from moldiff.molecules.convert import Arrays, stereo_from_3d
    from moldiff.molecules.validity import check

    config = settings(generator, steps)
    process = JointProcess.for_molecules(generator.config.diffusion, generator.alphabets, sampler=config)
    recorder = Recorder(generator.alphabets)
    nothing = Arrays(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros((0, 0), np.int64))
    blank = to_state([nothing], generator._sizes(1, seed, n_atoms).tolist(), generator.alphabets)
    with generator.execution.running():
        done = generator.guide().draw(
            denoiser(generator.network, process),
            process,
            state=blank.to(generator.device),
            generator=torch.Generator(generator.device).manual_seed(mix(seed, 5)),
            config=config,
            callback=recorder,
        )
    verdict = check(next(to_arrays(done, generator.alphabets)))
    good = verdict.valid_connected and verdict.mol is not None
    return recorder.trajectory(stereo_from_3d(verdict.mol) if good else None)
