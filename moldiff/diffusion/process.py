"""The protocol of a process: how one field of a State is noised, judged and denoised, in four verbs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Prediction
from moldiff.state import State


class Process(Protocol):
    """One field's diffusion. `prior` starts a sample, `corrupt` adds noise, `loss` judges, `step` takes noise away.

    All verbs leave given entries exactly as they are and padding at zero; all random draws use the generator.
    """

    field: str

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """The field at clock 1; given entries keep the values they have in `state`."""
        ...

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """The field advanced from clock t_from to a later t_to (both (B,)); only the given-masks of `clocks` count."""
        ...

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """(B,) training loss, a mean over the entries that are not given; 0 where there are none."""
        ...

    def step(
        self,
        state: State,
        prediction: Prediction,
        clocks: Clocks,
        t_from: Tensor,
        t_to: Tensor,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """The field moved from clock t_from to an earlier t_to (both (B,))."""
        ...


@runtime_checkable
class Multistep(Protocol):
    """What a process of a continuous field may offer beside: a second-order step from the evaluation before."""

    guess: str
    """The field of a `Prediction` that it steps along."""

    def variable(self, t: Tensor, state: State) -> Tensor:
        """lambda at clocks (B,), in which the guess is taken as linear; of a shape that broadcasts over the guess."""
        ...


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """(B,) mean of `values` over the `chosen` entries of each structure, 0 where none is; never 0 * inf."""
    values = torch.where(chosen, values, torch.zeros_like(values)).flatten(1)
    return values.sum(1) / chosen.flatten(1).sum(1).clamp_min(1)


def uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) drawn where the generator lives, then moved to the device."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def normal(
    shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Standard normal numbers drawn where the generator lives, then moved to the device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype).to(device)
