"""Noise on positions: identities of Karras et al. (2022), variances, given atoms, and sampling from known data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from moldiff.config import GaussianConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.gaussian import GaussianProcess, noise
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.schedule import time_grid
from moldiff.state import State, centred

CONFIG = GaussianConfig()


def positions_only(count: int, n: int) -> State:
    return State(mask=torch.ones((count, n), dtype=torch.bool), positions=torch.zeros((count, n, 3)))


@pytest.mark.parametrize("t", [0.01, 0.3, 0.5, 0.77, 1.0])
def test_preconditioning_gives_unit_variance_to_inputs_and_targets(t: float) -> None:
    state, process = positions_only(20000, 5), GaussianProcess(CONFIG)
    generator = torch.Generator().manual_seed(1)
    deviation = process.deviation(state)
    data = deviation * torch.randn((20000, 5, 3), generator=generator)
    clocks = Clocks.shared(state, t)
    scale, skip, out = process.preconditioning(state, clocks)
    s = process.level(clocks.time("positions", state), state)
    noisy = data + s * torch.randn(data.shape, generator=generator)
    assert float((scale * noisy).var()) == pytest.approx(1.0, rel=0.02)
    target = (data - skip * noisy) / out
    assert float(target.var()) == pytest.approx(1.0, rel=0.02)
    # what is left after the best linear guess has nothing to do with the input
    assert abs(float((target * scale * noisy).mean())) < 0.01
    # table 1 of the paper
    assert torch.allclose(skip[:, :1], deviation**2 / (s**2 + deviation**2))
    assert torch.allclose(out[:, :1] ** 2, s**2 * skip[:, :1], rtol=1e-5)
    assert torch.allclose(scale**2 * (s**2 + deviation**2), torch.ones_like(s))


def test_levels_and_deviation_follow_the_configuration(clean: Callable[..., State]) -> None:
    state, process = clean((5, 29)), GaussianProcess(CONFIG)
    deviation = process.deviation(state).flatten()
    expected = [CONFIG.deviation_scale * n**CONFIG.deviation_power for n in (5, 29)]
    assert deviation.tolist() == pytest.approx(expected, rel=1e-5)
    for t, relative in ((0.0, 0.0), (1.0, CONFIG.largest), (0.5, (CONFIG.smallest * CONFIG.largest) ** 0.5)):
        level = process.level(torch.full((2,), t), state).flatten()
        assert torch.allclose(level, relative * deviation, rtol=1e-4)


def test_noise_is_centred_only_where_nothing_is_given(clean: Callable[..., State], generator: torch.Generator) -> None:
    state = clean((6, 4, 6))
    given = torch.zeros_like(state.mask)
    given[2, :2] = True
    eps = noise(state, given, generator=generator)
    assert torch.allclose(eps.sum(1)[:2], torch.zeros(2, 3), atol=1e-5)
    assert eps.sum(1)[2].abs().max() > 0.1
    assert (eps[2, :2] == 0).all() and (eps[~state.mask] == 0).all()


def test_noise_has_full_rank_beside_given_atoms(generator: torch.Generator) -> None:
    count = 40000
    state = positions_only(count, 4)
    given = torch.zeros_like(state.mask)
    given[:, 0] = True
    beside = noise(state, given, generator=generator)[:, 1:, 0]
    assert torch.allclose(torch.cov(beside.T), torch.eye(3), atol=0.03)
    centred_noise = noise(state, torch.zeros_like(given), generator=generator)[..., 0]
    assert torch.allclose(torch.cov(centred_noise.T), torch.eye(4) - 0.25, atol=0.03)  # the projection


def test_two_steps_of_noise_are_one(clean: Callable[..., State], generator: torch.Generator) -> None:
    state, process = positions_only(30000, 3), GaussianProcess(CONFIG)
    clocks = Clocks.shared(state, 0.0)
    zero, half, late = (torch.full((len(state),), t) for t in (0.0, 0.55, 0.6))
    once = process.corrupt(state, clocks, zero, late, generator=generator)
    between = state.replace(positions=process.corrupt(state, clocks, zero, half, generator=generator))
    twice = process.corrupt(between, clocks, half, late, generator=generator)
    expected = float(process.level(late, state)[0]) ** 2 * 2 / 3
    for found in (once, twice):
        assert float(found.var()) == pytest.approx(expected, rel=0.015)
        assert found.sum(1).abs().max() < 1e-4
    share = (between.field("positions") * (twice - between.field("positions"))).mean()
    assert abs(float(share)) < 0.02 * expected  # fresh noise is independent of the old
    unchanged = process.corrupt(state, clocks, late, late, generator=generator)
    assert torch.equal(unchanged, state.field("positions"))


def test_given_atoms_keep_every_bit(clean: Callable[..., State], generator: torch.Generator) -> None:
    state, process = clean((5, 3)), GaussianProcess(CONFIG)
    positions = state.field("positions").clone()
    positions[0, :2] = torch.tensor([[-0.0, 0.0, 1e-42], [1.0, -0.0, 3e38]])
    given = torch.zeros_like(state.mask)
    given[0, :2] = True
    state = state.replace(positions=positions)
    clocks = Clocks({"positions": torch.tensor([0.5, 0.5])}, {"positions": given})
    time = clocks.time("positions", state)
    prediction = Prediction(positions=torch.randn((2, 5, 3), generator=generator))
    for found in (
        process.prior(state, clocks, generator=generator),
        process.corrupt(state, clocks, 0 * time, time, generator=generator),
        process.step(state, prediction, clocks, time, 0.5 * time, generator=generator),
        process.clean(prediction.positions, state, clocks, process.preconditioning(state, clocks)),
    ):
        assert found[0, :2].numpy().tobytes() == positions[0, :2].numpy().tobytes()
        assert not torch.equal(found[0, 2:], positions[0, 2:])
        assert (found[~state.mask] == 0).all()


def test_loss_is_the_squared_error_over_the_square_of_c_out(clean: Callable[..., State]) -> None:
    truth, process = clean((6, 4)), GaussianProcess(CONFIG)
    clocks = Clocks.shared(truth, 0.6)
    generator = torch.Generator().manual_seed(0)
    noisy = truth.replace(
        positions=process.corrupt(truth, clocks, torch.zeros(2), torch.full((2,), 0.6), generator=generator)
    )
    guess = truth.field("positions") + 0.1 * torch.randn((2, 6, 3), generator=generator)
    found = process.loss(Prediction(positions=guess), truth, noisy, clocks)
    s, d = process.level(torch.full((2,), 0.6), truth), process.deviation(truth)
    weight = (s**2 + d**2) / (s * d) ** 2  # lambda of the paper
    error = weight * (guess - truth.field("positions")) ** 2
    expected = torch.stack([error[0].mean(), error[1, :4].mean()])
    assert torch.allclose(found, expected, rtol=1e-4)
    # in terms of the raw network: the plain squared error of the displacement, at every level
    scales = process.preconditioning(noisy, clocks)
    u = torch.randn((2, 6, 3), generator=generator)
    u = centred(u, truth.mask)
    target = (truth.field("positions") - scales.skip * noisy.field("positions")) / scales.out
    predicted = process.clean(u, noisy, clocks, scales)
    raw = ((u - target) ** 2 * truth.mask[..., None]).sum((1, 2)) / (3 * truth.n_atoms)
    assert torch.allclose(process.loss(Prediction(positions=predicted), truth, noisy, clocks), raw, rtol=1e-3)


def test_given_atoms_and_clock_zero_are_left_out_of_the_loss(clean: Callable[..., State]) -> None:
    truth, process = clean((4, 4, 4)), GaussianProcess(CONFIG)
    given = torch.zeros_like(truth.mask)
    given[0, :2] = given[2] = True  # some, none, all
    clocks = Clocks({"positions": torch.tensor([0.5, 0.0, 0.5])}, {"positions": given})
    guess = (truth.field("positions") + 1).requires_grad_()
    loss = process.loss(Prediction(positions=guess), truth, truth, clocks)
    assert loss[0] > 0 and loss[1] == 0 and loss[2] == 0
    loss.sum().backward()
    assert torch.isfinite(guess.grad).all()
    assert (guess.grad[0, :2] == 0).all() and (guess.grad[0, 2:] != 0).all()
    assert (guess.grad[1:] == 0).all()
    far = guess.detach().clone()
    far[0, :2] = float("nan")  # what is predicted of a given atom cannot matter
    assert torch.equal(process.loss(Prediction(positions=far), truth, truth, clocks), loss.detach())


def test_missing_positions_are_refused(clean: Callable[..., State], generator: torch.Generator) -> None:
    state, process = clean((3,)), GaussianProcess(CONFIG)
    clocks, t = Clocks.shared(state, 0.5), torch.full((1,), 0.5)
    with pytest.raises(ValueError, match="cannot be trained"):
        process.loss(Prediction(), state, state, clocks)
    with pytest.raises(ValueError, match="cannot step"):
        process.step(state, Prediction(), clocks, t, t, generator=generator)


# --- exact denoisers: what is sampled is known --------------------------------------------------------------------


def clouds(n: int, *, seed: int = 3) -> Tensor:
    """Three centred point clouds (3, n, 3) about an angstrom apart."""
    x = torch.randn((3, n, 3), generator=torch.Generator().manual_seed(seed))
    return x - x.mean(1, keepdim=True)


def posterior_mean(process: GaussianProcess, centres: Tensor, weights: Tensor) -> Denoiser:
    """The exact denoiser of a mixture of point clouds: a softmax over the clouds, in the subspace of the noise."""

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        s = process.level(clocks.time("positions", state), state).double()
        free = ~clocks.is_given("positions", state)
        gap = (state.field("positions").double()[:, None] - centres.double()[None]) * free[:, None, :, None]
        logits = weights.double().log() - gap.square().sum((2, 3)) / (2 * s[:, :, 0] ** 2)
        mean = torch.einsum("bk,knx->bnx", logits.softmax(1), centres.double())
        return Prediction(positions=mean.float())

    return denoise


@pytest.mark.parametrize("churn", [0.0, 0.4])
def test_mixture_of_point_clouds_is_recovered(churn: float) -> None:
    count, centres, weights = 4000, clouds(5), torch.tensor([0.5, 0.3, 0.2])
    process = GaussianProcess(CONFIG)
    drawn = sample(
        posterior_mean(process, centres, weights),
        JointProcess([process]),
        state=positions_only(count, 5),
        generator=torch.Generator().manual_seed(0),
        config=SamplerConfig(steps=60, churn=churn),
    ).field("positions")
    distance = (drawn[:, None] - centres[None]).norm(dim=-1).amax(-1)
    assert distance.min(1).values.max() < 1e-4  # every sample is one of the clouds
    share = torch.bincount(distance.argmin(1), minlength=3) / count
    assert torch.allclose(share, weights, atol=4 * (0.25 / count) ** 0.5)


@pytest.mark.parametrize("churn", [0.0, 0.4])
def test_mixture_given_some_atoms(churn: float) -> None:
    """Completion: clouds that share two atoms, at whose centroid the origin lies; the rest follows the mixture."""
    count, centres, weights = 4000, clouds(5), torch.tensor([0.2, 0.2, 0.6])
    centres[:, :2] = torch.tensor([[0.7, 0.0, -0.0], [-0.7, -0.0, 0.0]])
    process, state = GaussianProcess(CONFIG), positions_only(count, 5)
    given = torch.zeros_like(state.mask)
    given[:, :2] = True
    start = torch.full((count, 5, 3), 7.0)  # what is not given must not matter
    start[:, :2] = centres[0, :2]
    drawn = sample(
        posterior_mean(process, centres, weights),
        JointProcess([process]),
        state=state.replace(positions=start),
        generator=torch.Generator().manual_seed(0),
        config=SamplerConfig(steps=60, churn=churn),
        given={"positions": given},
    ).field("positions")
    assert drawn[:, :2].numpy().tobytes() == start[:, :2].numpy().tobytes()
    distance = (drawn[:, None] - centres[None]).norm(dim=-1).amax(-1)
    assert distance.min(1).values.max() < 1e-4
    share = torch.bincount(distance.argmin(1), minlength=3) / count
    assert torch.allclose(share, weights, atol=4 * (0.25 / count) ** 0.5)


def sample_gaussian(d: float, *, count: int, n: int, steps: int, churn: float, order: int = 1) -> Tensor:
    """Samples of N(0, d^2) data in the centred subspace, whose denoiser is x_hat = d^2 / (d^2 + s^2) x."""
    process = GaussianProcess(CONFIG)

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        s = process.level(clocks.time("positions", state), state)
        return Prediction(positions=d**2 / (d**2 + s**2) * state.field("positions"))

    return sample(
        denoise,
        JointProcess([process]),
        state=positions_only(count, n),
        generator=torch.Generator().manual_seed(0),
        config=SamplerConfig(steps=steps, churn=churn, order=order),
    ).field("positions")


@pytest.mark.parametrize("churn", [0.0, 0.02])
def test_gaussian_data_keep_their_covariance(churn: float) -> None:
    """With many steps, for d other than s_data, too; churn has to fall with the step, as in EDM (S_churn / N)."""
    d, n, count = 0.5, 4, 6000
    drawn = sample_gaussian(d, count=count, n=n, steps=400, churn=churn)
    assert drawn.sum(1).abs().max() < 1e-3
    assert torch.allclose(torch.cov(drawn[..., 0].T), d**2 * (torch.eye(n) - 1 / n), atol=0.06 * d**2)
    assert float(drawn.square().sum() / (count * (n - 1) * 3)) == pytest.approx(d**2, rel=0.03)


def test_variance_of_the_default_sampler_is_that_of_its_recursion() -> None:
    """Euler steps of a linear denoiser can be followed on paper: churn adds variance, the step scales it."""
    d, n, count, config = 0.5, 4, 6000, SamplerConfig()
    process = GaussianProcess(CONFIG)
    state = positions_only(1, n)
    level = [float(process.level(t[None].float(), state)) for t in time_grid(config.steps, config.density)]
    deviation, variance = float(process.deviation(state)), level[0] ** 2
    for number, (s, after) in enumerate(pairwise(level)):
        if config.churn_from <= s / deviation <= config.churn_to and number + 1 < config.steps:
            variance += (1.4**2 - 1) * s**2
            s *= 1.4
        share = d**2 / (d**2 + s**2)
        variance *= (share + after / s * (1 - share)) ** 2
    drawn = sample_gaussian(d, count=count, n=n, steps=config.steps, churn=config.churn)
    assert float(drawn.square().sum() / (count * (n - 1) * 3)) == pytest.approx(variance, rel=0.03)
    assert (
        0.7 < variance / d**2 < 1.0
    )  # first-order steps with constant churn narrow: 0.83 at 50 steps, 0.95 without churn


def end_of_flow(d: float, steps: int, order: int) -> float:
    """What the flow of N(0, d^2) data makes of prior noise of one sample, over what it should make of it."""
    process, n = GaussianProcess(CONFIG), 4
    state = positions_only(1, n)
    top = float(process.level(torch.ones(1), state))
    start = top * noise(state, torch.zeros_like(state.mask), generator=torch.Generator().manual_seed(0))
    drawn = sample_gaussian(d, count=1, n=n, steps=steps, churn=0.0, order=order)
    # the exact flow keeps x / sqrt(d^2 + s^2)
    return float((drawn * start).sum() / start.square().sum()) * (d**2 + top**2) ** 0.5 / d


def test_errors_fall_with_the_order_of_the_step() -> None:
    """Halving the steps of an exactly known flow: half the error of first order, a quarter of second."""
    for order in (1, 2):
        coarse, fine = (abs(end_of_flow(0.5, steps, order) - 1) for steps in (100, 200))
        assert coarse / fine == pytest.approx(2**order, rel=0.25)
    assert abs(end_of_flow(0.5, 50, 2) - 1) < 0.2 * abs(end_of_flow(0.5, 50, 1) - 1)


def test_second_order_keeps_first_order_where_churn_raises_the_noise() -> None:
    one, two = (sample_gaussian(0.5, count=50, n=4, steps=30, churn=0.4, order=order) for order in (1, 2))
    inside = SamplerConfig(steps=30, churn=0.4, churn_from=0.0, churn_to=1e9)
    assert not torch.equal(one, two)  # outside of the window of churn
    process = GaussianProcess(CONFIG)
    first, second = (
        sample(
            posterior_mean(process, clouds(5), torch.tensor([0.5, 0.3, 0.2])),
            JointProcess([process]),
            state=positions_only(20, 5),
            generator=torch.Generator().manual_seed(0),
            config=replace(inside, order=order),
        ).field("positions")
        for order in (1, 2)
    )
    assert torch.allclose(first, second, atol=1e-5)
