"""Constraints hold in every sample, and the draws have the conditional distribution they should have."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.guidance.constraints import (
    Automaton,
    Constrained,
    Constraints,
    draw_satisfying,
    exact_counts,
    exact_sum,
    least_counts,
)
from moldiff.state import BOND_SYMBOLS, Alphabet, State

ALPHABETS = {
    "elements": Alphabet(("H", "C", "N", "O")),
    "charges": Alphabet(("-1", "0", "1")),
    "bonds": Alphabet(BOND_SYMBOLS),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blank(sizes: list[int]) -> State:
    b, n = len(sizes), max(sizes)
    mask = torch.arange(n)[None] < torch.tensor(sizes)[:, None]
    zero = torch.zeros(b, n, dtype=torch.long)
    return State(
        mask=mask,
        positions=torch.zeros(b, n, 3),
        elements=zero,
        charges=zero,
        bonds=torch.zeros(b, n, n, dtype=torch.long),
    )


class Untrained:
    """Random logits at every call, some of them -inf, far from any constraint."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = seeded(seed)
        self.previous: list[Prediction | None] = []

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        self.previous.append(previous)
        b, n = state.mask.shape

        def logits(*shape: int) -> Tensor:
            return 4 * torch.randn(shape, generator=self.generator)

        elements = logits(b, n, 4)
        elements[..., 2] = -math.inf  # it believes in no nitrogen at all
        pairs = logits(b, n, n, 5)
        return Prediction(
            positions=state.field("positions") * 0.5,
            elements=elements,
            charges=logits(b, n, 3),
            bonds=pairs + pairs.transpose(1, 2),
        )


def run(constraints: Constraints, sizes: list[int], *, seed: int = 0, remask: float = 25.0, steps: int = 12) -> State:
    config = SamplerConfig(steps=steps, remask=remask)
    noise = seeded(seed)
    model = Constrained(Untrained(seed), constraints, generator=noise)
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    return sample(model, process, state=blank(sizes), generator=noise, config=config, callback=model.restore)


def counts_of(state: State, name: str) -> Tensor:
    k = len(ALPHABETS[name])
    onehot = torch.nn.functional.one_hot(state.field(name), k)
    return (onehot * state.mask[..., None]).sum(1)


SIZES = [3, 9, 5, 12] * 250


@pytest.mark.parametrize("remask", [0.0, 25.0])
def test_a_thousand_samples_hold_everything_at_once(remask: float) -> None:
    constraints = Constraints(
        allowed={"elements": torch.tensor([True, True, True, False])},
        coupled={
            "elements": least_counts([0, 0, 2, 0]),
            "charges": exact_sum([-1, 0, 1], 1, entries=12),
        },
    )
    done = run(constraints, SIZES, remask=remask)
    counts = counts_of(done, "elements")
    assert (counts[:, 3] == 0).all() and (counts[:, 2] >= 2).all()
    charge = ((done.field("charges") - 1) * done.mask).sum(1)
    assert (charge == 1).all()
    # and yet not all alike
    assert len(counts.unique(dim=0)) > 20


def test_a_thousand_samples_have_the_formula() -> None:
    done = run(Constraints(coupled={"elements": exact_counts([4, 3, 1, 1])}), [9] * 1000)
    assert (counts_of(done, "elements") == torch.tensor([4, 3, 1, 1])).all()
    assert len(done.field("elements").unique(dim=0)) > 500


def test_draws_have_the_conditional_distribution() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    automaton = exact_sum([-1, 0, 1], 0, entries=3)
    b = 20_000
    drawn, possible = draw_satisfying(
        p.log().expand(b, 3, 3), torch.ones(b, 3, dtype=torch.bool), automaton, generator=seeded()
    )
    assert bool(possible.all())
    exact = {
        s: math.prod(float(p[i, k]) for i, k in enumerate(s))
        for s in itertools.product(range(3), repeat=3)
        if sum(s) == 3
    }
    total = sum(exact.values())
    found = {s: int((drawn == torch.tensor(s)).all(1).sum()) / b for s in exact}
    assert sum(found.values()) == 1.0
    for s, value in exact.items():
        # a deviation is at most sqrt(0.25 / 20000) = 0.0035
        assert abs(found[s] - value / total) < 0.015


def test_known_symbols_count_and_padding_does_not() -> None:
    # the first atom is known to be nitrogen; the second structure has one atom only
    log_p = torch.full((2, 3, 4), math.log(0.25))
    log_p[:, 0] = torch.tensor([-math.inf, -math.inf, 0.0, -math.inf])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    drawn, possible = draw_satisfying(log_p, mask, exact_counts([1, 1, 1, 0]), generator=seeded())
    assert possible.tolist() == [True, False]
    assert drawn[0, 0] == 2 and sorted(drawn[0].tolist()) == [0, 1, 2]
    drawn, possible = draw_satisfying(log_p, mask, least_counts([0, 0, 1, 0]), generator=seeded())
    assert possible.tolist() == [True, True] and drawn[1].tolist() == [2, 0, 0]


def test_the_network_is_told_its_own_soft_guess() -> None:
    toy = Untrained()
    config = SamplerConfig(steps=3)
    model = Constrained(toy, Constraints(coupled={"charges": exact_sum([-1, 0, 1], 0, entries=4)}), generator=seeded())
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    sample(model, process, state=blank([4]), generator=seeded(), config=config, callback=model.restore)
    assert toy.previous[0] is None
    for guess in toy.previous[1:]:
        assert guess is not None and guess.charges is not None
        assert guess.charges.isfinite().all()


def test_what_cannot_be_met_is_an_error_in_words() -> None:
    with pytest.raises(ValueError, match="constraint on elements cannot be met by 1 of 2 structures"):
        run(Constraints(coupled={"elements": least_counts([0, 0, 0, 3])}), [2, 4])
    with pytest.raises(ValueError, match="combinations"):
        exact_counts([40, 40, 40])


def test_given_symbols_stay_whatever_is_allowed() -> None:
    start = blank([3])
    given = {"elements": torch.tensor([[True, False, False]])}
    start = start.replace(elements=torch.tensor([[3, 0, 0]]))
    constraints = Constraints(allowed={"elements": torch.tensor([True, True, False, False])})
    config = SamplerConfig(steps=8)
    model = Constrained(Untrained(), constraints, generator=seeded())
    process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=config)
    done = sample(model, process, state=start, generator=seeded(), config=config, given=given, callback=model.restore)
    assert done.field("elements")[0, 0] == 3 and (done.field("elements")[0, 1:] < 2).all()


def test_a_sum_of_one_sign_is_no_trap() -> None:
    automaton = exact_sum([0, 1], 2, entries=3)
    assert isinstance(automaton, Automaton)
    drawn, possible = draw_satisfying(
        torch.zeros(50, 3, 2).log_softmax(-1), torch.ones(50, 3, dtype=torch.bool), automaton, generator=seeded()
    )
    assert bool(possible.all()) and (drawn.sum(1) == 2).all()
