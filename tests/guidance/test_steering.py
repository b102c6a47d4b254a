"""Steering a distribution that is known: the result must be p exp(strength reward), normalised."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Step, sample
from moldiff.guidance.steering import Steering, systematic
from moldiff.state import BOND_SYMBOLS, Alphabet, State

ALPHABETS = {"elements": Alphabet(("a", "b", "c")), "charges": Alphabet(("0",)), "bonds": Alphabet(BOND_SYMBOLS)}
SHARES = torch.tensor([0.6, 0.3, 0.1])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(
    state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
) -> Prediction:
    """Two independent atoms with known shares: exact, whatever is shown."""
    b, n = state.mask.shape
    return Prediction(
        positions=torch.zeros(b, n, 3),
        elements=SHARES.log().expand(b, n, 3),
        charges=torch.zeros(b, n, 1),
        bonds=torch.zeros(b, n, n, 5),
    )


def blank(b: int) -> State:
    zero = torch.zeros(b, 2, dtype=torch.long)
    return State(
        mask=torch.ones(b, 2, dtype=torch.bool),
        positions=torch.zeros(b, 2, 3),
        elements=zero,
        charges=zero,
        bonds=torch.zeros(b, 2, 2, dtype=torch.long),
    )


def total(state: State) -> Tensor:
    """The sum of the symbols: 0 to 4."""
    return state.field("elements").sum(1).float()


def steered(groups: int, particles: int, strength: float, reward: object = total, seed: int = 0) -> tuple[State, int]:
    config = SamplerConfig(steps=20, remask=5.0)
    steering = Steering(reward, particles=particles, strength=strength, generator=seeded(seed + 1))  # type: ignore[arg-type]
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    done = sample(
        chain, process, state=blank(groups * particles), generator=seeded(seed), config=config, callback=steering
    )
    return done.index(steering.choose()), steering.resamplings


def test_the_samples_follow_the_tilted_distribution() -> None:
    strength, groups = 0.7, 600
    done, resamplings = steered(groups, 48, strength)
    assert resamplings > groups / 10
    tilted = SHARES * torch.exp(strength * torch.arange(3))
    tilted = tilted / tilted.sum()
    found = torch.bincount(done.field("elements").flatten(), minlength=3) / (2 * groups)
    # a deviation is sqrt(0.25 / 1200) = 0.014; 48 particles leave a bias of about 1 %
    assert (found - tilted).abs().max() < 0.045
    assert (tilted - SHARES).abs().max() > 0.2


def test_no_strength_changes_nothing() -> None:
    done, resamplings = steered(2000, 2, 0.0)
    found = torch.bincount(done.field("elements").flatten(), minlength=3) / 4000
    assert resamplings == 0
    assert (found - SHARES).abs().max() < 0.03


def test_unknown_rewards_keep_the_old_ones_and_lose_at_the_end() -> None:
    def half(state: State) -> Tensor:
        values = total(state)
        return torch.where(state.field("elements")[:, 0] == 0, math.nan, values)

    done, _ = steered(400, 8, 1.0, half)
    # 1 - 0.6^8 of the groups have a particle with a reward
    assert int((done.field("elements")[:, 0] == 0).sum()) < 400 * 0.6**8 * 3
    nothing, _ = steered(50, 4, 1.0, lambda state: torch.full((len(state),), math.nan))
    assert len(nothing) == 50


def test_structures_that_are_not_sound_are_kept_only_where_there_is_no_other() -> None:
    def sound(state: State) -> Tensor:
        return state.field("elements")[:, 0] == 2

    config, groups = SamplerConfig(steps=20, remask=5.0), 400
    steering = Steering(total, particles=8, strength=0.0, generator=seeded(1), sound=sound)
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    done = sample(chain, process, state=blank(groups * 8), generator=seeded(), config=config, callback=steering)
    expected = groups * (1 - 0.9**8)  # groups with a sound particle
    found = int(sound(done.index(steering.choose())).sum())
    assert found == int(sound(done).view(groups, 8).any(1).sum())
    assert abs(found - expected) < 4 * (expected * 0.9**8) ** 0.5


def test_self_conditioning_and_clocks_travel_with_the_particle() -> None:
    steering = Steering(
        lambda s: s.field("elements")[:, 0].float() * 50, particles=2, strength=1.0, generator=seeded(), every=1
    )
    state = blank(4).replace(elements=torch.tensor([[0, 0], [2, 0], [0, 0], [0, 0]]))
    clocks = Clocks.shared(state, torch.full((4,), 0.5))
    prediction = Prediction(positions=torch.arange(4.0)[:, None, None].expand(4, 2, 3))
    # the first look gives the particles of a group their rewards before, from which gains are counted
    level = state.replace(elements=torch.zeros(4, 2, dtype=torch.long))
    assert steering(Step(0, 9, level, clocks, prediction)) is None
    after = steering(Step(1, 9, state, clocks, prediction))
    assert after is not None
    assert after.state.field("elements")[:, 0].tolist() == [2, 2, 0, 0]
    assert after.prediction.positions is not None
    assert after.prediction.positions[:, 0, 0].tolist() == [1.0, 1.0, 2.0, 3.0]


def test_nothing_is_asked_outside_the_window() -> None:
    calls: list[int] = []

    def reward(state: State) -> Tensor:
        calls.append(len(state))
        return total(state)

    steering = Steering(reward, particles=2, strength=1.0, generator=seeded(), every=1)
    state = blank(2)
    for t in (0.9, 0.61, 0.29, 0.1):
        assert steering(Step(3, 9, state, Clocks.shared(state, t), Prediction())) is None
    assert calls == []
    with pytest.raises(ValueError, match="nothing was steered"):
        steering.choose()


def test_systematic_resampling_is_within_one_of_the_weights() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    rows = systematic(weights, seeded())
    assert rows[0].tolist() == [0, 0, 1, 2] and rows[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("wrong", [{"particles": 1}, {"strength": math.nan}, {"every": 0}])
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    settings = {"particles": 4, "strength": 1.0} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Steering(total, generator=seeded(), **settings)  # type: ignore[arg-type]
