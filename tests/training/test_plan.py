from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moldiff.training.plan import Plan


def test_the_phases_of_a_run() -> None:
    plan = Plan.of(1000)
    assert (plan.warmup, plan.decay_from, plan.shortened) == (50, 750, False)
    assert [plan.rate(step) for step in (0, 24, 49)] == [1 / 50, 0.5, 1.0]
    assert {plan.rate(step) for step in range(49, 751)} == {1.0}
    assert [plan.rate(step) for step in (875, 999, 1000, 2000)] == [0.5, 1 / 250, 0.0, 0.0]


def test_a_long_run_warms_up_for_500_steps() -> None:
    assert Plan.of(10**6).warmup == 500


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least one step, not {steps}"):
        Plan.of(steps)


@given(st.integers(1, 5000))
def test_every_step_has_a_positive_rate(steps: int) -> None:
    plan = Plan.of(steps)
    rates = [plan.rate(step) for step in range(steps)]
    assert min(rates) > 0
    assert max(rates) <= 1


def test_with_time_enough_the_plan_stays() -> None:
    plan = Plan.of(1000)
    assert plan.hurry(100, 900) is plan
    assert plan.hurry(100, 5000) is plan


def test_a_short_run_decays_later_while_it_can() -> None:
    # at step 100 another 500 fit: a quarter of 600 is 150, so the decay can wait
    plan = Plan.of(1000)
    assert plan.hurry(100, 500) is plan


def test_the_decay_starts_when_what_is_left_is_a_quarter() -> None:
    plan = Plan.of(1000).hurry(450, 150)
    assert plan == Plan(steps=600, warmup=50, decay_from=450, shortened=True)
    assert plan.rate(449) == 1.0
    assert plan.rate(525) == 0.5
    assert plan.rate(599) == 1 / 150


def test_a_started_decay_is_left_alone() -> None:
    plan = Plan.of(1000)
    assert plan.hurry(750, 3) is plan
    short = plan.hurry(450, 150)
    assert short.hurry(470, 10) is short


def test_without_any_time_left_one_step_remains() -> None:
    assert Plan.of(1000).hurry(400, 0).steps == 401


@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_a_hurried_plan_fits_the_time_and_is_never_longer(steps: int, step: int, affordable: int) -> None:
    plan = Plan.of(steps)
    if step >= steps:
        return
    hurried = plan.hurry(step, affordable)
    assert hurried.steps <= plan.steps
    assert hurried.rate(step) > 0
    if hurried is not plan:
        assert hurried.shortened
        assert hurried.steps == step + max(1, affordable)
