"""From clocks to noise levels, and the grids of times on which a sampler walks. t = 0 is data, t = 1 is noise."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def log_linear(t: Tensor, smallest: float, largest: float) -> Tensor:
    """Noise level s with ln s linear in the clock: s(0) = smallest, s(1) = largest; exactly 0 where t is 0.

    Clock 0 means data, so the level jumps from `smallest` to 0 there; samplers step onto 0 and never start from it.
    """
    level = smallest * torch.exp(t * math.log(largest / smallest))
    return torch.where(t > 0, level, torch.zeros_like(level))


def log_linear_clock(level: Tensor, smallest: float, largest: float) -> Tensor:
    """The clock at which `log_linear` has a level > 0, clamped to [0, 1]."""
    return (torch.log(level / smallest) / math.log(largest / smallest)).clamp(0, 1)


def hidden_share(t: Tensor, begin: float, end: float) -> Tensor:
    """Probability that a symbol is hidden at clock t: clamp((t - begin) / (end - begin), 0, 1)."""
    return ((t - begin) / (end - begin)).clamp(0, 1)


def time_grid(steps: int, density: float = 2.0, last: float = 0.0) -> Tensor:
    """The ``steps + 1`` times from 1 down to 0 on which a sampler walks, float64.

    w(u) = (1 - rho) u + rho (2 / pi) asin(sqrt(u)) at equally spaced u; rho = `density` is 0 for a uniform grid, and 2
    puts about four times as many steps in the middle of the clock, where geometry and symbols are decided. With `last`
    above 0 the walk with the same shape ends there, and the last step goes to 0 from it.

    Raises:
        ValueError: for fewer than one step, a density outside [0, 2.75), where the grid would turn back, or a last
            clock outside [0, 1).
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if not 0 <= density < 1 / (1 - 2 / math.pi):
        raise ValueError(f"density must be in [0, 2.75), not {density}: 2 is the default")
    if not 0 <= last < 1:
        raise ValueError(f"last must be in [0, 1), not {last}: the clock from which the last step goes to 0")

    u = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    if last > 0:
        u[:-1] = torch.linspace(1, _end(last, density), steps, dtype=torch.float64)
    grid = _warp(u, density)
    grid[0], grid[-1] = 1.0, 0.0
    return grid


def _warp(u: Tensor, density: float) -> Tensor:
    return (1 - density) * u + density * (2 / math.pi) * torch.asin(torch.sqrt(u))


def _place(t: Tensor, density: float) -> Tensor:
    """The u at which the grid has a time, by bisection, since w grows with u; float64."""
    low, high = torch.zeros_like(t, dtype=torch.float64), torch.ones_like(t, dtype=torch.float64)
    for _ in range(60):
        middle = (low + high) / 2
        below = _warp(middle, density) < t
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


@functools.cache
def _end(last: float, density: float) -> float:
    """The place of `last`, found once: every batch and every step of a distillation asks for it."""
    return float(_place(torch.tensor(last, dtype=torch.float64), density))


def next_time(t: Tensor, steps: int, density: float = 2.0, last: float = 0.0) -> Tensor:
    """Where a step of a `time_grid` leads from any time, as from those of the grid; of the shape of `t`.

    Times nearer to `last` than half a step go to 0, as `last` does; the others no further than to `last`.
    """
    end = _end(last, density) if last > 0 else 0.0
    count = steps - 1 if last > 0 else steps
    if count < 1:
        return torch.zeros_like(t)
    u, stride = _place(t, density), (1 - end) / count
    after = _warp((u - stride).clamp_min(end), density)
    return torch.where(u < end + stride / 2, 0.0, after).to(t.dtype)


def multistep_weight(now: Tensor, later: Tensor, before: Tensor) -> Tensor:
    """Weight c of a second-order multistep rule: the mean guess over a step is D + c (D - D_before).

    With the guess linear in a variable lambda between evaluations, the Adams-Bashforth rule for the exponential
    integrator of Lu et al. (2022, DPM-Solver++ 2M) is c = h / (2 h_before), with h the step in lambda.

    Args:
        now, later, before: lambda where the step starts, where it ends and at the evaluation before, any one shape.

    Returns:
        c, at most 1; 0 where there is no step behind (noise was raised in between) or the step is unbounded.
    """
    ahead, behind = (later - now).abs(), (now - before) * torch.sign(later - now)
    usable = (behind > 1e-6) & torch.isfinite(ahead) & torch.isfinite(behind)
    return torch.where(usable, ahead / (2 * behind.clamp_min(1e-6)), 0.0).clamp_max(1.0)
