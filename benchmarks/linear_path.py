"""A linear (flow-matching) path for positions, to be compared with the preconditioned variance-exploding one.

x_t = (1 - tau) x_0 + tau s_data eps, with tau = s / (1 + s) so that the ratio of noise to data at a clock is that of
`GaussianProcess`. The network displaces the input by multiples of s_data to the clean positions, whatever the noise;
the loss is their squared error, and there is no churn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moldiff.config import GaussianConfig
from moldiff.denoiser import Clocks, Preconditioning, Prediction
from moldiff.diffusion.gaussian import GaussianProcess, noise
from moldiff.diffusion.process import mean_where
from moldiff.state import State


class LinearProcess:
    """Linear interpolation between data and noise of the data's size."""

    field = "positions"

    def __init__(self, config: GaussianConfig) -> None:
        self.exploding = GaussianProcess(config)
        self.clean = self.exploding.clean

    def tau(self, t: Tensor, state: State) -> Tensor:
        """Share of noise (B, 1, 1) at clocks (B,)."""
        s = self.exploding.level(t, state) / self.exploding.deviation(state)
        return s / (1 + s)

    def preconditioning(self, state: State, clocks: Clocks) -> Preconditioning:
        """Inputs of unit size; clean positions are the input plus s_data times the displacement.

        Without the input in the sum the trunk, whose outputs are sums of directions, would have to draw every place
        anew: that was tried first, and gave no valid molecule at all after five minutes.
        """
        deviation = self.exploding.deviation(state)
        given = clocks.is_given("positions", state).unsqueeze(-1)
        skip = torch.ones_like(given, dtype=deviation.dtype)
        return Preconditioning(1 / deviation, skip, torch.where(given, 0.0, deviation.expand_as(skip)))

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """Noise of the data's size."""
        given = clocks.is_given("positions", state)
        drawn = self.exploding.deviation(state) * noise(state, given, generator=generator)
        return torch.where(given.unsqueeze(-1), state.field("positions"), drawn)

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """From data (clock 0) to a clock."""
        if bool((t_from > 0).any()):
            raise ValueError("the linear path is noised from data only")
        given = clocks.is_given("positions", state)
        tau = self.tau(t_to, state)
        x = state.field("positions")
        noisy = (1 - tau) * x + tau * self.exploding.deviation(state) * noise(state, given, generator=generator)
        return torch.where(given.unsqueeze(-1), x, noisy)

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """Squared error of clean positions in units of s_data."""
        free = (noisy.mask & ~clocks.is_given("positions", noisy)).unsqueeze(-1).expand_as(noisy.positions)
        error = (prediction.positions - truth.positions) / self.exploding.deviation(noisy)
        return mean_where(error**2, free)

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
        """Euler step along the straight line through the clean guess."""
        before, after = self.tau(t_from, state), self.tau(t_to, state)
        x, clean = state.positions, prediction.positions
        moved = clean + (after / before.clamp_min(1e-12)) * (x - clean)
        keep = clocks.is_given("positions", state).unsqueeze(-1) | (before <= 0)
        return torch.where(keep, x, moved)
