from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.config import CategoricalConfig, SamplerConfig
from moldiff.diffusion.schedule import (
    hidden_share,
    log_linear,
    log_linear_clock,
    multistep_weight,
    next_time,
    time_grid,
)


@given(steps=st.integers(1, 300), density=st.floats(0, 2.7))
@settings(max_examples=60, deadline=None)
def test_grid_falls_from_one_to_zero(steps: int, density: float) -> None:
    grid = time_grid(steps, density)
    assert grid.shape == (steps + 1,) and grid.dtype == torch.float64
    assert grid[0] == 1 and grid[-1] == 0
    assert (grid.diff() < 0).all()
    assert torch.allclose(grid + grid.flip(0), torch.ones_like(grid), atol=1e-12)  # symmetric about the middle


def test_density_is_that_of_the_formula() -> None:
    assert torch.allclose(time_grid(10, 0.0), torch.linspace(1, 0, 11, dtype=torch.float64))
    u = torch.linspace(1, 0, 51, dtype=torch.float64)
    expected = -u + 2 * (2 / math.pi) * torch.asin(u.sqrt())
    assert torch.allclose(time_grid(50, 2.0), expected, atol=1e-12)
    middle = -time_grid(1000, 2.0).diff()[500] * 1000
    assert float(middle) == pytest.approx(4 / math.pi - 1, rel=1e-3)  # about four times as dense as a uniform grid


def test_bad_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        time_grid(0)
    for density in (-0.1, 2.76):
        with pytest.raises(ValueError, match=f"not {density}: 2 is the default"):
            time_grid(10, density)


def test_no_step_of_fifty_unmasks_more_than_seven_per_cent() -> None:
    window, grid = CategoricalConfig(), time_grid(50, SamplerConfig().density)
    share = hidden_share(grid, window.begin, window.end)
    assert share[0] == 1 and share[-1] == 0
    assert float(-share.diff().min()) < 0.07


@given(st.floats(0.001, 1.0))
def test_log_linear_and_its_inverse(t: float) -> None:
    time = torch.tensor(t, dtype=torch.float64)
    level = log_linear(time, 0.001, 80.0)
    assert float(log_linear_clock(level, 0.001, 80.0)) == pytest.approx(t, abs=1e-9)
    assert float(level) == pytest.approx(0.001 * (80.0 / 0.001) ** t, rel=1e-9)


def test_log_linear_ends() -> None:
    level = log_linear(torch.tensor([0.0, 1e-12, 1.0]), 0.001, 80.0)
    assert level[0] == 0  # data has no noise at all
    assert torch.allclose(level[1:], torch.tensor([0.001, 80.0]), rtol=1e-5)
    beyond = log_linear_clock(torch.tensor([1e-9, 1e9]), 0.001, 80.0)
    assert beyond.tolist() == [0.0, 1.0]


def test_hidden_share() -> None:
    share = hidden_share(torch.tensor([0.0, 0.25, 0.475, 0.7, 1.0]), 0.25, 0.7)
    assert torch.allclose(share, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))


def test_the_multistep_rule_is_exact_for_a_guess_that_is_linear() -> None:
    before, now, later = torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([0.5])
    weight = multistep_weight(now, later, before)
    assert float(weight) == pytest.approx(0.5 / (2 * 2.0))
    # D = 7 - 4 x: its mean between 1 and 0.5 is its value at 0.75
    assert float((7 - 4 * now) + weight * ((7 - 4 * now) - (7 - 4 * before))) == pytest.approx(7 - 4 * 0.75)


def test_the_multistep_rule_is_left_out_where_there_is_no_step_behind() -> None:
    inf = math.inf
    rows = torch.tensor([[1.0, 0.5, 1.0], [1.0, 0.5, 0.7], [1.0, -inf, 2.0], [-inf, -inf, -inf], [1.0, 0.5, inf]])
    assert multistep_weight(rows[:, 0], rows[:, 1], rows[:, 2]).tolist() == [0.0] * 5
    far = multistep_weight(torch.tensor([1.0]), torch.tensor([-9.0]), torch.tensor([1.1]))
    assert float(far) == 1.0  # bounded


def test_the_walk_ends_at_the_last_clock() -> None:
    for steps, last in ((50, 0.28), (2, 0.5), (7, 0.01)):
        grid = time_grid(steps, 2.0, last)
        assert len(grid) == steps + 1 and bool((grid.diff() < 0).all())
        assert float(grid[0]) == 1.0 and float(grid[-1]) == 0.0 and abs(float(grid[-2]) - last) < 1e-9
    assert torch.allclose(time_grid(2, 0.0, 0.5), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    assert torch.equal(time_grid(1, 2.0, 0.28), torch.tensor([1.0, 0.0], dtype=torch.float64))
    for last in (-0.1, 1.0):
        with pytest.raises(ValueError, match="last must be in"):
            time_grid(10, 2.0, last)


@pytest.mark.parametrize(
    ("steps", "density", "last"), [(19, 2.5, 0.28), (20, 2.0, 0.0), (7, 0.0, 0.1), (2, 2.5, 0.3), (1, 2.0, 0.3)]
)
def test_the_next_time_follows_the_grid(steps: int, density: float, last: float) -> None:
    grid = time_grid(steps, density, last)
    following = next_time(grid[:-1], steps, density, last)
    assert torch.allclose(following, grid[1:], atol=1e-6)
    assert following[-1] == 0
    assert torch.equal(next_time(grid[:-1].float(), steps, density, last).float().double() == 0, following == 0)


def test_the_next_time_of_any_time_lies_before_it() -> None:
    t = torch.linspace(0.001, 1, 500)
    following = next_time(t, 12, 2.5, 0.28)
    assert (following < t).all()
    ends = following == 0
    assert ends[t <= 0.28].all() and not ends[t > 0.4].any()
    assert (following[~ends] >= 0.28 - 1e-6).all()
    assert (following.diff() >= 0).all()
