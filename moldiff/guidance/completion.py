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


def exact_count(
    denoiser: Denoiser, *, symbol: int, count: Tensor, free: Tensor, generator: torch.Generator
) -> Denoiser:
    """Wrap a denoiser so that exactly `count` of the free atoms get one element, whatever is hidden and shown again.

    Each free atom that is still hidden is drawn as the element or as another by its own probability; where the draws
    miss the number wanted, those nearest to tipping over are turned. The logits then allow nothing else, so no sampler
    step can break the count.

    Args:
        denoiser: what to wrap.
        symbol: index of the element in its alphabet.
        count: (B,) how many of the free atoms have it.
        free: (B, N) bool, the atoms to divide; their elements are not given.
        generator: random numbers of the draws.

    Raises:
        ValueError: for a count below 0 or above the free atoms of a structure.
    """
    room = free.sum(1)
    if bool((count < 0).any()) or bool((count > room).any()):
        raise ValueError(f"{count.tolist()} atoms wanted among {room.tolist()} free ones: choose 0 to that many")

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        prediction = denoiser(state, clocks, condition, previous)
        if prediction.elements is None:
            raise ValueError("the prediction has no elements: they cannot be counted")
        logits = prediction.elements.float()
        elements = state.field("elements")
        hidden = free & (elements == logits.shape[-1])
        missing = count - (free & (elements == symbol)).sum(1)
        others = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device)
        others[symbol] = False
        odds = logits[..., symbol] - logits[..., others].logsumexp(-1)
        # odds plus logistic noise above 0 is a draw; the `missing` largest are the draws shifted to the right number
        u = uniform(odds.shape, generator, odds.device).clamp(1e-6, 1 - 1e-6)
        score = (odds + u.logit()).masked_fill(~hidden, -torch.inf)
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = hidden & (rank < missing[:, None])
        barred = torch.where(others, chosen.unsqueeze(-1), (hidden & ~chosen).unsqueeze(-1))
        return dataclasses.replace(prediction, elements=logits.masked_fill(barred, -torch.inf))

    return denoise
