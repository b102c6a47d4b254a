"""Closeness to target properties as a reward: the property head judges the clean guesses of competing particles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Denoiser
from moldiff.state import State, centred

#: What the squared deviation from the target counts, half of it, deviations in units of the training set's: a structure
#: that is sqrt(2 / 20) = 0.32 deviations off has one unit of the reward less than one on target.
SHARPNESS = 20.0


@torch.no_grad()
def finished_properties(head: Denoiser, state: State) -> Tensor | None:
    """(B, P) standardised properties of finished structures as the head sees them; None from one without properties.

    One evaluation in which everything is given and nothing is told; the structures need not be centred.
    """
    if state.positions is not None:
        state = state.replace(positions=centred(state.positions, state.mask))
    clocks = Clocks.shared(state, 0.0, given={name: state.entries(name) for name in state.present})
    return head(state, clocks, None, None).properties


def closeness(head: Denoiser, *, target: Tensor, shown: Tensor) -> Callable[[State], Tensor]:
    """A reward of finished structures: minus half the squared deviation from the target, times `SHARPNESS`.

    Args:
        head: a denoiser that predicts properties; it is called without a condition on structures that are given whole.
        target: (B, P) or (P,) standardised properties; ignored where not shown.
        shown: bool of the same shape, which of them count.

    Returns:
        State (B structures) -> (B,) float, NaN where the head gives no finite number.

    Raises:
        ValueError: when called, for a denoiser without properties.
    """

    def reward(state: State) -> Tensor:
        found = finished_properties(head, state)
        if found is None:
            raise ValueError("this denoiser predicts no properties: train it with some, or choose another reward")
        off = torch.where(shown, found.float() - target, 0.0)
        return -SHARPNESS / 2 * (off**2).sum(-1)

    return reward
