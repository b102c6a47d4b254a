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
    both,
    count_between,
    draw_satisfying,
    even_sum,
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


ODD = [1, 6, 7, 8]  # atomic numbers of the elements


def test_an_even_sum_has_the_distribution_of_the_even_draws() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    b = 20_000
    log_p, mask = p.log().expand(b, 3, 3), torch.ones(b, 3, dtype=torch.bool)
    for odd in (False, True):
        drawn, possible = draw_satisfying(log_p, mask, even_sum([1, 6, 7], odd=odd), generator=seeded())
        assert bool(possible.all())
        exact = {
            s: math.prod(float(p[i, k]) for i, k in enumerate(s))
            for s in itertools.product(range(3), repeat=3)
            if sum((1, 6, 7)[k] for k in s) % 2 == odd
        }
        total = sum(exact.values())
        found = {s: int((drawn == torch.tensor(s)).all(1).sum()) / b for s in exact}
        assert sum(found.values()) == 1.0
        for s, value in exact.items():
            assert abs(found[s] - value / total) < 0.015


@pytest.mark.parametrize("remask", [0.0, 25.0])
def test_counts_of_each_structure_lie_between_its_bounds(remask: float) -> None:
    low, high = torch.tensor([0, 2, 1, 5] * 250), torch.tensor([3, 2, 4, 9] * 250)
    done = run(Constraints(coupled={"elements": count_between(0, 4, low, high)}), SIZES, remask=remask)
    counts = counts_of(done, "elements")[:, 0]
    assert (counts >= low).all() and (counts <= high).all()
    assert set(counts[2::4].tolist()) == {1, 2, 3, 4}
    with pytest.raises(ValueError, match="wanted"):
        count_between(0, 4, torch.tensor([2]), torch.tensor([1]))


def test_bounds_that_do_not_bind_leave_the_distribution_alone() -> None:
    log_p = torch.tensor([0.4, 0.5, 0.1]).log().expand(20_000, 5, 3)
    loose = count_between(0, 3, torch.zeros(20_000).long(), torch.full((20_000,), 5))
    drawn, _ = draw_satisfying(log_p, torch.ones(20_000, 5, dtype=torch.bool), loose, generator=seeded())
    count = (drawn == 0).sum(1).float()
    assert float(count.mean()) == pytest.approx(2.0, abs=0.03)
    assert float(count.var()) == pytest.approx(5 * 0.4 * 0.6, abs=0.05)


def test_two_constraints_on_one_field_hold_together() -> None:
    rule = both(least_counts([0, 0, 1, 0]), even_sum(ODD))
    done = run(Constraints(coupled={"elements": rule}), SIZES)
    counts = counts_of(done, "elements")
    assert (counts[:, 2] >= 1).all() and ((counts * torch.tensor(ODD)).sum(1) % 2 == 0).all()
    with pytest.raises(ValueError, match="at most 20000"):
        both(exact_counts([20, 20, 20]), exact_counts([5, 5]))


def test_a_preference_is_let_go_only_where_it_cannot_be_met() -> None:
    even = {"elements": even_sum(ODD)}
    sums = (counts_of(run(Constraints(preferred=even), SIZES), "elements") * torch.tensor(ODD)).sum(1)
    assert (sums % 2 == 0).all()
    # one or three hydrogens have no even sum, and what must hold comes first
    hydrogens = torch.tensor([True, False, False, False])
    done = run(Constraints(allowed={"elements": hydrogens}, preferred=even), [1, 2, 3, 4])
    assert (done.field("elements") == 0).all()
    done = run(Constraints(coupled={"elements": least_counts([0, 0, 1, 0])}, preferred=even), [1, 2] * 50)
    counts = counts_of(done, "elements")
    assert (counts[::2, 2] == 1).all()
    assert (counts[1::2, 2] >= 1).all() and ((counts[1::2] * torch.tensor(ODD)).sum(1) % 2 == 0).all()
    with pytest.raises(ValueError, match="cannot be met by 1 of 2"):
        run(Constraints(coupled={"elements": least_counts([0, 0, 2, 0])}, preferred=even), [1, 2])
    with pytest.raises(ValueError, match="dead ends"):
        Constraints(preferred={"elements": exact_counts([1, 0, 0, 0])})
