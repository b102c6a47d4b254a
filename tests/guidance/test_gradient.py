"""Gaussian data with properties known in closed form: the sample must follow the tilted posterior."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moldiff.config import GaussianConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.guidance.classifier_free import classifier_free
from moldiff.guidance.gradient import by_gradient, shift
from moldiff.state import State

WIDTH = 0.8
#: s_data is the width of the data, as it should be.
NOISE = GaussianConfig(smallest=0.01, largest=100.0, deviation_scale=WIDTH, deviation_power=0.0)
GAUSSIAN = GaussianProcess(NOISE)
#: A linear property of unit variance: the sum of a . x over the free atom, |a| WIDTH = 1.
DIRECTION = torch.tensor([2.0, -1.0, 2.0]) / (3 * WIDTH)


def level(state: State, clocks: Clocks) -> Tensor:
    return GAUSSIAN.level(clocks.time("positions", state), state)


class Linear:
    """A given atom at the origin and a free one from N(0, WIDTH^2), whose property is linear."""

    def __init__(self, told: float = 0.0) -> None:
        self.calls, self.told = 0, told

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        self.calls += 1
        x, s = state.field("positions"), level(state, clocks)
        clean = WIDTH**2 / (WIDTH**2 + s**2) * x
        clean = torch.cat([x[:, :1], clean[:, 1:]], 1)
        properties = (clean[:, 1] @ DIRECTION)[:, None]
        if condition is not None:
            # told the target, it would repeat it
            properties = condition.values
            clean = clean + self.told
        return Prediction(positions=clean, properties=properties)


def quadratic(
    state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
) -> Prediction:
    """The same atoms; the property is the expected squared length of the free one."""
    x, s = state.field("positions"), level(state, clocks)
    share = WIDTH**2 / (WIDTH**2 + s**2)
    clean = torch.cat([x[:, :1], share * x[:, 1:]], 1)
    return Prediction(
        positions=clean, properties=(clean[:, 1] ** 2).sum(-1, keepdim=True) + 3 * share[:, 0] * s[:, 0] ** 2
    )


def batch(b: int, seed: int = 0) -> tuple[State, dict[str, Tensor]]:
    positions = torch.zeros(b, 2, 3)
    positions[:, 1] = torch.randn((b, 3), generator=torch.Generator().manual_seed(seed)) * 2
    given = torch.zeros(b, 2, dtype=torch.bool)
    given[:, 0] = True
    return State(mask=torch.ones(b, 2, dtype=torch.bool), positions=positions), {"positions": given}


ASKED = {"target": torch.tensor([1.5]), "shown": torch.tensor([True])}


@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_samples_follow_the_tilted_posterior(scale: float) -> None:
    """N(0, 1) times exp(-scale / 2 (z - y)^2) is N(y scale / (1 + scale), 1 / (1 + scale)); other directions free."""
    b = 3000
    state, given = batch(b)
    done = sample(
        by_gradient(Linear(), GAUSSIAN, scale=scale, limit=math.inf, **ASKED),
        JointProcess([GAUSSIAN]),
        state=state,
        generator=torch.Generator().manual_seed(1),
        config=SamplerConfig(steps=80, churn=0.0),
        given=given,
    ).field("positions")
    z = done[:, 1] @ DIRECTION
    # the standard error is at most 1 / sqrt(3000) = 0.02; 80 Euler steps add a little
    assert abs(float(z.mean()) - 1.5 * scale / (1 + scale)) < 0.06
    assert abs(float(z.std()) - (1 + scale) ** -0.5) < 0.05
    across = done[:, 1] @ torch.tensor([1.0, 0.0, -1.0]) / 2**0.5
    assert abs(float(across.mean())) < 0.05 and abs(float(across.std()) - WIDTH) < 0.05
    assert torch.equal(done[:, 0], torch.zeros(b, 3))


@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_the_shift_of_a_quadratic_property_has_the_closed_form(t: float) -> None:
    state, given = batch(50)
    clocks = Clocks.shared(state, t, given=given)
    found = by_gradient(quadratic, GAUSSIAN, scale=2.0, limit=math.inf, **ASKED)(state, clocks)
    plain = quadratic(state, clocks)
    x, s = state.field("positions")[:, 1], level(state, clocks)[:, 0]
    share = WIDTH**2 / (WIDTH**2 + s**2)
    assert plain.positions is not None and plain.properties is not None and found.positions is not None
    slope = (plain.properties - 1.5) * 2 * share**2 * x
    expected = plain.positions[:, 1] - s**2 * 2.0 / (1 + 2.0 * (1 - share)) * slope
    torch.testing.assert_close(found.positions[:, 1], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.positions[:, 0], plain.positions[:, 0])
    assert not found.positions.requires_grad


def test_only_what_is_asked_counts() -> None:
    state, given = batch(4)
    clocks = Clocks.shared(state, 0.5, given=given)
    nothing = by_gradient(Linear(), GAUSSIAN, target=torch.tensor([9.0]), shown=torch.tensor([False]), scale=5.0)
    assert torch.equal(nothing(state, clocks).positions, Linear()(state, clocks).positions)  # type: ignore[arg-type]


def test_a_denoiser_told_the_target_is_judged_by_the_plain_one() -> None:
    state, given = batch(6)
    clocks = Clocks.shared(state, 0.5, given=given)
    condition = Condition(torch.full((6, 1), 1.5), torch.ones(6, 1, dtype=torch.bool))
    plain, told = Linear(told=0.1), classifier_free(Linear(told=0.1), 1.0)
    alone = by_gradient(plain, GAUSSIAN, scale=3.0, **ASKED)(state, clocks)
    both = by_gradient(told, GAUSSIAN, scale=3.0, head=plain, **ASKED)(state, clocks, condition)
    assert alone.positions is not None and both.positions is not None
    torch.testing.assert_close(both.positions, alone.positions + 0.1)
    # by extrapolation the untold branch is at hand, and costs nothing more
    inner = Linear(told=0.1)
    mixed = by_gradient(classifier_free(inner, 2.0), GAUSSIAN, scale=3.0, **ASKED)(state, clocks, condition)
    assert mixed.positions is not None and inner.calls == 2
    torch.testing.assert_close(mixed.positions, alone.positions + 0.2)


def test_the_move_is_bounded_and_leaves_given_atoms_and_padding() -> None:
    state, given = batch(2)
    state = state.replace(mask=torch.tensor([[True, True], [True, False]]))
    clocks = Clocks.shared(state, 0.5, given=given)
    slope = torch.full((2, 2, 3), 1e9)
    slope[1, 1] = math.nan
    move = shift(slope, 1.0, GAUSSIAN, state, clocks, limit=2.0)
    s = level(state, clocks)[0, 0, 0]
    longest = 2.0 * s * WIDTH / (s**2 + WIDTH**2).sqrt()
    torch.testing.assert_close(move[0].norm(), longest)
    assert bool((move[0, 0] == 0).all()) and bool((move[1] == 0).all())
    # at clock 0 there is nothing left to move
    assert bool((shift(slope, 1.0, GAUSSIAN, state, Clocks({}), limit=2.0) < 0.1).all())


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
def test_a_senseless_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="gradient must be"):
        by_gradient(Linear(), GAUSSIAN, scale=scale, **ASKED)


def test_a_head_is_needed() -> None:
    state, _ = batch(2)
    guided = by_gradient(lambda s, *_: Prediction(positions=s.positions), GAUSSIAN, scale=1.0, **ASKED)
    with pytest.raises(ValueError, match="predicts no properties"):
        guided(state, Clocks.shared(state, 0.5))
