"""Periodic geometry against brute force, and what a crystal network must not see."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from e3nn import o3
from torch import Tensor

from moldiff.config import NetworkConfig
from moldiff.denoiser import Clocks, Condition, CrystalPreconditioning, Prediction
from moldiff.networks.layers import SOFTENING
from moldiff.networks.periodic import (
    CUTOFF,
    ImageSum,
    PeriodicFrame,
    inverse_cell,
    nearest_distances,
    shifts,
    wrapped_differences,
)
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State

SHIFTS = torch.tensor(list(itertools.product(range(-3, 4), repeat=3)), dtype=torch.float64)


def skewed(count: int, *, length: float = 4.0, seed: int = 0) -> Tensor:
    """Cells with angles between about 60 and 120 degrees."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.eye(3, dtype=torch.float64) + 0.35 * (torch.rand((count, 3, 3), generator=generator).double() - 0.5)
    cells[:, 1, 0] += 0.45
    return length * cells


def brute(fractional: Tensor, cell: Tensor) -> Tensor:
    """Distances (B, N, N, 343) to the images within three cells."""
    difference = fractional[:, :, None, None] - fractional[:, None, :, None] + SHIFTS
    return (difference @ cell[:, None, None]).norm(dim=-1)


def crystals(count: int, n: int, *, seed: int = 0, length: float = 4.0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return State(
        mask=torch.ones(count, n, dtype=torch.bool),
        elements=torch.randint(0, 4, (count, n), generator=generator),
        fractional=torch.rand((count, n, 3), generator=generator, dtype=torch.float64),
        cell=skewed(count, length=length, seed=seed),
    )


def test_shifts_come_in_opposite_pairs() -> None:
    near = shifts(1)
    assert near.shape == (27, 3) and (near[0] == 0).all() and torch.equal(near[1::2], -near[2::2])
    assert len({tuple(row.tolist()) for row in shifts(2)}) == 125


def test_inverse_of_a_cell() -> None:
    cell = skewed(20)
    assert torch.allclose(inverse_cell(cell), torch.linalg.inv(cell))


def test_nearest_distances_agree_with_brute_force_on_skewed_cells() -> None:
    state = crystals(50, 5)
    every = brute(state.fractional, state.cell)
    every = torch.where(every < 1e-9, math.inf, every)
    assert torch.allclose(nearest_distances(state.fractional, state.cell), every.amin(-1))


def test_frames_look_along_the_nearest_image() -> None:
    state = crystals(50, 5)
    zero = torch.zeros(50, 1, 1, dtype=torch.float64)
    frame = PeriodicFrame.of(state.fractional, zero, state.cell, shifts(1))
    unit, squared = frame.look(torch.zeros_like(state.fractional))
    every = brute(state.fractional, state.cell)
    near, rest = every.topk(2, largest=False).values.unbind(-1)
    alone = rest**2 - near**2 > 8  # elsewhere the average over images counts
    assert alone.float().mean() > 0.3
    assert torch.allclose(squared[alone], near[alone] ** 2, atol=1e-3)
    apart = ~torch.eye(5, dtype=torch.bool) & alone
    softened = near / (near**2 + SOFTENING).sqrt()
    assert (unit[apart].norm(dim=-1) - softened[apart]).abs().max() < 0.01
    assert torch.allclose(unit, -unit.transpose(1, 2), atol=1e-9)


def test_directions_do_not_jump_where_another_image_becomes_nearest() -> None:
    cell = 5 * torch.eye(3, dtype=torch.float64)[None]
    at = torch.linspace(0.45, 0.55, 201, dtype=torch.float64)
    fractional = torch.zeros(201, 2, 3, dtype=torch.float64)
    fractional[:, 1, 0] = at
    zero = torch.zeros(201, 1, 1, dtype=torch.float64)
    frame = PeriodicFrame.of(fractional, zero, cell.expand(201, 3, 3), shifts(1))
    unit, squared = frame.look(torch.zeros_like(fractional))
    assert unit[:, 0, 1].diff(dim=0).abs().max() < 0.05 and squared[:, 0, 1].diff().abs().max() < 0.2
    assert unit[100, 0, 1].abs().max() < 1e-6  # the two images at the same distance cancel


def test_sums_over_images_agree_with_brute_force() -> None:
    state, module = crystals(20, 3, length=6.0), ImageSum(16)
    summed = module(wrapped_differences(state.fractional), state.cell)
    every = brute(state.fractional, state.cell)
    envelope = 0.5 + 0.5 * torch.cos(every.clamp_max(CUTOFF) * (math.pi / CUTOFF))
    expected = torch.where(every > 0.5, envelope, 0.0).sum(-1)
    assert (every[every > 1e-6] > 0.5).float().mean() > 0.99
    ours = summed.sum(-1)
    close = (every > 0.55).sum(-1) >= 342
    assert torch.allclose(ours[close], expected[close], rtol=2e-3)
    assert torch.allclose(summed, summed.transpose(1, 2), atol=1e-9)


def test_a_lone_atom_sees_its_own_images() -> None:
    module, cell = ImageSum(16), 3.0 * torch.eye(3)[None]
    summed = module(torch.zeros(1, 1, 1, 3), cell)
    assert summed.sum() > 1
    assert not torch.allclose(summed, module(torch.zeros(1, 1, 1, 3), 1.1 * cell))
    assert float(nearest_distances(torch.zeros(1, 1, 3), cell)) == pytest.approx(3.0)


@pytest.fixture
def elements() -> dict[str, Alphabet]:
    return {"elements": Alphabet(("Li", "O", "Na", "Cl"))}


@pytest.fixture
def make_crystal_trunk(tiny: NetworkConfig, elements: dict[str, Alphabet]) -> Callable[..., Trunk]:
    """A trunk for crystals in which no weight is zero."""

    def make(*, classes: tuple[int, ...] = (0, 230)) -> Trunk:
        network = Trunk(tiny, elements, properties=len(classes), kind="crystal", classes=classes).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in network.parameters():
                scale = weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.3
                weight.copy_(scale * torch.randn(weight.shape, generator=generator))
        return network.eval()

    return make


def run(network: Trunk, state: State, *, guess: bool = True, condition: Condition | None = None) -> Prediction:
    b, generator = len(state), torch.Generator().manual_seed(5)
    known = torch.randn((b, 6), generator=generator).double()
    one = torch.ones(b, 1, dtype=torch.float64)
    preconditioning = CrystalPreconditioning(one, 0.5 * one, 0.5 * one, known)
    previous = None
    if guess:
        step = 0.05 * torch.randn((1, 1, 3), generator=generator).double()
        previous = Prediction(
            fractional=state.field("fractional") + step * torch.arange(state.size)[:, None],
            cell=state.field("cell") * 1.05,
            invariants=known,
            elements=torch.zeros(*state.mask.shape, 4, dtype=torch.float64),
        )
    with torch.no_grad():
        return network(state, Clocks.shared(state, 0.6), condition, previous, preconditioning)


def same(one: Prediction, other: Prediction, *, atol: float = 1e-7) -> None:
    for name in ("tangent", "elements", "invariants", "properties"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=atol), name


@pytest.mark.parametrize("guess", [False, True])
def test_images_translations_and_orientation_do_not_matter(
    make_crystal_trunk: Callable[..., Trunk], guess: bool
) -> None:
    network, state = make_crystal_trunk(), crystals(4, 5)
    plain = run(network, state, guess=guess)
    assert plain.tangent is not None and plain.tangent.abs().max() > 0.1
    generator = torch.Generator().manual_seed(1)
    jump = torch.randint(-3, 4, (4, 5, 3), generator=generator)
    same(run(network, state.replace(fractional=state.fractional + jump), guess=guess), plain)
    same(run(network, state.replace(fractional=state.fractional + torch.rand(4, 1, 3)), guess=guess), plain)
    turned = state.replace(cell=state.cell @ o3.rand_matrix(4).double())
    same(run(network, turned, guess=guess), plain, atol=1e-6)


def test_atoms_may_be_permuted(make_crystal_trunk: Callable[..., Trunk]) -> None:
    network, state, order = make_crystal_trunk(), crystals(4, 5), torch.tensor([3, 1, 4, 0, 2])
    plain = run(network, state, guess=False)
    moved = state.replace(fractional=state.fractional[:, order], elements=state.elements[:, order])
    other = run(network, moved, guess=False)
    assert torch.allclose(other.tangent, plain.tangent[:, order])
    assert torch.allclose(other.elements, plain.elements[:, order])
    assert torch.allclose(other.invariants, plain.invariants)


def test_padding_does_not_matter(make_crystal_trunk: Callable[..., Trunk]) -> None:
    network, state = make_crystal_trunk(), crystals(4, 5)
    plain, padded = run(network, state, guess=False), run(network, state.pad(7), guess=False)
    # up to the farthest images, of which fewer are searched in larger cells
    assert torch.allclose(padded.tangent[:, :5], plain.tangent, atol=1e-3) and (padded.tangent[:, 5:] == 0).all()
    assert torch.allclose(padded.invariants, plain.invariants, atol=1e-3)


def test_a_class_is_looked_up_and_numbers_are_standardised(make_crystal_trunk: Callable[..., Trunk]) -> None:
    network, state = make_crystal_trunk(), crystals(2, 3)

    def told(number: float, group: float, shown: bool = True) -> Tensor:
        values = torch.tensor([[number, group]] * 2, dtype=torch.float64)
        prediction = run(network, state, condition=Condition(values, torch.full((2, 2), shown)))
        assert prediction.elements is not None
        return prediction.elements

    assert torch.equal(told(0.0, 225.0, False), told(1.0, 1.0, False))
    assert not torch.allclose(told(0.0, 225.0), told(0.0, 224.0))
    assert not torch.allclose(told(0.0, 225.0), told(0.1, 225.0))
    with pytest.raises(ValueError, match="as many class counts"):
        Trunk(network.config, {"elements": Alphabet(("H",))}, properties=2, kind="crystal", classes=(0,))
