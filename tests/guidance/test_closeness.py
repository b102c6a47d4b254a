"""Closeness to a target as a reward, on a chain of symbols whose property and tilted distribution are known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.guidance.closeness import SHARPNESS, closeness
from moldiff.guidance.steering import Steering
from moldiff.state import State

from .test_steering import ALPHABETS, SHARES, blank, chain, seeded

SHOWN = torch.tensor([True, False])
#: Both atoms "a", one "b", ... have the property 0, UNIT, ...: so small that the tilt is gentle.
UNIT = 0.16


def head(
    state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
) -> Prediction:
    """The chain, whose first property is the sum of its symbols; a second one is never asked for."""
    assert condition is None
    total = UNIT * state.field("elements").clamp_max(2).sum(1).float()
    guess = chain(state, clocks, condition, previous)
    return dataclasses.replace(guess, properties=torch.stack([total, torch.full_like(total, math.nan)], 1))


def finished(*pairs: tuple[int, int]) -> State:
    return blank(len(pairs)).replace(elements=torch.tensor(pairs))


def test_the_reward_is_the_squared_deviation_of_what_is_shown() -> None:
    clocks: list[Clocks] = []

    def watched(state: State, at: Clocks, condition: Condition | None, previous: Prediction | None) -> Prediction:
        clocks.append(at)
        assert previous is None
        assert torch.equal(state.field("positions").mean(1), torch.zeros(len(state), 3))
        return head(state, at, condition, previous)

    reward = closeness(watched, target=torch.tensor([2 * UNIT, 7.0]), shown=SHOWN)
    off = finished((1, 1), (0, 1), (2, 2)).replace(positions=torch.ones(3, 2, 3))
    expected = -SHARPNESS / 2 * torch.tensor([0.0, UNIT**2, 4 * UNIT**2])
    assert torch.allclose(reward(off), expected)
    (at,) = clocks
    for name in off.present:  # a finished structure stands at clock 0, all of it given
        assert (at.time(name, off) == 0).all() and torch.equal(at.is_given(name, off), off.entries(name))


def test_each_structure_has_its_own_target() -> None:
    target = torch.tensor([[0.0, 0.0], [UNIT, 0.0]])
    reward = closeness(head, target=target, shown=SHOWN.expand(2, -1))
    assert reward(finished((0, 0), (0, 1))).tolist() == [0.0, 0.0]
    assert (reward(finished((0, 1), (0, 0))) < 0).all()


def test_particles_follow_the_distribution_tilted_to_the_target() -> None:
    groups, particles, config = 500, 48, SamplerConfig(steps=20, remask=5.0)
    reward = closeness(head, target=torch.tensor([3 * UNIT, 0.0]), shown=SHOWN)
    steering = Steering(reward, particles=particles, strength=1.0, generator=seeded(1))
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    state = blank(groups * particles)
    done = sample(head, process, state=state, generator=seeded(), config=config, callback=steering)
    found = torch.bincount(done.index(steering.choose()).field("elements").sum(1), minlength=5) / groups

    def law(strength: float) -> Tensor:
        pairs = SHARES[:, None] * SHARES
        sums = torch.arange(3)[:, None] + torch.arange(3)
        weights = pairs * torch.exp(-strength * SHARPNESS / 2 * (UNIT * (sums - 3.0)) ** 2)
        return torch.bincount(sums.flatten(), weights=weights.flatten()) / weights.sum()

    # a deviation is at most sqrt(0.25 / 500) = 0.022; 48 particles leave a bias of about 2 %
    assert (found - law(1.0)).abs().max() < 0.07
    assert (law(1.0) - law(0.0)).abs().max() > 0.2


def test_a_network_without_properties_cannot_judge() -> None:
    with pytest.raises(ValueError, match="predicts no properties"):
        closeness(chain, target=torch.zeros(2), shown=SHOWN)(finished((0, 0)))
