"""The loop: given parts keep every bit, padding stays empty, the same seed gives the same molecules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.sampler import Step, sample
from moldiff.diffusion.tasks import GIVEN_FIELDS, given_atoms, given_fields
from moldiff.state import Alphabet, State, centred

FIELDS = ("positions", "elements", "charges", "bonds")
QUICK = SamplerConfig(steps=12)
SIZES = (6, 2, 4, 1)


class Toy:
    """A denoiser of some structure that keeps a record of what it was asked."""

    def __init__(self, alphabets: dict[str, Alphabet]) -> None:
        self.sizes = {name: len(alphabet) for name, alphabet in alphabets.items()}
        self.calls: list[tuple[State, Clocks, Condition | None, Prediction | None]] = []

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        self.calls.append((state, clocks, condition, previous))
        x = state.field("positions")
        near = torch.tanh(torch.cdist(x, x))

        def logits(value: Tensor, name: str) -> Tensor:
            return torch.stack([torch.cos(k + value) for k in range(self.sizes[name])], -1)

        return Prediction(
            positions=centred(torch.tanh(x), state.mask),
            elements=logits(near.sum(-1), "elements"),
            charges=logits(near.mean(-1), "charges"),
            bonds=logits(0.5 * (near + near.transpose(1, 2)), "bonds"),
        )


@pytest.fixture
def toy(alphabets: dict[str, Alphabet]) -> Toy:
    return Toy(alphabets)


@pytest.fixture
def process(alphabets: dict[str, Alphabet]) -> JointProcess:
    return JointProcess.for_molecules(DiffusionConfig(), alphabets, sampler=QUICK)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bits(value: Tensor) -> bytes:
    return value.contiguous().numpy().tobytes()


def given_of(task: str, state: State) -> dict[str, Tensor]:
    if task != "completion":
        return given_fields(state, GIVEN_FIELDS[task])
    atoms = torch.zeros_like(state.mask)
    atoms[0, 1:4] = atoms[1, 0] = True
    return given_atoms(state, atoms)


@pytest.mark.parametrize("task", list(GIVEN_FIELDS))
def test_given_parts_keep_every_bit_and_the_rest_is_made(
    task: str, toy: Toy, process: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet]
) -> None:
    start = clean(SIZES)
    given = given_of(task, start)
    positions = centred(start.field("positions"), start.mask, given.get("positions"))
    positions[0, 2, 2] = -0.0  # a planar molecule: the sign of a zero is a bit, too
    start = start.replace(positions=positions)
    kept = start.clone()
    drawn = sample(toy, process, state=start, generator=seeded(), config=QUICK, given=given)
    drawn.check(alphabets)
    for name in FIELDS:
        mask = given.get(name, torch.zeros_like(start.entries(name)))
        assert bits(drawn.field(name)[mask]) == bits(kept.field(name)[mask]), name
        assert bits(start.field(name)) == bits(kept.field(name)), name  # the input is not written to
        free = start.entries(name) & ~mask
        if free.any():
            assert not torch.equal(drawn.field(name)[free], start.field(name)[free]), name
        assert (drawn.field(name)[~start.entries(name)] == 0).all() or name == "positions"
        if name != "positions":
            assert (drawn.field(name) < len(alphabets[name])).all()  # nothing stays hidden
    assert (drawn.field("positions")[~start.mask] == 0).all()


@pytest.mark.parametrize("task", list(GIVEN_FIELDS))
def test_clocks_of_whole_given_fields_stand_at_zero(
    task: str, toy: Toy, process: JointProcess, clean: Callable[..., State]
) -> None:
    start = clean((6, 4))
    sample(toy, process, state=start, generator=seeded(), config=QUICK, given=given_of(task, start))
    assert len(toy.calls) == QUICK.steps  # one evaluation a step
    before = torch.ones(())
    for number, (state, clocks, _, previous) in enumerate(toy.calls):
        for name in FIELDS:
            whole = name in GIVEN_FIELDS[task]
            assert (clocks.time(name, state) > 0).all() != whole
            assert bool(clocks.is_given(name, state).any()) == (whole or task == "completion")
        assert (previous is None) == (number == 0)
        if task != "conformer":
            now = clocks.time("charges", state).max()
            assert now < before or number == 0
            before = now


def test_the_seed_decides_everything(toy: Toy, process: JointProcess, clean: Callable[..., State]) -> None:
    start = clean(SIZES)
    first, again, other = (
        sample(toy, process, state=start, generator=seeded(seed), config=QUICK) for seed in (1, 1, 2)
    )
    for name in FIELDS:
        assert bits(first.field(name)) == bits(again.field(name))
        assert bits(first.field(name)) != bits(other.field(name))
    # values that are not given do not matter
    scrambled = start.replace(positions=start.positions + 100.0, elements=torch.zeros_like(start.elements))
    elsewhere = sample(toy, process, state=scrambled, generator=seeded(1), config=QUICK)
    assert all(bits(first.field(name)) == bits(elsewhere.field(name)) for name in FIELDS[1:])
    assert torch.equal(first.positions[start.mask], elsewhere.positions[start.mask])


def test_last_step_is_the_clean_guess(toy: Toy, process: JointProcess, clean: Callable[..., State]) -> None:
    seen: list[Step] = []
    churning = replace(QUICK, churn_from=0.0, churn_to=100.0)  # at every level
    drawn = sample(toy, process, state=clean(SIZES), generator=seeded(), config=churning, callback=seen.append)
    assert [step.number for step in seen] == list(range(12)) and seen[0].steps == 12
    assert seen[-1].state is drawn
    assert torch.allclose(drawn.positions, seen[-1].prediction.positions, atol=1e-6)
    for step in seen:
        for name in FIELDS:
            assert torch.equal(step.clocks.time(name, drawn), step.clocks.time("positions", drawn))
    assert (seen[-1].clocks.time("positions", drawn) == 0).all()
    # the last step has no churn: its denoiser was asked at the time where the step before ended
    asked = toy.calls[-1][1].time("positions", drawn)
    assert torch.equal(asked, seen[-2].clocks.time("positions", drawn))
    assert (toy.calls[-2][1].time("positions", drawn) > seen[-3].clocks.time("positions", drawn)).all()


def test_callback_may_exchange_state_clocks_and_prediction(
    toy: Toy, process: JointProcess, clean: Callable[..., State]
) -> None:
    start, order = clean((4, 4, 4)), torch.tensor([2, 2, 0])

    def resample(step: Step) -> Step | None:
        if step.number != 5:
            return None
        return step._replace(
            state=step.state.index(order), clocks=step.clocks.index(order), prediction=step.prediction.index(order)
        )

    plain = sample(toy, process, state=start, generator=seeded(), config=QUICK)
    toy.calls.clear()
    changed = sample(toy, process, state=start, generator=seeded(), config=QUICK, callback=resample)
    assert not torch.equal(plain.positions, changed.positions)
    previous = toy.calls[6][3]
    assert previous is not None and torch.equal(previous.positions[0], previous.positions[1])

    def finish(step: Step) -> Step | None:
        return step._replace(state=plain) if step.number == 11 else None

    assert sample(toy, process, state=start, generator=seeded(3), config=QUICK, callback=finish) is plain


def test_condition_reaches_the_denoiser_and_no_gradient_is_kept(
    toy: Toy, process: JointProcess, clean: Callable[..., State]
) -> None:
    condition = Condition(torch.ones(4, 2), torch.ones(4, 2).bool())
    start = clean(SIZES)
    leaf = start.replace(positions=start.positions.requires_grad_())
    drawn = sample(toy, process, state=leaf, generator=seeded(), config=QUICK, condition=condition)
    assert all(call[2] is condition for call in toy.calls)
    assert not drawn.positions.requires_grad


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("remask", [0.0, 200.0])
def test_few_steps_leave_nothing_hidden(
    steps: int, remask: float, toy: Toy, clean: Callable[..., State], alphabets: dict[str, Alphabet]
) -> None:
    config = replace(QUICK, steps=steps, remask=remask)
    process = JointProcess.for_molecules(DiffusionConfig(), alphabets, sampler=config)
    drawn = sample(toy, process, state=clean(SIZES), generator=seeded(), config=config).check(alphabets)
    for name in FIELDS[1:]:
        assert (drawn.field(name) < len(alphabets[name])).all()
    assert drawn.positions.abs().max() < 2


REDRAW = replace(QUICK, redraw=2, churn_from=0.0, churn_to=100.0, order=2)


def test_bonds_and_charges_are_drawn_anew_on_what_is_finished(
    toy: Toy, process: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet]
) -> None:
    seen: list[Step] = []
    drawn = sample(toy, process, state=clean(SIZES), generator=seeded(), config=REDRAW, callback=seen.append)
    drawn.check(alphabets)
    assert len(toy.calls) == 12 and [step.number for step in seen] == list(range(12))
    before = seen[9].state
    assert (before.field("bonds") < len(alphabets["bonds"])).all()  # finished once already
    assert torch.equal(drawn.positions, before.positions) and torch.equal(drawn.elements, before.elements)
    for number, share in ((10, 0.0), (11, 0.5)):
        state, clocks, _, previous = toy.calls[number]
        assert (previous is None) == (number == 10)  # the guess of before would give the old bonds away
        for name in ("positions", "elements"):
            assert (clocks.time(name, state) == 0).all()
            assert torch.equal(clocks.is_given(name, state), state.entries(name))
        for name in ("charges", "bonds"):
            window = getattr(DiffusionConfig(), name)
            there = window.end - share * (window.end - window.begin)
            assert (
                torch.allclose(clocks.time(name, state), torch.tensor(there)) and not clocks.is_given(name, state).any()
            )
    hidden = toy.calls[10][0].field("bonds")
    assert (hidden[drawn.pair_mask] == len(alphabets["bonds"])).all()


@pytest.mark.parametrize(("task", "anew"), [("completion", 2), ("conformer", 0), ("perception", 0), ("decoration", 0)])
def test_what_is_given_is_not_drawn_anew(
    task: str, anew: int, toy: Toy, process: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet]
) -> None:
    start = clean(SIZES)
    given = given_of(task, start)
    start = start.replace(positions=centred(start.field("positions"), start.mask, given.get("positions")))
    drawn = sample(toy, process, state=start, generator=seeded(), config=REDRAW, given=given).check(alphabets)
    assert len(toy.calls) == 12
    for name, mask in given.items():
        assert bits(drawn.field(name)[mask]) == bits(start.field(name)[mask]), name
    kept = given_fields(start, ("positions", "elements"))
    finished = [all(torch.equal(call[1].is_given(n, start), m) for n, m in kept.items()) for call in toy.calls]
    assert sum(finished) == (12 if task == "perception" else anew)


@pytest.mark.parametrize(("steps", "anew"), [(4, 0), (5, 1), (50, 2)])
def test_few_steps_are_not_spent_on_drawing_anew(
    steps: int, anew: int, toy: Toy, process: JointProcess, clean: Callable[..., State]
) -> None:
    sample(toy, process, state=clean(SIZES), generator=seeded(), config=replace(REDRAW, steps=steps))
    assert len(toy.calls) == steps
    assert sum(bool((call[1].time("positions", call[0]) == 0).all()) for call in toy.calls) == anew


def test_fields_without_a_process_pass_through(toy: Toy, process: JointProcess, clean: Callable[..., State]) -> None:
    start, only = clean(SIZES), JointProcess([process.processes["positions"]])
    drawn = sample(toy, only, state=start, generator=seeded(), config=QUICK)
    for name in FIELDS[1:]:
        assert torch.equal(drawn.field(name), start.field(name))
