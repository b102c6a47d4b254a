"""Exponential moving average of the weights, with a horizon that grows with the run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Average:
    """Average of a network's parameters over about the last `horizon` (a share) of the steps so far.

    Args:
        network: its parameters are averaged; buffers are not.
        horizon: share of the steps so far over which is averaged; 0.03 by default.
    """

    def __init__(self, network: nn.Module, *, horizon: float = 0.03) -> None:
        self.horizon = horizon
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in network.named_parameters()}

    def decay(self, step: int) -> float:
        """Weight of the old average at a step (counted from 1)."""
        return 1 - 1 / (1 + self.horizon * step)

    @torch.no_grad()
    def update(self, parameters: Iterable[tuple[str, Tensor]], step: int) -> None:
        """Take the parameters after a step into the average."""
        named = dict(parameters)
        values = list(self.values.values())
        torch._foreach_lerp_(values, [named[name].detach() for name in self.values], 1 - self.decay(step))

    @torch.no_grad()
    def swap(self, network: nn.Module) -> None:
        """Exchange the network's parameters and the average; call again to change back."""
        for name, parameter in network.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)
