"""Fractional coordinates: geodesic flow on the torus from a uniform prior (Chen & Lipman 2024; Miller et al. 2024).

f_t = wrap(f_0 + t d), d the shortest way (component by component) from the data to a uniform draw. Where every site is
generated a common translation cannot be known: the velocity is then d without its mean over the atoms.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.process import mean_where, uniform
from moldiff.state import State


def wrap(fractional: Tensor) -> Tensor:
    """Fractional coordinates in [0, 1)."""
    wrapped = fractional - torch.floor(fractional)
    # a tiny negative number rounds to 1
    return torch.where(wrapped >= 1, 0.0, wrapped)


def shortest(difference: Tensor) -> Tensor:
    """Differences of fractional coordinates with every component in [-0.5, 0.5]."""
    return difference - torch.round(difference)


@final
class TorusProcess:
    """Geodesic flow of fractional coordinates.

    Args:
        anneal: while stepping, the velocity is multiplied by 1 + anneal (1 - t).
        anneal_given: the same for structures all of whose elements are given; `anneal` if None.
    """

    field = "fractional"
    guess = "tangent"

    def __init__(self, *, anneal: float = 0.0, anneal_given: float | None = None) -> None:
        self.anneal = anneal
        self.anneal_given = anneal if anneal_given is None else anneal_given

    def _free(self, state: State, clocks: Clocks) -> Tensor:
        """(B, N, 1) bool, the sites that are generated."""
        return (state.mask & ~clocks.is_given("fractional", state)).unsqueeze(-1)

    def tangent(self, velocity: Tensor, state: State, clocks: Clocks) -> Tensor:
        """A velocity (B, N, 3) without what cannot be known: zero on given sites, mean-free where none is given."""
        free = self._free(state, clocks)
        velocity = torch.where(free, velocity, 0.0)
        mean = velocity.sum(1, keepdim=True) / free.sum(1, keepdim=True).clamp_min(1)
        alone = ~clocks.is_given("fractional", state).any(1)[:, None, None]
        return torch.where(free & alone, velocity - mean, velocity)

    def clean(self, tangent: Tensor, state: State, clocks: Clocks) -> Tensor:
        """The clean guess wrap(f - t v); exact where given."""
        f = state.field("fractional")
        t = clocks.time("fractional", state)[:, None, None]
        return torch.where(self._free(state, clocks), wrap(f - t * tangent.to(f.dtype)), f)

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """Uniform coordinates; given sites keep their place."""
        f = state.field("fractional")
        return torch.where(self._free(state, clocks), uniform(f.shape, generator, f.device).to(f.dtype), f)

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Coordinates moved by the share (t_to - t_from) / (1 - t_from) of the shortest way to a uniform draw."""
        f = state.field("fractional")
        share = ((t_to - t_from) / (1 - t_from).clamp_min(1e-9)).clamp(0, 1)[:, None, None]
        way = shortest(uniform(f.shape, generator, f.device).to(f.dtype) - f)
        return torch.where(self._free(state, clocks), wrap(f + share * way), f)

    def target(self, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """The velocity (B, N, 3) that the network should predict."""
        t = clocks.time("fractional", noisy)[:, None, None]
        way = shortest(noisy.field("fractional") - truth.field("fractional"))
        return self.tangent(torch.where(t > 0, way / torch.where(t > 0, t, 1.0), 0.0), noisy, clocks)

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """Squared error of the velocity, times 12 so that predicting zero costs about 1; (B,)."""
        if prediction.tangent is None:
            raise ValueError("the prediction has no tangent: this denoiser cannot be trained on fractional coordinates")
        free = self._free(noisy, clocks) & (clocks.time("fractional", noisy) > 0)[:, None, None]
        error = prediction.tangent.float() - self.target(truth, noisy, clocks).float()
        return mean_where(12 * error**2, free.expand_as(error))

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
        """One Euler step, f <- wrap(f - dt (1 + a (1 - t)) v)."""
        if prediction.tangent is None:
            raise ValueError("the prediction has no tangent: this denoiser cannot step fractional coordinates")
        f = state.field("fractional")
        told = (clocks.is_given("elements", state) | ~state.mask).all(1)
        strength = torch.where(told, self.anneal_given, self.anneal)
        # the clean guess lies t away: an anti-annealed step must not overshoot it
        share = torch.minimum((t_from - t_to) * (1 + strength * (1 - t_from)), t_from)[:, None, None]
        return torch.where(self._free(state, clocks), wrap(f - share * prediction.tangent.to(f.dtype)), f)

    def variable(self, t: Tensor, state: State) -> Tensor:
        """The clock, in which velocities are taken as linear (Adams and Bashforth); (B, 1, 1)."""
        return t[:, None, None]
