from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from moldiff.config import CategoricalConfig, DiffusionConfig, GaussianConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.joint import JointProcess, denoiser, overwrite_given
from moldiff.diffusion.tasks import given_atoms
from moldiff.state import Alphabet, State, centred

ZERO = {"positions": 0.0, "elements": 0.0, "charges": 0.0, "bonds": 0.0}


@pytest.fixture
def joint(alphabets: dict[str, Alphabet]) -> JointProcess:
    return JointProcess.for_molecules(DiffusionConfig(), alphabets)


def at(state: State, **times: float) -> Clocks:
    return Clocks({name: torch.full((len(state),), t) for name, t in {**ZERO, **times}.items()})


def random_logits(state: State, alphabets: dict[str, Alphabet], generator: torch.Generator) -> Prediction:
    bonds = torch.randn((*state.bonds.shape, len(alphabets["bonds"])), generator=generator)
    return Prediction(
        positions=centred(torch.randn(state.positions.shape, generator=generator), state.mask),
        elements=torch.randn((*state.mask.shape, len(alphabets["elements"])), generator=generator),
        charges=torch.randn((*state.mask.shape, len(alphabets["charges"])), generator=generator),
        bonds=bonds + bonds.transpose(1, 2),
    )


def test_every_field_has_its_own_clock(
    joint: JointProcess, clean: Callable[..., State], generator: torch.Generator
) -> None:
    state = clean((8, 5))
    for name in ZERO:
        noisy = joint.corrupt(state, at(state, **{name: 1.0}), generator=generator)
        for other in ZERO:
            assert torch.equal(noisy.field(other), state.field(other)) == (other != name)
    still = joint.corrupt(state, at(state), generator=generator)
    for name in ZERO:
        assert torch.equal(still.field(name), state.field(name))


def test_configuration_reaches_the_processes(alphabets: dict[str, Alphabet]) -> None:
    config = DiffusionConfig(positions=GaussianConfig(largest=40.0), bonds=CategoricalConfig(0.1, 0.9))
    shares = (0.7,) + (0.3 / (len(alphabets["bonds"]) - 2),) * (len(alphabets["bonds"]) - 2)
    sampler = SamplerConfig(remask=7.0, temperature=0.9, cooled=0.9, bond_shares=shares)
    joint = JointProcess.for_molecules(config, alphabets, sampler=sampler)
    bonds, positions = joint.processes["bonds"], joint.processes["positions"]
    assert isinstance(bonds, CategoricalProcess) and isinstance(positions, GaussianProcess)
    assert (bonds.config.begin, bonds.remask, bonds.temperature) == (0.1, 7.0, 0.9)
    flat = torch.zeros(len(alphabets["bonds"]))
    tempered = bonds.tempered(flat)
    assert tempered[0] == tempered[1] < tempered[2]
    elements = joint.processes["elements"]
    assert isinstance(elements, CategoricalProcess) and elements.tempered(flat[:3]).tolist() == [0.0, 0.0, 0.0]
    assert positions.config.largest == 40.0
    plain = JointProcess.for_molecules(config, alphabets).processes["bonds"]
    assert isinstance(plain, CategoricalProcess) and (plain.remask, plain.temperature) == (0.0, 1.0)


