"""Gaussian noise on atom positions: preconditioned variance-exploding diffusion (Karras et al. 2022, EDM).

x_t = x_0 + s(t) eps. With nothing given, state and noise have zero centre of mass; with anything given, the origin is
the centroid of the given atoms, the noise on the others has full rank, and nothing is centred again.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from moldiff.config import GaussianConfig
from moldiff.denoiser import Clocks, Preconditioning, Prediction
from moldiff.diffusion.process import mean_where, normal
from moldiff.diffusion.schedule import log_linear
from moldiff.state import State, centroid


def noise(state: State, given: Tensor, *, generator: torch.Generator) -> Tensor:
    """Unit noise (B, N, 3) on the atoms that are not given; zero centre of mass where none is given."""
    x = state.field("positions")
    free = state.mask & ~given
    eps = torch.where(free.unsqueeze(-1), normal(x.shape, generator, x.device, x.dtype), 0.0)
    alone = ~given.any(1)
    centre = torch.where(alone[:, None, None], centroid(eps, free), 0.0)
    return torch.where(free.unsqueeze(-1), eps - centre, 0.0)


def expand(t: Tensor) -> Tensor:
    """(B,) to (B, 1, 1)."""
    return t[:, None, None]


@final
class GaussianProcess:
    """Variance-exploding noise on positions, with preconditioning.

    Args:
        config: noise range and the data's deviation as a function of the atom count.
    """

    field = "positions"
    guess = "positions"

    def __init__(self, config: GaussianConfig) -> None:
        self.config = config

    def deviation(self, state: State) -> Tensor:
        """s_data (B, 1, 1): the deviation a coordinate of structures of this atom count, angstrom."""
        n = state.n_atoms.clamp_min(1).to(torch.float32)
        return expand(self.config.deviation_scale * n**self.config.deviation_power)

    def level(self, t: Tensor, state: State) -> Tensor:
        """Noise s (B, 1, 1) in angstrom at clocks (B,); exactly 0 at clock 0."""
        relative = log_linear(t, self.config.smallest, self.config.largest)
        return expand(relative) * self.deviation(state)

    def preconditioning(self, state: State, clocks: Clocks) -> Preconditioning:
        """c_in (one scalar a structure), c_skip and c_out (an atom; 1 and 0 where given) of Karras et al., table 1."""
        deviation = self.deviation(state)
        s = self.level(clocks.time("positions", state), state)
        total = s**2 + deviation**2
        given = clocks.is_given("positions", state).unsqueeze(-1)
        skip = torch.where(given, 1.0, deviation**2 / total)
        out = torch.where(given, 0.0, s * deviation / total.sqrt())
        return Preconditioning(scale=total.rsqrt(), skip=skip, out=out)

    def clean(self, displacement: Tensor, state: State, clocks: Clocks, preconditioning: Preconditioning) -> Tensor:
        """Clean positions (B, N, 3) from a raw displacement; centred where nothing is given, exact where given."""
        x, given = state.field("positions"), clocks.is_given("positions", state)
        guess = preconditioning.skip * x + preconditioning.out * displacement.to(x.dtype)
        alone = expand(~given.any(1))
        guess = guess - torch.where(alone, centroid(guess, state.mask), 0.0)
        keep = (given | ~state.mask).unsqueeze(-1)
        return torch.where(keep, x, guess)

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """Pure noise of the largest level; given atoms keep their place."""
        given = clocks.is_given("positions", state)
        x = state.field("positions")
        s = self.level(torch.ones(len(state), device=x.device), state)
        return torch.where(given.unsqueeze(-1), x, s * noise(state, given, generator=generator))

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Positions with the noise between two clocks added."""
        s_from, s_to = self.level(t_from, state), self.level(t_to, state)
        amount = (s_to**2 - s_from**2).clamp_min(0).sqrt()
        x, given = state.field("positions"), clocks.is_given("positions", state)
        noised = x + amount * noise(state, given, generator=generator)
        # adding 0 would turn the -0.0 of a given atom into 0.0
        return torch.where((given | ~state.mask).unsqueeze(-1), x, noised)

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """Squared error over 1 / c_out^2, so that every noise level weighs alike; (B,)."""
        if prediction.positions is None:
            raise ValueError("the prediction has no positions: this denoiser cannot be trained on them")
        out = self.preconditioning(noisy, clocks).out
        free = (noisy.mask & ~clocks.is_given("positions", noisy)).unsqueeze(-1).expand_as(noisy.field("positions"))
        free = free & (out > 0)
        error = (prediction.positions - truth.field("positions")) / torch.where(out > 0, out, 1.0)
        return mean_where(error.float() ** 2, free)

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
        """One Euler step of the probability-flow equation: x <- clean + (s_to / s_from) (x - clean)."""
        if prediction.positions is None:
            raise ValueError("the prediction has no positions: this denoiser cannot step them")
        x, clean = state.field("positions"), prediction.positions
        s_from, s_to = self.level(t_from, state), self.level(t_to, state)
        ratio = torch.where(s_from > 0, s_to / torch.where(s_from > 0, s_from, 1.0), 1.0)
        keep = (clocks.is_given("positions", state) | ~state.mask).unsqueeze(-1)
        return torch.where(keep, x, clean + ratio * (x - clean))

    def variable(self, t: Tensor, state: State) -> Tensor:
        """ln s, in which clean guesses are taken as linear; (B, 1, 1)."""
        return torch.log(self.level(t, state))
