"""Counts of one element among the free atoms: kept whatever the sampler does, free within their bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moldiff.config import CategoricalConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.guidance.completion import count_within
from moldiff.state import Alphabet, State

ELEMENTS = Alphabet(("H", "C", "N"))
COUNT, N = 3000, 6


def draw(low: Tensor, high: Tensor, free: Tensor, log_p: Tensor) -> Tensor:
    """Elements (COUNT, N) of atoms that are independent, each with the log-probabilities (3,)."""
    process = CategoricalProcess("elements", ELEMENTS, config=CategoricalConfig(0.1, 0.9), remask=20.0)
    state = State(mask=torch.ones((COUNT, N), dtype=torch.bool), elements=torch.zeros((COUNT, N), dtype=torch.long))

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        return Prediction(elements=log_p.expand(COUNT, N, 3))

    generator = torch.Generator().manual_seed(0)
    wrapped = count_within(denoise, symbol=0, low=low, high=high, free=free, generator=generator)
    config = SamplerConfig(steps=20)
    given = {"elements": ~free}
    done = sample(wrapped, JointProcess([process]), state=state, generator=generator, config=config, given=given)
    return done.field("elements")


def full(value: int) -> Tensor:
    return torch.full((COUNT,), value)


def test_an_exact_count_is_kept_and_the_others_keep_their_shares() -> None:
    free = torch.ones((COUNT, N), dtype=torch.bool)
    elements = draw(full(2), full(2), free, torch.log(torch.tensor([0.6, 0.3, 0.1])))
    assert ((elements == 0).sum(1) == 2).all()
    others = elements[elements != 0]
    assert float((others == 1).float().mean()) == pytest.approx(0.75, abs=0.02)
    # every atom is as likely to be one of the two
    assert torch.allclose((elements == 0).float().mean(0), torch.full((N,), 1 / 3), atol=0.035)


def test_bounds_hold_and_what_lies_within_them_is_left_alone() -> None:
    free = torch.ones((COUNT, N), dtype=torch.bool)
    free[:, 0] = False  # given, a hydrogen that does not count
    p = torch.log(torch.tensor([0.4, 0.5, 0.1]))
    within = (draw(full(1), full(3), free, p)[:, 1:] == 0).sum(1)
    assert within.min() == 1 and within.max() == 3
    loose = (draw(full(0), full(5), free, p)[:, 1:] == 0).sum(1).float()
    assert float(loose.mean()) == pytest.approx(5 * 0.4, abs=0.06)
    assert float(loose.var()) == pytest.approx(5 * 0.4 * 0.6, abs=0.1)


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (0, 7), (3, 2)])
def test_bounds_that_cannot_hold_are_refused(low: int, high: int) -> None:
    free = torch.ones((COUNT, N), dtype=torch.bool)
    with pytest.raises(ValueError, match="free ones"):
        draw(full(low), full(high), free, torch.zeros(3))
