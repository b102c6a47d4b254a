"""What molecules and crystals are steered towards alike, on States without chemistry."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from moldiff.config import ModelConfig, PropertyConfig
from moldiff.denoiser import Condition
from moldiff.diffusion.sampler import Step
from moldiff.generator.goal import Goal, chain
from moldiff.generator.rewards import Rewards
from moldiff.networks.weights import alphabets
from moldiff.state import State

from .conftest import config


def settings() -> ModelConfig:
    known = (PropertyConfig("gap", "eV", 5.0, 2.0, 0.0, 20.0), PropertyConfig("group", "", 0.0, 1.0, 1, 5, classes=5))
    return dataclasses.replace(config(), properties=known)


def goal(**wishes: Any) -> Goal:
    model = settings()
    known = alphabets(model)
    return Goal(model, wishes, rewards=lambda reward: Rewards(reward, config=model, alphabets=known))


def ones(mols: list[Any]) -> list[float]:
    return [1.0] * len(mols)


def test_without_wishes_everything_stays_as_it_is() -> None:
    plain, state = goal(), State(mask=torch.ones(2, 3, dtype=torch.bool))
    assert (plain.evaluations, plain.notes("")) == (1, ())
    copied, masks = plain.copies(state, {"elements": state.mask})
    assert copied is state and masks["elements"] is state.mask

    def denoiser(*_: Any) -> Any:
        raise AssertionError("it was called")

    assert plain.guide(denoiser, state) == (denoiser, None)


def test_a_structure_has_its_particles_next_to_one_another() -> None:
    steered = goal(target={"gap": 4.0}, guidance=2.0, reward=ones, particles=3, strength=0.5)
    state = State(mask=torch.tensor([[True, True], [True, False]]))
    copied, masks = steered.copies(state, {"elements": state.mask})
    assert copied.mask[:, 1].tolist() == [True] * 3 + [False] * 3
    assert torch.equal(masks["elements"], copied.mask)
    own = Condition(torch.tensor([[4.0, 0.0], [6.0, 0.0]]), torch.tensor([[True, False]] * 2))
    for asked, values in ((None, [4.0] * 6), (own, [4.0] * 3 + [6.0] * 3)):
        _, condition = steered.guide(lambda *_: None, copied, asked)  # type: ignore[arg-type,return-value]
        assert condition is not None and condition.values[:, 0].tolist() == values
    assert steered.evaluations == 6
    assert steered.notes("formula CH4", more=", and so on") == (
        "target: gap 4 eV; guidance 2, and so on",
        "constraints: formula CH4",
        "reward ones; 3 particles, strength 0.5",
    )


def test_closeness_to_the_target_is_a_reward() -> None:
    steered = goal(target={"gap": 4.0}, reward="target", particles=3)
    copied, _ = steered.copies(State(mask=torch.ones(2, 2, dtype=torch.bool)), {})
    assert len(copied) == 6 and steered.evaluations == 3
    assert steered.notes("") == ("target: gap 4 eV; guidance 1", "reward target; 3 particles, strength 1")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"target": {"beauty": 1.0}}, "unknown property 'beauty'"),
        ({"guidance": float("nan")}, "guidance must be a finite number"),
        ({"reward": ones, "particles": 1}, "at least 2 particles"),
        ({"reward": ones, "strength": float("inf")}, "strength must be a finite number"),
        ({"reward": "target"}, "say target, or choose another reward"),
        ({"reward": "target", "target": {"group": 3}}, "group is a class"),
        ({"reward": "target", "target": {"gap": 3.0}, "particles": 1}, "at least 2 particles"),
    ],
)
def test_senseless_wishes_are_refused_at_once(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        goal(**wishes)


def test_callbacks_see_what_those_before_made() -> None:
    seen: list[int] = []

    def advance(step: Step) -> Step:
        return step._replace(number=step.number + 1)

    def look(step: Step) -> None:
        seen.append(step.number)

    state: Any = None
    step = Step(*([state] * len(Step._fields)))._replace(number=0)
    assert chain([look, advance, look, advance])(step).number == 2
    assert seen == [0, 1]
