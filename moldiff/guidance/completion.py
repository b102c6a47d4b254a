"""How many hydrogens and how many heavy atoms a completion adds: a constraint by wrapping the denoiser.

Completion itself needs no guidance: the network is trained with single atoms given (`moldiff.diffusion.tasks`). What is
not given is the split of the new atoms into hydrogens and others.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.process import uniform
from moldiff.state import State


def count_within(
    denoiser: Denoiser, *, symbol: int, low: Tensor, high: Tensor, free: Tensor, generator: torch.Generator
) -> Denoiser:
    """Wrap a denoiser so that `low` to `high` of the free atoms get one element, whatever is hidden and shown again.

    Each free atom that is still hidden is drawn as the element or as another by its own probability; where the draws
    leave the bounds, those nearest to tipping over are turned. The logits then allow nothing else, so no sampler step
    can break the bounds.

    Args:
        denoiser: what to wrap.
        symbol: index of the element in its alphabet.
        low, high: (B,) how many of the free atoms have it; equal for an exact count.
        free: (B, N) bool, the atoms to divide; their elements are not given.
        generator: random numbers of the draws.

    Raises:
        ValueError: for bounds below 0, above the free atoms of a structure, or in the wrong order.
    """
    room = free.sum(1)
    if bool((low < 0).any()) or bool((high > room).any()) or bool((low > high).any()):
        raise ValueError(
            f"{low.tolist()} to {high.tolist()} atoms wanted among {room.tolist()} free ones: choose 0 to that many"
        )

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        prediction = denoiser(state, clocks, condition, previous)
        if prediction.elements is None:
            raise ValueError("the prediction has no elements: they cannot be counted")
        logits = prediction.elements.float()
        elements = state.field("elements")
        hidden = free & (elements == logits.shape[-1])
        shown = (free & (elements == symbol)).sum(1)
        others = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device)
        others[symbol] = False
        odds = logits[..., symbol] - logits[..., others].logsumexp(-1)
        # odds plus logistic noise above 0 is a draw; the largest ones are the draws shifted to a number within bounds
        u = uniform(odds.shape, generator, odds.device).clamp(1e-6, 1 - 1e-6)
        score = (odds + u.logit()).masked_fill(~hidden, -torch.inf)
        wanted = torch.minimum(torch.maximum((score > 0).sum(1), low - shown), high - shown)
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = hidden & (rank < wanted[:, None])
        barred = torch.where(others, chosen.unsqueeze(-1), (hidden & ~chosen).unsqueeze(-1))
        return dataclasses.replace(prediction, elements=logits.masked_fill(barred, -torch.inf))

    return denoise
