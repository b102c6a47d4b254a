from __future__ import annotations

import dataclasses

import pytest
import torch
from e3nn import o3

from moldiff.config import NetworkConfig
from moldiff.networks.layers import SOFTENING, Block, LogRadial, VectorLinear, directions, lengths, linear, vector_norm


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (8, 5), (3, 16)])
def test_vector_linear_is_the_linear_map_of_e3nn(n_in: int, n_out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn((4, 7, 3, n_in), generator=generator)
    ours = VectorLinear(n_in, n_out)
    theirs = o3.Linear(f"{n_in}x1o", f"{n_out}x1o")
    with torch.no_grad():  # e3nn divides by the root of the number of channels that are summed
        theirs.weight.copy_((ours.mix.weight.T * n_in**0.5).flatten())
        expected = theirs(v.transpose(-1, -2).flatten(-2))
        found = ours(v).transpose(-1, -2).flatten(-2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_directions_are_the_spherical_harmonics_of_e3nn() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn((2, 5, 3), generator=generator, dtype=torch.float64)
    unit, squared = directions(x)
    difference = x[:, :, None] - x[:, None]
    distance = difference.norm(dim=-1)
    assert torch.allclose(squared, distance**2)
    apart = ~torch.eye(5, dtype=torch.bool).expand(2, 5, 5)
    exact = o3.spherical_harmonics(1, difference[apart], normalize=True, normalization="norm")
    softened = exact * (distance / (distance**2 + SOFTENING).sqrt())[apart][:, None]
    assert torch.allclose(unit[apart], softened, atol=1e-12)
    assert (unit[~apart] == 0).all()  # coinciding atoms have no direction, and no NaN
    assert torch.equal(unit, -unit.transpose(1, 2))


def test_log_radial_tells_distances_apart_at_every_scale() -> None:
    radial = LogRadial(0.4, 400.0, 40)
    distance = torch.logspace(-0.4, 2.6, 60)
    basis = radial(distance**2)
    assert basis.shape == (60, 40) and (basis >= 0).all() and (basis <= 1).all()
    assert (basis.max(1).values > 0.85).all()  # some function is near its centre
    assert ((basis[1:] - basis[:-1]).abs().max(1).values > 0.1).all()
    assert torch.isfinite(radial(torch.zeros(1))).all()


def test_log_radial_stays_among_the_normal_numbers() -> None:
    radial = LogRadial(0.4, 20.0, 20)
    squared = torch.logspace(-8, 6, 400)
    values = radial(squared)
    assert values.min() >= torch.finfo(torch.float32).tiny
    # nothing that float32 could see beside 1 is changed
    y = 0.5 * torch.log(squared + 1e-4)
    plain = torch.exp(-0.5 * ((y[:, None] - radial.centres) * radial.sharpness) ** 2)
    torch.testing.assert_close(values, plain, rtol=1e-5, atol=1e-34)


def test_vector_norm_and_lengths_are_invariant_and_finite_at_zero() -> None:
    v = torch.randn((2, 4, 3, 6), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(vector_norm(v).pow(2).sum(-2).mean(-1), torch.ones(2, 4), atol=1e-3)
    turn = o3.angles_to_matrix(torch.tensor(0.3), torch.tensor(1.0), torch.tensor(2.0))
    turned = torch.einsum("ij,abjv->abiv", turn, v)
    assert torch.allclose(lengths(turned), lengths(v), atol=1e-5)
    zero = torch.zeros((1, 3, 2), requires_grad=True)
    (vector_norm(zero).sum() + lengths(zero).sum()).backward()
    assert torch.isfinite(zero.grad).all()


def test_linear_starts_at_zero_where_asked() -> None:
    layer = linear(3, 2, zero=True)
    assert (layer.weight == 0).all() and (layer.bias == 0).all()
    assert linear(3, 2, bias=False).bias is None


def test_channels_must_fit_the_heads(tiny: NetworkConfig) -> None:
    with pytest.raises(ValueError, match="scalars 32 and vectors 6 must be multiples of heads 4"):
        Block(dataclasses.replace(tiny, vectors=6))
