"""Tasks of crystals and the joint process over them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, LatticeConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, CrystalPreconditioning, Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.tasks import CRYSTAL_TASKS, GIVEN_CRYSTAL_FIELDS, draw_crystal_clocks, draw_sites
from moldiff.diffusion.torus import shortest
from moldiff.state import Alphabet, State

CONFIG = DiffusionConfig.for_crystals(LatticeConfig())
ALPHABETS = {"elements": Alphabet(("Li", "O", "Na", "Cl"))}
FIELDS = ("fractional", "cell", "elements")


def crystals(count: int, n: int = 5, *, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn((count, 3, 3), generator=generator) * 0.3
    return State(
        mask=torch.ones(count, n, dtype=torch.bool),
        elements=torch.randint(0, 4, (count, n), generator=generator),
        fractional=torch.rand((count, n, 3), generator=generator),
        cell=4 * torch.eye(3) + root + root.transpose(1, 2),
    )


def whole(name: str, clocks: Clocks, state: State) -> Tensor:
    return clocks.is_given(name, state).reshape(len(state), -1).all(1)


@pytest.mark.parametrize("task", list(GIVEN_CRYSTAL_FIELDS))
def test_each_task_gives_what_it_says(task: str, generator: torch.Generator) -> None:
    state = crystals(400)
    clocks = draw_crystal_clocks(state, CONFIG, shares={task: 1.0}, generator=generator)
    for name in FIELDS:
        time, given = clocks.time(name, state), clocks.is_given(name, state)
        assert time.min() >= 0 and time.max() <= 1
        if name in GIVEN_CRYSTAL_FIELDS[task]:
            assert given.all() and (time == 0).all()
        elif task != "completion":
            assert not given.any() and (time > 0).all()
    if task == "completion":
        sites = clocks.is_given("fractional", state)
        assert torch.equal(sites, clocks.is_given("elements", state))
        assert (
            (sites.sum(1) >= 1).all() and (sites.sum(1) <= 4).all() and sites.sum(1).unique().tolist() == [1, 2, 3, 4]
        )
        assert 0.4 < float(clocks.is_given("cell", state).float().mean()) < 0.6


def test_shares_and_independent_clocks(generator: torch.Generator) -> None:
    state = crystals(4000)
    clocks = draw_crystal_clocks(state, CONFIG, generator=generator)
    predicted = whole("elements", clocks, state)
    assert float(predicted.float().mean()) == pytest.approx(CRYSTAL_TASKS["prediction"], abs=0.03)
    assert float(whole("fractional", clocks, state).float().mean()) == pytest.approx(0.10, abs=0.02)
    free = ~predicted & ~whole("cell", clocks, state)
    t, cell, elements = (clocks.time(name, state)[free] for name in FIELDS)
    assert float(t.mean()) == pytest.approx(0.5, abs=0.03)
    for other in (cell, elements):
        apart = ((other - t).abs() > 0.3).float().mean()
        assert 0.08 < float(apart) < 0.18  # a quarter stands anywhere, the rest close by


def test_a_lone_site_is_never_given(generator: torch.Generator) -> None:
    state = crystals(50, 3).replace(mask=torch.tensor([[True, False, False]]).expand(50, -1))
    assert not draw_sites(state, generator=generator).any()
    with pytest.raises(ValueError, match=r"unknown tasks \['docking'\]"):
        draw_crystal_clocks(state, CONFIG, shares={"docking": 1.0}, generator=generator)


def test_corruption_leaves_what_is_given(generator: torch.Generator) -> None:
    state = crystals(400)
    clocks = draw_crystal_clocks(state, CONFIG, generator=generator)
    noisy = JointProcess.for_crystals(CONFIG, ALPHABETS).corrupt(state, clocks, generator=generator).check(ALPHABETS)
    for name in FIELDS:
        keep = clocks.is_given(name, state)
        assert torch.equal(noisy.field(name)[keep], state.field(name)[keep])
        assert not torch.equal(noisy.field(name), state.field(name))


class Knows:
    """A network that knows the answer, to test what is done around it."""

    def __init__(self, truth: State, process: JointProcess) -> None:
        self.truth, self.process = truth, process
        self.cell = process.processes["cell"]

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: CrystalPreconditioning,
    ) -> Prediction:
        p, target = preconditioning, self.cell.invariants(self.truth.cell, self.truth.n_atoms)  # type: ignore[attr-defined]
        out = torch.where(p.out > 0, p.out, 1.0)
        t = clocks.time("fractional", state)[:, None, None]
        way = shortest(state.field("fractional") - self.truth.field("fractional"))
        return Prediction(
            tangent=torch.where(t > 0, way / t.clamp_min(1e-6), 0.0),
            invariants=(target - p.skip * p.invariants) / out,
            elements=40 * torch.nn.functional.one_hot(self.truth.field("elements"), 4).float(),
        )


@pytest.mark.parametrize("task", ["generate", "prediction", "substitution", "completion"])
def test_a_network_that_knows_the_answer_arrives_at_it(task: str, generator: torch.Generator) -> None:
    truth = crystals(6)
    config = SamplerConfig(steps=12, density=0.0, remask=5.0, anneal=2.0)
    process = JointProcess.for_crystals(CONFIG, ALPHABETS, sampler=config)
    clocks = draw_crystal_clocks(truth, CONFIG, shares={task: 1.0}, generator=generator)
    given = {name: clocks.is_given(name, truth) for name in FIELDS if bool(clocks.is_given(name, truth).any())}
    denoise = denoiser(Knows(truth, process), process)
    done = sample(denoise, process, state=truth, generator=generator, config=config, given=given)
    assert torch.equal(done.elements, truth.elements)  # type: ignore[arg-type]
    assert torch.allclose(done.cell, truth.cell, rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]
    apart = shortest(done.field("fractional") - truth.field("fractional"))
    assert shortest(apart - apart[:, :1]).abs().max() < 1e-3
    for name, mask in given.items():
        assert torch.equal(done.field(name)[mask], truth.field(name)[mask])


def test_the_denoiser_makes_all_of_a_prediction_consistent(generator: torch.Generator) -> None:
    truth = crystals(5)
    process = JointProcess.for_crystals(CONFIG, ALPHABETS)
    clocks = Clocks.shared(truth, 0.5, given={"cell": torch.tensor([True, False, True, False, True])})
    noisy = process.corrupt(truth, clocks, generator=generator)
    guess = denoiser(Knows(truth, process), process)(noisy, clocks)
    assert guess.fractional is not None and guess.tangent is not None and guess.cell is not None
    assert torch.allclose(guess.tangent.mean(1), torch.zeros(5, 3), atol=1e-6)
    assert torch.equal(guess.cell[::2], truth.field("cell")[::2])
    assert torch.allclose(guess.cell, truth.field("cell"), atol=1e-3)
    losses = process.losses(guess, truth, noisy, clocks)
    assert set(losses) == set(FIELDS) and process.total(losses).max() < 1e-4
    with pytest.raises(ValueError, match=r"set Prediction\.tangent"):
        denoiser(lambda *_: Prediction(), process)(noisy, clocks)
