"""Guidance on mixtures and Gaussians whose conditional and unconditional denoisers are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moldiff.config import GaussianConfig, LatticeConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.lattice import LatticeProcess
from moldiff.diffusion.sampler import sample
from moldiff.guidance.classifier_free import classifier_free, evaluations, mix_cells, mix_logits
from moldiff.state import State

CLASSES = torch.tensor([[-1.0, 0.5, 0.0], [2.0, 0.0, 1.0]])  # centre of an atom in either class
SHARES = torch.tensor([0.25, 0.75])
WIDTH = 0.3
NOISE = GaussianConfig(smallest=0.01, largest=100.0, deviation_scale=1.0, deviation_power=0.0)
GAUSSIAN = GaussianProcess(NOISE)


def posterior_mean(x: Tensor, s: Tensor, centre: Tensor) -> Tensor:
    return (WIDTH**2 * x + s**2 * centre) / (WIDTH**2 + s**2)


class Mixture:
    """Two atoms, the first given at the origin; the second is drawn from a mixture of two Gaussians."""

    def __init__(self) -> None:
        self.calls: list[tuple[bool, Prediction | None]] = []

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        self.calls.append((condition is not None, previous))
        x, s = state.field("positions"), GAUSSIAN.level(clocks.time("positions", state), state)[:, 0]
        atom = x[:, 1]
        total = WIDTH**2 + s**2
        log = SHARES.log() - ((atom[:, None] - CLASSES) ** 2).sum(-1) / (2 * total)
        means = torch.stack([posterior_mean(atom, s, centre) for centre in CLASSES], 1)
        weight = log.softmax(-1)
        if condition is not None:
            known = torch.nn.functional.one_hot(condition.values[:, 0].long(), 2).float()
            weight = torch.where(condition.shown[:, :1], known, weight)
        clean = x.clone()
        clean[:, 1] = (weight[..., None] * means).sum(1)
        return Prediction(positions=clean)


def batch(b: int, seed: int = 0) -> tuple[State, dict[str, Tensor]]:
    positions = torch.zeros(b, 2, 3)
    positions[:, 1] = torch.randn((b, 3), generator=torch.Generator().manual_seed(seed)) * 3
    given = torch.zeros(b, 2, dtype=torch.bool)
    given[:, 0] = True
    return State(mask=torch.ones(b, 2, dtype=torch.bool), positions=positions), {"positions": given}


def told(b: int, value: int) -> Condition:
    return Condition(torch.full((b, 1), float(value)), torch.ones(b, 1, dtype=torch.bool))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 1.5, 3.0])
def test_the_guided_guess_has_the_closed_form(weight: float) -> None:
    state, given = batch(20)
    clocks = Clocks.shared(state, 0.5, given=given)
    toy = Mixture()
    found = classifier_free(toy, weight)(state, clocks, told(20, 1)).positions
    assert len(toy.calls) == evaluations(weight)
    s = GAUSSIAN.level(clocks.time("positions", state), state)[:, 0]
    x = state.field("positions")[:, 1]
    c, other = posterior_mean(x, s, CLASSES[1]), posterior_mean(x, s, CLASSES[0])
    log = SHARES.log() - ((x[:, None] - CLASSES) ** 2).sum(-1) / (2 * (WIDTH**2 + s**2))
    p = log.softmax(-1)[:, :1]
    # u = (1 - p) c + p other, so that u + w (c - u) = c + (1 - w) p (other - c)
    assert found is not None
    torch.testing.assert_close(found[:, 1], c + (1 - weight) * p * (other - c))
    assert torch.equal(found[:, 0], x.new_zeros(20, 3))


def test_a_call_without_targets_passes_through_once() -> None:
    toy = Mixture()
    state, given = batch(3)
    classifier_free(toy, 2.0)(state, Clocks.shared(state, 0.5, given=given))
    assert [told for told, _ in toy.calls] == [False]


def test_the_guided_guess_is_the_self_conditioning_of_both_branches() -> None:
    toy = Mixture()
    state, given = batch(3)
    process = JointProcess([GAUSSIAN])
    seen: list[Prediction] = []
    sample(
        classifier_free(toy, 2.0),
        process,
        state=state,
        generator=torch.Generator().manual_seed(0),
        config=SamplerConfig(steps=3),
        given=given,
        condition=told(3, 0),
        callback=lambda step: seen.append(step.prediction),
    )
    assert [told for told, _ in toy.calls] == [False, True] * 3
    expected = [None, None, seen[0], seen[0], seen[1], seen[1]]
    assert all(previous is guess for (_, previous), guess in zip(toy.calls, expected, strict=True))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_guided_sampling_of_gaussians_moves_the_mean_by_the_weight(weight: float) -> None:
    """Both branches of one width: the guided score is that of N(w m, width^2), so that is what sampling must give."""
    centre = torch.tensor([1.0, -2.0, 0.5])

    def toy(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        x, s = state.field("positions"), GAUSSIAN.level(clocks.time("positions", state), state)
        mean = torch.zeros(3) if condition is None else centre
        clean = posterior_mean(x, s, mean)
        return Prediction(positions=torch.cat([x[:, :1], clean[:, 1:]], 1))

    b = 2000
    state, given = batch(b)
    done = sample(
        classifier_free(toy, weight),
        JointProcess([GAUSSIAN]),
        state=state,
        generator=torch.Generator().manual_seed(1),
        config=SamplerConfig(steps=60, churn=0.0),
        given=given,
        condition=told(b, 0),
    ).field("positions")[:, 1]
    # the standard error of the mean is 0.3 / sqrt(2000) = 0.007; 60 Euler steps and the finite first noise add a little
    assert (done.mean(0) - weight * centre).abs().max() < 0.06
    assert (done.std(0) - WIDTH).abs().max() < 0.03


def test_log_probabilities_are_extrapolated_and_normalised() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    mixed = mix_logits(p.log() + 7, q.log() - 3, 2.0)
    expected = q**2 / p
    assert mixed is not None
    torch.testing.assert_close(mixed.exp(), expected / expected.sum())


@pytest.mark.parametrize("weight", [0.5, 1.5, 4.0])
def test_what_either_branch_rules_out_stays_ruled_out(weight: float) -> None:
    inf = math.inf
    u = torch.tensor([[0.0, -inf, 1.0], [-inf, -inf, 0.0], [0.0, -inf, -inf]])
    c = torch.tensor([[-inf, 0.0, 1.0], [-inf, 0.0, 0.0], [-inf, 0.0, 0.5]])
    mixed = mix_logits(u, c, weight)
    assert mixed is not None and not mixed.isnan().any()
    torch.testing.assert_close(mixed[:2].exp(), torch.tensor([[0.0, 0, 1], [0, 0, 1]]))
    # nothing is left that both allow: the conditional guess stands
    torch.testing.assert_close(mixed[2], c[2].log_softmax(-1))


def test_crystals_move_along_the_tangent() -> None:
    state = State(
        mask=torch.ones(1, 1, dtype=torch.bool), fractional=torch.full((1, 1, 3), 0.1), cell=torch.eye(3)[None]
    )

    def toy(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        v = 0.2 if condition is None else 0.6
        return Prediction(tangent=torch.full((1, 1, 3), v), cell=torch.eye(3)[None] * (1 + v))

    guess = classifier_free(toy, 2.0)(state, Clocks.shared(state, 0.5), told(1, 0))
    torch.testing.assert_close(guess.tangent, torch.full((1, 1, 3), 1.0))
    torch.testing.assert_close(guess.fractional, torch.full((1, 1, 3), 0.6))
    # the logarithm of the cell is what moves in a line
    torch.testing.assert_close(guess.cell, torch.eye(3)[None] * 1.6**2 / 1.2)


def test_the_guided_cell_is_that_of_the_guided_invariants() -> None:
    lattice = LatticeProcess(LatticeConfig())
    generator = torch.Generator().manual_seed(0)
    u, c = torch.randn(2, 4, 6, generator=generator)
    n = torch.tensor([1, 2, 3, 4])
    mixed = mix_cells(lattice.matrix(u, n), lattice.matrix(c, n), 1.7)
    torch.testing.assert_close(mixed, lattice.matrix(u + 1.7 * (c - u), n), rtol=1e-4, atol=1e-4)
    given = lattice.matrix(u, n)
    assert torch.equal(mix_cells(given, given.clone(), 2.0), given)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_senseless_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="guidance must be"):
        classifier_free(Mixture(), weight)
