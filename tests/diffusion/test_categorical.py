"""Masked diffusion of symbols: shares, symmetry, and sampling of a known joint distribution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from moldiff.config import CategoricalConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.schedule import time_grid
from moldiff.state import Alphabet, State

FIELDS = ("elements", "bonds")
ABC = Alphabet(("a", "b", "c"))
#: Pairs of three atoms: the entries of a bond matrix.
PAIRS = ((0, 1), (0, 2), (1, 2))


def full(count: int, n: int, *, value: int = 0) -> State:
    """Structures without padding, every symbol the same."""
    state = State(mask=torch.ones((count, n), dtype=torch.bool), elements=torch.full((count, n), value))
    return state.replace(bonds=torch.where(state.pair_mask, value, 0))


def hidden_of(state: State, field: str) -> Tensor:
    """Share of the existing entries that are hidden."""
    return (state.field(field)[state.entries(field)] == ABC.hidden).float().mean()


@pytest.mark.parametrize("field", FIELDS)
def test_corruption_hides_the_share_of_the_clock_in_one_step_or_two(field: str, generator: torch.Generator) -> None:
    process, state = CategoricalProcess(field, ABC), full(400, 20, value=1)
    clocks = Clocks.shared(state, 0.0)
    zero, half, late = (torch.full((400,), t) for t in (0.0, 0.4, 0.6))
    expected = float(process.share(late)[0])
    assert expected == pytest.approx((0.6 - 0.25) / 0.45, rel=1e-5)
    once = state.replace(**{field: process.corrupt(state, clocks, zero, late, generator=generator)})
    between = state.replace(**{field: process.corrupt(state, clocks, zero, half, generator=generator)})
    twice = between.replace(**{field: process.corrupt(between, clocks, half, late, generator=generator)})
    tolerance = 5 * (expected * (1 - expected) / (400 * 190)) ** 0.5 if field == "bonds" else 0.03
    for found in (once, twice):
        assert float(hidden_of(found, field)) == pytest.approx(expected, abs=tolerance)
        found.check({field: ABC})  # symmetric, zero diagonal
    was = between.field(field) == ABC.hidden
    assert (twice.field(field)[was] == ABC.hidden).all()  # what is hidden stays hidden
    whole = process.corrupt(state, clocks, zero, torch.ones(400), generator=generator)
    assert torch.equal(whole, process.prior(state, clocks, generator=generator))


@pytest.mark.parametrize(("remask", "confidence"), [(0.0, 0.0), (25.0, 0.0), (25.0, 2.0)])
@pytest.mark.parametrize("field", FIELDS)
def test_hidden_share_follows_the_clock_along_the_way(
    field: str, remask: float, confidence: float, generator: torch.Generator
) -> None:
    count, n = (300, 30) if field == "elements" else (60, 20)
    process, state = CategoricalProcess(field, ABC, remask=remask, confidence=confidence), full(count, n)
    clocks = Clocks.shared(state, 1.0)
    state = state.replace(**{field: process.prior(state, clocks, generator=generator)})
    entries = state.entries(field).sum() / (2 if field == "bonds" else 1)
    shape = state.field(field).shape
    prediction = Prediction(**{field: torch.zeros((*shape, 3))})
    grid = time_grid(50).float()
    changed = torch.zeros(shape, dtype=torch.bool)
    for t_from, t_to in itertools.pairwise(grid):
        time = t_from.expand(count), t_to.expand(count)
        after = process.step(state, prediction, clocks, *time, generator=generator)
        shown = (state.field(field) != ABC.hidden) & (after == ABC.hidden)
        changed |= shown
        state = state.replace(**{field: after}).check({field: ABC})
        m = float(process.share(t_to[None]))
        assert float(hidden_of(state, field)) == pytest.approx(m, abs=5 * math.sqrt(m * (1 - m) / entries) + 1e-6)
    assert (state.field(field) < 3).all()  # nothing stays hidden
    assert bool(changed.any()) == (remask > 0)
    counts = torch.bincount(state.field(field)[state.entries(field)], minlength=3).float()
    assert torch.allclose(counts / counts.sum(), torch.full((3,), 1 / 3), atol=0.03)


def tables(kind: str) -> Tensor:
    """Joint probabilities (3, 3, 3) of three entries."""
    if kind == "random":
        weights = torch.rand((3, 3, 3), generator=torch.Generator().manual_seed(4), dtype=torch.float64) ** 2 + 0.05
    else:  # the sum of the symbols is a multiple of three: 18 of 27 cells are impossible
        total = torch.arange(3)[:, None, None] + torch.arange(3)[None, :, None] + torch.arange(3)
        weights = (total % 3 == 0).double() * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    return weights / weights.sum()


def conditionals(table: Tensor) -> Tensor:
    """Exact log-probabilities (64, 3, 3) of each of three entries, for all patterns of shown (0-2) and hidden (3)."""
    cells = torch.tensor(list(itertools.product(range(3), repeat=3)))
    patterns = torch.tensor(list(itertools.product(range(4), repeat=3)))
    fits = ((patterns[:, None] == cells[None]) | (patterns[:, None] == 3)).all(-1).double() * table.flatten()
    entries = [torch.stack([(fits * (cells[:, i] == k)).sum(1) for k in range(3)], -1) for i in range(3)]
    weights = torch.stack(entries, 1)
    # a pattern that cannot be (two entries shown at once) leaves its last entry to chance
    return torch.log(weights / weights.sum(-1, keepdim=True)).nan_to_num(nan=0.0, neginf=-torch.inf).float()


@pytest.mark.parametrize("remask", [0.0, 10.0])
@pytest.mark.parametrize("kind", ["random", "parity"])
@pytest.mark.parametrize("field", FIELDS)
def test_known_joint_distribution_is_recovered(field: str, kind: str, remask: float) -> None:
    """Three dependent symbols with their exact conditional denoiser: all 27 frequencies by chi-square."""
    count, table = 10000 if field == "elements" else 3000, tables(kind)
    known = conditionals(table)
    first, second = torch.tensor(PAIRS).T

    def entries(state: State) -> Tensor:
        return state.field(field)[:, first, second] if field == "bonds" else state.field(field)

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        logits = known[(entries(state) * torch.tensor([16, 4, 1])).sum(1)]
        if field == "elements":
            return Prediction(elements=logits)
        square = torch.zeros((count, 3, 3, 3))
        square[:, first, second] = square[:, second, first] = logits
        return Prediction(bonds=square)

    process = CategoricalProcess(field, ABC, config=CategoricalConfig(begin=0.0, end=1.0), remask=remask)
    drawn = sample(
        denoise,
        JointProcess([process]),
        state=full(count, 3),
        generator=torch.Generator().manual_seed(0),
        config=SamplerConfig(steps=300, density=0.0),
    )
    drawn.check({field: ABC})
    found = torch.bincount((entries(drawn) * torch.tensor([9, 3, 1])).sum(1), minlength=27).double()
    expected = count * table.flatten()
    possible = expected > 0
    # two entries shown in the same step do not see each other: a share of the samples that falls as 1 / steps
    assert float(found[~possible].sum()) / count < 0.01 + 0.002 * remask
    chi_square = float(((found - expected)[possible] ** 2 / expected[possible]).sum())
    freedom = int(possible.sum()) - 1
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_steps_too_large_would_be_noticed() -> None:
    """The chi-square above is sharp: with a single step all entries are drawn independently, and it says so."""
    table = tables("random")
    logits = conditionals(table)[63].expand(20000, 3, 3)
    process, generator = CategoricalProcess("elements", ABC), torch.Generator().manual_seed(0)
    drawn = process.draw(logits, generator=generator)
    found = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27).double()
    expected = 20000 * table.flatten()
    assert float(((found - expected) ** 2 / expected).sum()) > 500


@pytest.mark.parametrize("field", FIELDS)
def test_drawing_has_the_right_frequencies_and_never_a_forbidden_symbol(field: str, generator: torch.Generator) -> None:
    logits = torch.tensor([0.0, math.log(3.0), -math.inf])
    shape = (200000, 1, 3) if field == "elements" else (12, 160, 160, 3)
    for order in itertools.permutations(range(3)):
        for temperature in (1.0, 0.5):
            process = CategoricalProcess(field, ABC, temperature=temperature)
            drawn = process.draw(logits[list(order)].expand(shape), generator=generator)
            if field == "bonds":
                assert torch.equal(drawn, drawn.transpose(1, 2))
                drawn = drawn[:, *torch.triu_indices(160, 160, 1)]
            share = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
            expected = (logits[list(order)] / temperature).softmax(0)
            assert share[order.index(2)] == 0
            assert torch.allclose(share, expected, atol=0.006)


@pytest.mark.parametrize("cooled", [1.0, 0.5, 0.1])
def test_cooled_symbols_stay_as_frequent_as_they_are(cooled: float) -> None:
    """By Bayes: share times likelihood. What is cooled is the power of the likelihood alone."""
    shares, seen = torch.tensor([0.7, 0.1, 0.2]), torch.tensor([0.3, 0.9, 2.0])
    alphabet = Alphabet(("none", "a", "b", "c"))
    process = CategoricalProcess("bonds", alphabet, temperature=cooled, cooled=cooled, shares=shares.tolist())

    def odds(likelihood: Tensor) -> Tensor:
        logits = torch.cat([torch.zeros(1), (shares * likelihood).log()])
        # the network may add any number to its logits
        return process.tempered(logits + 5).softmax(-1)

    expected = shares * seen ** (1 / cooled)
    assert torch.allclose(odds(seen)[1:] / odds(seen)[1:].sum(), expected / expected.sum(), atol=1e-6)
    # no bond against the most frequent one: all that is known is sharpened
    assert float(odds(seen)[0] / odds(seen)[1]) == pytest.approx(float((shares * seen)[0] ** (-1 / cooled)), rel=1e-4)
    # with nothing seen the shares stay as they are, however cold
    blind = odds(torch.ones(3))[1:]
    assert torch.allclose(blind / blind.sum(), shares, atol=1e-6)
    # and what the settings are already colder or warmer by stays so
    warm = CategoricalProcess("bonds", alphabet, temperature=0.7 * cooled, cooled=cooled, shares=shares.tolist())
    logits = torch.tensor([1.0, 2.0, 0.5, -1.0])
    assert torch.allclose(warm.tempered(logits), process.tempered(logits) / 0.7)


@forall(
    st.lists(st.floats(-30, 30), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.25, 0.5, 1 - 2**-24]),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_the_ends_of_the_inverse_transform_are_safe(values: list[float], u: float, data: st.DataObject) -> None:
    """Whatever the uniform number, 0 and the largest below 1 included, a symbol of probability 0 is not drawn."""
    allowed = data.draw(st.integers(0, len(values) - 1))
    banned = data.draw(st.sets(st.integers(0, len(values) - 1))) - {allowed}
    logits = torch.tensor([-math.inf if i in banned else v for i, v in enumerate(values)])
    process = CategoricalProcess("elements", Alphabet(tuple("abcdef"[: len(values)])))
    process._uniform = lambda symbols, generator: torch.full(symbols.shape, u)  # type: ignore[method-assign]
    drawn = int(process.draw(logits[None, None], generator=torch.Generator()))
    assert drawn not in banned and 0 <= drawn < len(values)


@pytest.mark.parametrize("field", ["elements", "charges", "bonds"])
def test_given_and_absent_entries_are_never_touched(
    field: str, clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    state = clean((6, 3))
    process = CategoricalProcess(field, alphabets[field], remask=25.0)
    given = torch.zeros_like(state.entries(field))
    given[(slice(None), slice(2), slice(2)) if field == "bonds" else (slice(None), slice(2))] = True
    clocks = Clocks.shared(state, 0.5, given={field: given})
    t, earlier = torch.full((2,), 0.5), torch.full((2,), 0.45)
    logits = torch.randn((*state.field(field).shape, len(alphabets[field])), generator=generator)
    if field == "bonds":
        logits = logits + logits.transpose(1, 2)
    keep = (given & state.entries(field)) | ~state.entries(field)
    noisy = state
    for _ in range(20):
        for found in (
            process.prior(noisy, clocks, generator=generator),
            process.corrupt(noisy, clocks, 0 * t, t, generator=generator),
            process.step(noisy, Prediction(**{field: logits}), clocks, t, earlier, generator=generator),
        ):
            assert torch.equal(found[keep], state.field(field)[keep])
            noisy = noisy.replace(**{field: found}).check(alphabets)


def test_loss_is_the_mean_cross_entropy_of_what_is_hidden(
    clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    truth, process = clean((5, 3, 4)), CategoricalProcess("elements", alphabets["elements"])
    shown = truth.field("elements").clone()
    shown[0, 1:4] = shown[1, 0] = 4
    given = torch.zeros_like(truth.mask)
    given[0, 1] = True  # given, though it reads hidden: not judged
    noisy, clocks = truth.replace(elements=shown), Clocks.shared(truth, 0.5, given={"elements": given})
    logits = torch.randn((3, 5, 4), generator=generator, requires_grad=True)
    loss = process.loss(Prediction(elements=logits), truth, noisy, clocks)
    log_p = logits.log_softmax(-1)
    symbols = truth.field("elements")
    expected = -(log_p[0, 2, symbols[0, 2]] + log_p[0, 3, symbols[0, 3]]) / 2
    assert torch.allclose(loss, torch.stack([expected, -log_p[1, 0, symbols[1, 0]], torch.tensor(0.0)]))
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[2] == 0).all()


def test_the_divergence_of_hidden_symbols_is_that_of_kullback_and_leibler(generator: torch.Generator) -> None:
    process = CategoricalProcess("elements", ABC)
    state = full(2, 4, value=1).replace(elements=torch.tensor([[3, 1, 3, 2], [0, 1, 2, 3]]))
    one, other = (Prediction(elements=torch.randn((2, 4, 3), generator=generator)) for _ in range(2))
    p, q = (guess.elements.softmax(-1) for guess in (other, one) if guess.elements is not None)
    each = (p * (p / q).log()).sum(-1)
    expected = torch.stack([(each[0, 0] + each[0, 2]) / 2, each[1, 3]])
    clocks = Clocks.shared(state, 0.5)
    assert torch.allclose(process.divergence(one, other, state, clocks), expected, atol=1e-6)
    assert float(process.divergence(one, one, state, clocks).abs().max()) == 0


@pytest.mark.parametrize("field", FIELDS)
def test_the_likeliest_draws_are_shown_first_with_confidence(field: str, generator: torch.Generator) -> None:
    """Half of the entries are certain: with a large weight they are the half that is shown; without, any are."""
    count, n = 50, 8
    state = full(count, n)
    entries = state.entries(field)
    certain = torch.rand(state.field(field).shape, generator=generator) < 0.5
    if field == "bonds":
        certain = certain.triu(1) | certain.triu(1).transpose(1, 2)
    certain &= entries
    logits = torch.where(certain.unsqueeze(-1), torch.tensor([30.0, 0.0, 0.0]), torch.zeros(3))
    shares = {}
    for confidence in (0.0, 1000.0):
        process = CategoricalProcess(field, ABC, config=CategoricalConfig(0.0, 1.0), confidence=confidence)
        clocks = Clocks.shared(state, 1.0)
        hidden = state.replace(**{field: process.prior(state, clocks, generator=generator)})
        t = torch.ones(count), torch.full((count,), 0.75)
        after = process.step(hidden, Prediction(**{field: logits}), clocks, *t, generator=generator)
        hidden.replace(**{field: after}).check({field: ABC})
        shown = (after != ABC.hidden) & entries
        assert float(shown.sum() / entries.sum()) == pytest.approx(0.25, abs=0.05)
        shares[confidence] = float((shown & certain).sum() / shown.sum())
    assert shares[0.0] == pytest.approx(0.5, abs=0.12) and shares[1000.0] > 0.97


def test_bad_settings_are_refused(clean: Callable[..., State]) -> None:
    with pytest.raises(ValueError, match="'positions' holds no symbols"):
        CategoricalProcess("positions", ABC)
    with pytest.raises(ValueError, match=r"0 <= begin < end <= 1, not 0\.7\.\.0\.3"):
        CategoricalProcess("bonds", ABC, config=CategoricalConfig(begin=0.7, end=0.3))
    with pytest.raises(ValueError, match="4 shares of bonds are given, its alphabet needs 2"):
        CategoricalProcess("bonds", ABC, shares=[0.8, 0.1, 0.05, 0.05])
    process, state = CategoricalProcess("elements", ABC), clean((3,))
    for prediction in (Prediction(), Prediction(elements=torch.zeros(1, 3, 4))):
        with pytest.raises(ValueError, match="needs 3 logits of elements"):
            process.loss(prediction, state, state, Clocks.shared(state, 0.5))
