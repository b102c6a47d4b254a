"""Fractional coordinates: the path, its target, and that images and translations do not matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moldiff.config import SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.torus import TorusProcess, shortest, wrap
from moldiff.state import State


def crystals(count: int, n: int, *, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return State(
        mask=torch.ones(count, n, dtype=torch.bool),
        elements=torch.zeros(count, n, dtype=torch.long),
        fractional=torch.rand((count, n, 3), generator=generator),
        cell=torch.eye(3).repeat(count, 1, 1) * 4,
    )


def corrupted(state: State, t: float, given: dict[str, Tensor] | None = None, seed: int = 1) -> tuple[State, Clocks]:
    clocks = Clocks.shared(state, t, given=given)
    generator = torch.Generator().manual_seed(seed)
    zero = torch.zeros(len(state))
    moved = TorusProcess().corrupt(state, clocks, zero, zero + t, generator=generator)
    return state.replace(fractional=moved), clocks


def test_wrap_stays_below_one() -> None:
    values = torch.tensor([-1e-9, 1.0, 2.25, -0.25, 0.999999, 0.0])
    assert torch.allclose(wrap(values), torch.tensor([0.0, 0.0, 0.25, 0.75, 0.999999, 0.0]))
    assert (wrap(values) < 1).all() and (wrap(values) >= 0).all()
    assert shortest(torch.tensor([0.9, -0.6])).tolist() == pytest.approx([-0.1, 0.4])


@pytest.mark.parametrize("t", [0.2, 0.7, 1.0])
def test_the_density_of_the_path_is_a_wrapped_box_that_integrates_to_one(t: float) -> None:
    state = crystals(20000, 1).replace(fractional=torch.full((20000, 1, 3), 0.9))
    noisy, _ = corrupted(state, t)
    way = shortest(noisy.field("fractional") - 0.9).flatten()
    assert way.abs().max() <= t / 2 + 1e-6
    # density 1 / t within t / 2 of the data: every twentieth of that interval holds a twentieth of the draws
    share = torch.histc(way, 20, -t / 2, t / 2) / len(way)
    assert torch.allclose(share, torch.full((20,), 0.05), atol=0.005)
    assert float(share.sum()) == pytest.approx(1)


def test_the_exact_velocity_leads_back_to_the_data() -> None:
    state, process = crystals(50, 5), TorusProcess()
    noisy, clocks = corrupted(state, 1.0)
    target = process.target(state, noisy, clocks)
    assert torch.allclose(target.sum(1), torch.zeros(50, 3), atol=1e-5)
    prediction = Prediction(tangent=target)
    assert process.loss(prediction, state, noisy, clocks).max() < 1e-9
    one, end = torch.ones(50), torch.zeros(50)
    generator = torch.Generator().manual_seed(0)
    back = process.step(noisy, prediction, clocks, one, end, generator=generator)
    assert torch.equal(back, process.clean(target, noisy, clocks))
    # the data up to a common translation
    apart = shortest(back - state.field("fractional"))
    assert shortest(apart - apart[:, :1]).abs().max() < 1e-5


def test_predicting_zero_costs_about_one() -> None:
    state, process = crystals(2000, 20), TorusProcess()
    noisy, clocks = corrupted(state, 0.6)
    loss = process.loss(Prediction(tangent=torch.zeros(2000, 20, 3)), state, noisy, clocks)
    # a mean over 20 atoms is taken away
    assert float(loss.mean()) == pytest.approx(0.95, abs=0.01)


def test_loss_knows_no_images_and_no_common_translation() -> None:
    state, process = crystals(8, 4), TorusProcess()
    noisy, clocks = corrupted(state, 0.5)
    prediction = Prediction(tangent=0.1 * torch.randn((8, 4, 3), generator=torch.Generator().manual_seed(3)))
    loss = process.loss(prediction, state, noisy, clocks)
    shift = torch.randint(-3, 4, (8, 4, 3), generator=torch.Generator().manual_seed(4)).float()
    other = noisy.replace(fractional=noisy.field("fractional") + shift)
    assert torch.allclose(process.loss(prediction, state, other, clocks), loss, atol=1e-4)
    moved = noisy.replace(fractional=wrap(noisy.field("fractional") + 0.01))
    assert torch.allclose(process.loss(prediction, state, moved, clocks), loss, atol=1e-4)


def test_given_sites_stay_exactly_and_the_velocity_keeps_its_mean() -> None:
    state, process = crystals(6, 5), TorusProcess(anneal=3.0)
    given = torch.zeros(6, 5, dtype=torch.bool)
    given[:, :2] = True
    masks = {"fractional": given}
    noisy, clocks = corrupted(state, 0.8, masks)
    kept = given[..., None].expand(-1, -1, 3)
    clean = state.field("fractional")
    assert torch.equal(noisy.field("fractional")[kept], clean[kept])
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(process.prior(state, clocks, generator=generator)[kept], clean[kept])
    target = process.target(state, noisy, clocks)
    assert (target[kept] == 0).all() and target.sum(1).abs().max() > 0.05
    assert torch.allclose(process.clean(target, noisy, clocks), clean, atol=1e-5)
    wild = Prediction(tangent=torch.ones(6, 5, 3))
    time = torch.full((6,), 0.8)
    stepped = process.step(noisy, wild, clocks, time, time - 0.1, generator=generator)
    assert torch.equal(stepped[kept], clean[kept])


def test_annealing_speeds_up_late_steps_and_never_overshoots_the_guess() -> None:
    state = crystals(2, 3)
    clocks = Clocks.shared(state, 0.5)
    told = Clocks.shared(state, 0.5, given={"elements": torch.tensor([[True] * 3, [False] * 3])})
    prediction = Prediction(tangent=torch.full((2, 3, 3), 0.1))
    generator = torch.Generator().manual_seed(0)
    start, end = torch.full((2,), 0.5), torch.full((2,), 0.4)

    def moved(process: TorusProcess, clocks: Clocks, end: Tensor) -> Tensor:
        after = process.step(state, prediction, clocks, start, end, generator=generator)
        return -shortest(after - state.field("fractional"))[:, 0, 0]

    assert torch.allclose(moved(TorusProcess(), clocks, end), torch.tensor([0.01, 0.01]), atol=1e-6)
    assert torch.allclose(moved(TorusProcess(anneal=2.0), clocks, end), torch.tensor([0.02, 0.02]), atol=1e-6)
    apart = TorusProcess(anneal=2.0, anneal_given=0.0)
    assert torch.allclose(moved(apart, told, end), torch.tensor([0.01, 0.02]), atol=1e-6)
    far = moved(TorusProcess(anneal=50.0), clocks, end)
    assert torch.allclose(far, torch.tensor([0.05, 0.05]), atol=1e-6)


def test_a_denoiser_without_a_tangent_is_refused() -> None:
    state = crystals(1, 2)
    noisy, clocks = corrupted(state, 0.5)
    with pytest.raises(ValueError, match="no tangent"):
        TorusProcess().loss(Prediction(), state, noisy, clocks)


def test_second_order_follows_a_velocity_that_turns_with_the_clock() -> None:
    """v = a + b t integrates to a + b / 2 over the unit clock; only the first step is of first order."""
    a, b = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.4, 0.2, -0.1])

    def denoise(
        state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        t = clocks.time("fractional", state)[:, None, None]
        return Prediction(tangent=(a + b * t).expand(len(state), state.mask.shape[1], 3))

    errors = {}
    for order in (1, 2):
        config = SamplerConfig(steps=20, density=0.0, order=order, anneal=0.0, anneal_given=0.0)
        process, start = JointProcess([TorusProcess()]), crystals(2, 3)
        f = sample(denoise, process, state=start, generator=torch.Generator().manual_seed(0), config=config)
        prior = process.prior(start, Clocks.shared(start, 1.0), generator=torch.Generator().manual_seed(0))
        moved = shortest(f.field("fractional") - prior.field("fractional") + a + b / 2)
        errors[order] = float(moved.abs().max())
    assert errors[1] == pytest.approx(0.4 / 2 / 20, rel=0.01)
    # the last step ends on clock 0 like any other here; the first one alone is of first order
    assert errors[2] == pytest.approx(0.4 / 2 / 20**2, rel=0.01)
