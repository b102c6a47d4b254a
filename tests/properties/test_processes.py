"""What holds for every process at every clock: given parts stay, padding stays, symbols and cells stay possible."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ALPHABETS, crystals, molecules, seeds, sizes

from moldiff.config import DiffusionConfig, LatticeConfig, SamplerConfig
from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.tasks import given_atoms
from moldiff.state import State

times = st.floats(0.0, 1.0, allow_nan=False, width=32)


def settled(sizes: list[int], seed: int, *, crystal: bool) -> tuple[State, JointProcess, Clocks, torch.Generator]:
    """A State, its process, clocks with some atoms given, and random numbers."""
    sampler = SamplerConfig(remask=10.0)
    generator = torch.Generator().manual_seed(seed)
    if crystal:
        state = crystals(sizes, seed)
        config = DiffusionConfig.for_crystals(LatticeConfig())
        process = JointProcess.for_crystals(config, ALPHABETS, sampler=sampler)
        atoms = (torch.rand(state.mask.shape, generator=generator) < 0.4) & state.mask
        held = {"fractional": atoms, "elements": atoms}
    else:
        state = molecules(sizes, seed)
        process = JointProcess.for_molecules(DiffusionConfig(), ALPHABETS, sampler=sampler)
        atoms = (torch.rand(state.mask.shape, generator=generator) < 0.4) & state.mask
        held = given_atoms(state, atoms)
    return state, process, Clocks.shared(state, 1.0, given=held), generator


def check(state: State, before: State, clocks: Clocks) -> None:
    """Given entries and padding are as they were, symbols within their alphabet, everything finite and symmetric."""
    for name in state.present:
        value, truth = state.field(name), before.field(name)
        kept = clocks.is_given(name, state) | ~state.entries(name)
        assert torch.equal(value[kept], truth[kept]), name
        if name in ALPHABETS:
            assert int(value.min()) >= 0
            assert int(value.max()) <= ALPHABETS[name].hidden
        else:
            assert torch.isfinite(value).all(), name
    if state.bonds is not None:
        assert torch.equal(state.bonds, state.bonds.transpose(1, 2))
    if state.fractional is not None:
        assert float(state.fractional.min()) >= 0
        assert float(state.fractional.max()) < 1


def guess(state: State, process: JointProcess, clocks: Clocks, generator: torch.Generator) -> Prediction:
    """A prediction of a network that knows nothing, at the right shapes."""
    b, n = state.mask.shape
    pairs = torch.randn(b, n, n, 5, generator=generator)
    logits = torch.randn(b, n, 4, generator=generator)
    if state.fractional is not None:
        tangent = torch.randn(b, n, 3, generator=generator)
        invariants = torch.randn(b, 6, generator=generator)
        return Prediction(elements=logits, tangent=tangent, invariants=invariants, cell=state.cell)
    return Prediction(
        positions=torch.randn(b, n, 3, generator=generator),
        elements=logits,
        charges=torch.randn(b, n, 3, generator=generator),
        bonds=pairs + pairs.transpose(1, 2),
    )


@given(sizes, seeds, times, times, st.booleans())
def test_every_verb(many: list[int], seed: int, one: float, other: float, crystal: bool) -> None:
    state, process, clocks, generator = settled(many, seed, crystal=crystal)
    check(process.prior(state, clocks, generator=generator), state, clocks)
    early, late = sorted((one, other))
    at = Clocks.shared(state, late, given=clocks.given)
    noisy = process.corrupt(state, at, generator=generator)
    check(noisy, state, clocks)
    prediction = guess(noisy, process, at, generator)
    losses = process.losses(prediction, state, noisy, at)
    for name, loss in losses.items():
        assert loss.shape == (len(state),)
        assert torch.isfinite(loss).all(), name
        assert (loss >= 0).all(), name
    after = Clocks.shared(state, early, given=clocks.given)
    check(process.step(noisy, prediction, at, after, generator=generator), state, clocks)


@given(sizes, seeds, st.booleans())
def test_clock_zero_is_data(many: list[int], seed: int, crystal: bool) -> None:
    state, process, clocks, generator = settled(many, seed, crystal=crystal)
    still = Clocks.shared(state, 0.0, given=clocks.given)
    same = process.corrupt(state, still, generator=generator)
    for name in state.present:
        assert torch.allclose(same.field(name), state.field(name), atol=1e-3), name
    noisy = process.prior(state, clocks, generator=generator)
    done = process.step(noisy, guess(noisy, process, clocks, generator), clocks, still, generator=generator)
    for name in ("elements", "charges", "bonds"):
        if name in state.present:
            assert int(done.field(name).max()) < len(ALPHABETS[name]), "nothing stays hidden"


@given(sizes, seeds, st.booleans())
def test_the_same_seed_gives_the_same_noise(many: list[int], seed: int, crystal: bool) -> None:
    state, process, clocks, _ = settled(many, seed, crystal=crystal)
    one, other = (process.prior(state, clocks, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert all(torch.equal(one.field(name), other.field(name)) for name in state.present)
