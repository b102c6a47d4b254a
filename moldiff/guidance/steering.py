"""Steering by any reward: Feynman-Kac particles (Singhal et al. 2025) as a callback of the sampler.

Each structure asked for is a group of particles that share one trajectory budget. A particle's weight grows by
exp(strength (reward now - reward before)); the product telescopes, so that the particle kept at the end has the law
p(x) exp(strength reward(x)) in the limit of many particles, whatever is thought of the intermediates. A group whose
effective size falls under half of its particles is resampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from moldiff.diffusion.process import uniform
from moldiff.diffusion.sampler import Step
from moldiff.state import SYMBOL_FIELDS, State

Reward = Callable[[State], Tensor]
"""State without hidden symbols -> (B,) float; NaN where a structure cannot be judged."""
Sound = Callable[[State], Tensor]
"""Finished State -> (B,) bool: whether a structure is one that may be kept."""


@final
class Steering:
    """The callback. Rows of the batch are groups of `particles` neighbours.

    Resampling ends where the sampler becomes deterministic, since copies would stay alike from there; the self-
    conditioning travels with a particle, and the noise to come is its own.

    Args:
        reward: of the clean guess; NaN keeps the reward that the particle had.
        particles: K, particles a group.
        strength: lambda, per unit of the reward.
        generator: random numbers of the resampling.
        sound: finished structures -> (B,) bool; those that are not sound are kept only where a group has no other.
        begin, end: clocks between which the reward is asked for and groups are resampled.
        every: sampler steps between two such occasions.

    Raises:
        ValueError: for fewer than two particles or a strength that is not finite.
    """

    def __init__(
        self,
        reward: Reward,
        *,
        particles: int,
        strength: float,
        generator: torch.Generator,
        sound: Sound | None = None,
        begin: float = 0.6,
        end: float = 0.3,
        every: int = 3,
    ) -> None:
        if particles < 2:
            raise ValueError(f"steering needs at least 2 particles, not {particles}: 4 is the default")
        if not math.isfinite(strength):
            raise ValueError(f"strength must be a finite number, not {strength}")
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self.reward, self.particles, self.strength = reward, particles, strength
        self.generator, self.sound = generator, sound
        self.begin, self.end, self.every = begin, end, every
        self.resamplings = 0
        self._log: Tensor | None = None
        self._before: Tensor | None = None

    def __call__(self, step: Step) -> Step | None:
        """Weigh the particles, and resample the groups that need it."""
        last = step.number + 1 == step.steps
        t = max(float(time.max()) for time in step.clocks.times.values())
        if not last and (not self.end <= t <= self.begin or (step.number + 1) % self.every):
            return None
        guess = decode(step)
        rewards = self.reward(guess).to(torch.float64).cpu().view(-1, self.particles)
        log = self._weigh(rewards)
        if last:
            # a finished structure without a reward is chosen only where there is no other
            known = torch.isfinite(rewards)
            if self.sound is not None:
                sound = self.sound(guess).cpu().view(-1, self.particles)
                known = torch.where((known & sound).any(1, keepdim=True), known & sound, known)
            self._log = torch.where(known | ~known.any(1, keepdim=True), log, -math.inf)
            return None
        weights = log.softmax(1)
        # "at" half, since the effective size of two particles is never under one
        poor = 1 / (weights**2).sum(1) <= self.particles / 2 + 1e-9
        if not bool(poor.any()):
            self._log = log
            return None
        self.resamplings += int(poor.sum())
        chosen = torch.where(poor[:, None], systematic(weights, self.generator), torch.arange(self.particles))
        self._log = torch.where(poor[:, None], 0.0, log)
        if self._before is not None:
            self._before = self._before.gather(1, chosen)
        rows = (chosen + torch.arange(len(chosen))[:, None] * self.particles).flatten().to(step.state.device)
        return step._replace(
            state=step.state.index(rows), clocks=step.clocks.index(rows), prediction=step.prediction.index(rows)
        )

    def _weigh(self, rewards: Tensor) -> Tensor:
        """Log-weights (G, K) after rewards (G, K), NaN where unknown."""
        known = torch.isfinite(rewards)
        mean = torch.where(known, rewards, 0.0).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
        # a particle never judged yet counts as the mean of its group, so that it is neither favoured nor punished
        start = torch.where(known.any(1, keepdim=True), mean, math.nan).expand_as(rewards)
        before = start if self._before is None else torch.where(torch.isfinite(self._before), self._before, start)
        now = torch.where(known, rewards, before)
        log = torch.zeros_like(rewards) if self._log is None else self._log
        gain = torch.nan_to_num(now - before, nan=0.0)
        self._before = now
        return log + self.strength * gain

    def choose(self) -> Tensor:
        """One row a group (G,), drawn with the final weights; call it when the sampler is done.

        Raises:
            ValueError: if the sampler has not finished a batch under this callback.
        """
        if self._log is None:
            raise ValueError("nothing was steered yet: pass this object as the sampler's callback first")
        weights = self._log.softmax(1)
        u = uniform((len(weights), 1), self.generator, torch.device("cpu"))
        cumulative = weights.cumsum(1)
        chosen = (cumulative <= u.double() * cumulative[:, -1:]).sum(1).clamp_max(self.particles - 1)
        return chosen + torch.arange(len(weights)) * self.particles


def decode(step: Step) -> State:
    """The clean guess behind a step: its positions, shown symbols, and the likeliest ones for the hidden."""
    state, prediction = step.state, step.prediction
    if step.number + 1 == step.steps:
        return state
    changes: dict[str, Tensor] = {}
    for name in ("positions", "fractional", "cell"):
        guess = getattr(prediction, name)
        if guess is not None and getattr(state, name) is not None:
            changes[name] = guess.float()
    for name in SYMBOL_FIELDS:
        logits, symbols = getattr(prediction, name), getattr(state, name)
        if logits is not None and symbols is not None:
            best = torch.where(symbols >= logits.shape[-1], logits.argmax(-1), symbols)
            changes[name] = torch.where(state.entries(name), best, symbols)
    return state.replace(**changes)


def systematic(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Rows (G, K) of particles, each as often as its weight (G, K) says, to within one (systematic resampling)."""
    groups, k = weights.shape
    points = (torch.arange(k) + uniform((groups, 1), generator, weights.device)) / k
    cumulative = weights.cumsum(1)
    return torch.searchsorted(cumulative / cumulative[:, -1:], points.to(weights.dtype)).clamp_max(k - 1)