def test_losses_are_weighted_by_field(
    joint: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    state = clean((6, 4))
    clocks = at(state, positions=0.5, elements=0.6, charges=0.6, bonds=0.6)
    noisy = joint.corrupt(state, clocks, generator=generator)
    prediction = random_logits(state, alphabets, generator)
    losses = joint.losses(prediction, state, noisy, clocks)
    assert set(losses) == set(ZERO) and all(loss.shape == (2,) and (loss >= 0).all() for loss in losses.values())
    expected = sum(joint.weights[name] * losses[name] for name in ZERO)
    assert torch.allclose(joint.total(losses), expected)
    assert torch.equal(joint.total({"new": losses["bonds"]}), losses["bonds"])  # weight 1 where none is named


def test_no_nan_where_everything_is_given_or_clean(
    joint: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    state = clean((5, 3))
    given = {name: state.entries(name) for name in ZERO}
    for clocks in (at(state), Clocks.shared(state, 0.5, given=given), Clocks({}, given)):
        noisy = joint.corrupt(state, clocks, generator=generator)
        prediction = random_logits(state, alphabets, generator).map(torch.Tensor.requires_grad_)
        total = joint.total(joint.losses(prediction, state, noisy, clocks))
        assert (total == 0).all()
        total.sum().backward()
        for name in ZERO:
            grad = getattr(prediction, name).grad
            assert grad is None or (grad == 0).all()


def test_churn_moves_the_clock_of_the_positions_to_the_new_noise(
    joint: JointProcess, generator: torch.Generator
) -> None:
    count, sampler = 3000, SamplerConfig(churn=0.4)
    state = State(mask=torch.ones((count, 4), dtype=torch.bool), positions=torch.zeros((count, 4, 3)))
    state = state.replace(elements=state.mask.long(), charges=state.mask.long())
    state = state.replace(bonds=state.pair_mask.long())
    process = joint.processes["positions"]
    assert isinstance(process, GaussianProcess)
    deviation = float(process.deviation(state)[0])
    for level, churned in ((0.02, False), (0.031, True), (1.0, True), (2.9, True), (3.1, False)):
        t = float(torch.log(torch.tensor(level / 0.001)) / torch.log(torch.tensor(80 / 0.001)))
        clocks = at(state, positions=t, elements=0.5)
        noisy, after = joint.churn(state, clocks, sampler, generator=generator)
        raised = float(process.level(after.time("positions", state), state)[0]) / deviation
        assert raised == pytest.approx(level * (1.4 if churned else 1.0), rel=1e-4)
        variance = float(noisy.field("positions").var()) / (0.75 * deviation**2)
        assert variance == pytest.approx((1.4**2 - 1) * level**2 if churned else 0.0, rel=0.04, abs=1e-9)
        assert torch.equal(after.time("elements", state), clocks.time("elements", state))
        assert torch.equal(noisy.field("elements"), state.field("elements"))
    same, clocks = joint.churn(state, at(state, positions=0.5), SamplerConfig(churn=0.0), generator=generator)
    assert same is state


def test_only_one_process_a_field(alphabets: dict[str, Alphabet]) -> None:
    twice = [CategoricalProcess("bonds", alphabets["bonds"]) for _ in range(2)]
    with pytest.raises(ValueError, match="two processes for one field"):
        JointProcess(twice)


def test_guesses_of_given_symbols_are_the_truth(
    clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    state = clean((5, 4))
    atoms = torch.zeros_like(state.mask)
    atoms[0, :3] = True
    clocks = Clocks.shared(state, 0.5, given=given_atoms(state, atoms))
    before = random_logits(state, alphabets, generator)
    after = overwrite_given(before, state, clocks)
    for name in ("elements", "charges", "bonds"):
        chosen, logits = clocks.is_given(name, state), getattr(after, name)
        assert chosen.any()
        assert torch.equal(logits[chosen].argmax(-1), state.field(name)[chosen])
        assert (logits[chosen].softmax(-1).amax(-1) > 0.999999).all()
        assert torch.equal(logits[~chosen], getattr(before, name)[~chosen])
    assert overwrite_given(before, state, Clocks.shared(state, 0.5)) is before
    assert overwrite_given(Prediction(), state, clocks) == Prediction()


def test_denoiser_applies_the_preconditioning(
    joint: JointProcess, clean: Callable[..., State], alphabets: dict[str, Alphabet], generator: torch.Generator
) -> None:
    state, told = clean((5, 4)), {}
    raw = random_logits(state, alphabets, generator)

    def network(
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        told.update(condition=condition, previous=previous, scales=preconditioning)
        return raw

    clocks = at(state, positions=0.6)
    condition = Condition(torch.zeros(2, 1), torch.zeros(2, 1).bool())
    found = denoiser(network, joint)(state, clocks, condition, raw)
    assert told["condition"] is condition and told["previous"] is raw
    scales = told["scales"]
    expected = centred(scales.skip * state.positions + scales.out * raw.positions, state.mask)
    assert torch.allclose(found.positions, expected, atol=1e-5)
    assert torch.equal(found.bonds, raw.bonds)
    # at clock 0 the network cannot change anything, however wild
    raw = Prediction(positions=torch.full((2, 5, 3), 1e6))
    assert torch.allclose(denoiser(network, joint)(state, at(state)).positions, state.positions, atol=1e-5)
    raw = Prediction()
    with pytest.raises(ValueError, match=r"set Prediction\.positions"):
        denoiser(network, joint)(state, clocks)
    with pytest.raises(ValueError, match="pass a GaussianProcess"):
        denoiser(network, JointProcess([CategoricalProcess("bonds", alphabets["bonds"])]))
