"""The reference networks of the cost comparison: equivariant, blind to padding, of the published size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import reference_egnn
import reference_semla
import torch
from reference_egnn import Egnn
from reference_semla import Semla
from torch import Tensor, nn

MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
Call = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def stirred(network: nn.Module) -> nn.Module:
    """No weight zero or tiny, which would hide mistakes; double precision."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return network.double()


def egnn(rearranged: bool = False) -> Call:
    network = stirred(Egnn(features=4, hidden=16, blocks=2, rearranged=rearranged))
    features = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2)).double()
    return lambda x, mask: network(x, features[-len(mask) :, : mask.shape[1]], mask)


def semla(rearranged: bool = False) -> Call:
    sizes = {"width": 16, "sets": 4, "blocks": 3, "heads": 4, "latent": 8, "edges": 8}
    network = stirred(Semla(elements=3, bonds=5, rearranged=rearranged, **sizes))
    generator = torch.Generator().manual_seed(2)
    elements = torch.randint(3, (2, 5), generator=generator)
    bonds = torch.randint(5, (2, 5, 5), generator=generator)
    t = torch.tensor([0.2, 0.7]).double()
    shares = [torch.rand(*shape, generator=generator).double() for shape in ((2, 5, 3), (2, 5, 5, 5))]

    def call(x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        rows, n = slice(2 - len(mask), 2), mask.shape[1]
        # the previous guess turns with the structure
        guess = (x * (1 + x.square().sum(-1, keepdim=True)), shares[0][rows, :n], shares[1][rows, :n, :n])
        return network(x, elements[rows, :n], bonds[rows, :n, :n], t[rows], mask, guess)

    return call


@pytest.mark.parametrize("make", [egnn, semla])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_coordinates_turn_and_all_else_stays(make: Callable[[], Call], sign: float) -> None:
    call = make()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 5, 3, generator=generator).double() * MASK.unsqueeze(-1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator).double())[0]
    turn = turn * (sign * torch.linalg.det(turn))
    before, after = call(x, MASK), call(x @ turn, MASK)
    real = MASK.unsqueeze(-1)
    assert before[0][MASK].abs().max() > 1e-3
    torch.testing.assert_close(torch.where(real, after[0], 0), torch.where(real, before[0] @ turn, 0))
    for one, two in zip(before[1:], after[1:], strict=True):
        torch.testing.assert_close(one[0], two[0])
        torch.testing.assert_close(one[1, :3], two[1, :3])


@pytest.mark.parametrize("make", [egnn, semla])
def test_padding_changes_nothing(make: Callable[[], Call]) -> None:
    call = make()
    x = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(3)).double()
    x[:, 3:] = 0
    padded, alone = call(x, MASK[1:]), call(x[:, :3], MASK[1:, :3])
    for one, two in zip(padded, alone, strict=True):
        torch.testing.assert_close(one[:, :3, :3] if one.ndim == 4 else one[:, :3], two)


@pytest.mark.parametrize("make", [egnn, semla])
def test_rearranged_is_the_same_function(make: Callable[..., Call]) -> None:
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3)).double() * MASK.unsqueeze(-1)
    for one, two in zip(make()(x, MASK), make(rearranged=True)(x, MASK), strict=True):
        torch.testing.assert_close(one, two)


def test_published_sizes() -> None:
    def count(network: nn.Module) -> float:
        return sum(weight.numel() for weight in network.parameters()) / 1e6

    assert count(Egnn()) == pytest.approx(5.3, abs=0.4)
    assert count(Semla()) == pytest.approx(22, abs=3)


def test_short_samples_are_finite_and_repeat() -> None:
    torch.manual_seed(0)
    small = Egnn(features=4, hidden=16, blocks=2)
    first = reference_egnn.sample(small, MASK, steps=3)
    assert torch.isfinite(first).all() and torch.equal(first, reference_egnn.sample(small, MASK, steps=3))
    flow = Semla(elements=3, width=16, sets=4, blocks=3, heads=4, latent=8, edges=8)
    found = reference_semla.sample(flow, MASK, steps=3)
    assert torch.isfinite(found).all() and torch.equal(found, reference_semla.sample(flow, MASK, steps=3))
