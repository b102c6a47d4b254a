"""The blocks of the equivariant graph transformer.

An atom carries scalars h (B, N, C) and vectors v (B, N, 3, V), irreps ``C x 0e + V x 1o``; a pair carries scalars
e (B, N, N, P). Geometry is float32 always; dense algebra follows autocast.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, cast, final

import torch
from e3nn import o3
from torch import Tensor, nn

from moldiff.config import NetworkConfig

#: Softening of unit directions, angstrom^2: keeps gradients finite where atoms coincide.
SOFTENING = 1e-2


@final
class VectorLinear(nn.Module):
    """Mix vector channels: (..., 3, V_in) -> (..., 3, V_out), the o3.Linear from V_in x 1o to V_out x 1o.

    The channel is the last axis, so that this is one matrix product. `e3nn.o3.Linear` computes the same (a test
    compares them), but its layout needs two transpositions and its generated code cannot be compiled once for all
    blocks.
    """

    def __init__(self, channels_in: int, channels_out: int, *, zero: bool = False) -> None:
        super().__init__()
        self.mix = linear(channels_in, channels_out, bias=False, zero=zero)

    def forward(self, v: Tensor) -> Tensor:
        """Mixed vectors."""
        mixed: Tensor = self.mix(v)
        return mixed


def linear(n_in: int, n_out: int, *, bias: bool = True, zero: bool = False) -> nn.Linear:
    """A scalar linear map, zero-initialised where it ends a residual branch."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    if zero:
        nn.init.zeros_(layer.weight)
        if bias:
            nn.init.zeros_(layer.bias)
    return layer


@final
class LogRadial(nn.Module):
    """Gaussians of the logarithm of a distance, centres log-spaced from `low` to `high` (angstrom).

    The spacing is fine where bonds are and still tells distances apart that noise has blown up.
    """

    def __init__(self, low: float, high: float, count: int) -> None:
        super().__init__()
        centres = torch.linspace(math.log(low), math.log(high), count)
        self.register_buffer("centres", centres, persistent=False)
        self.sharpness = float(1.0 / (centres[1] - centres[0]))

    def forward(self, squared: Tensor) -> Tensor:
        """Basis (..., count) of squared distances (...)."""
        y = 0.5 * torch.log(squared + 1e-4)
        z = (y.unsqueeze(-1) - cast(Tensor, self.centres).to(y.dtype)) * self.sharpness
        # below e^-80 the exponential would soon leave the normal numbers, where it takes ten times as long on a CPU
        return torch.exp((-0.5 * z * z).clamp_min(-80.0))


def directions(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Softened unit vectors (B, N, N, 3) from j to i and squared distances (B, N, N), float32 or better.

    The unit vectors are the l = 1 spherical harmonics of `e3nn.o3` in "norm" normalisation.
    """
    difference = positions[:, :, None] - positions[:, None, :]
    squared = (difference * difference).sum(-1)
    unit = difference * torch.rsqrt(squared + SOFTENING).unsqueeze(-1)
    return o3.spherical_harmonics(1, unit, normalize=False, normalization="norm"), squared


def vector_norm(v: Tensor) -> Tensor:
    """Vectors (..., 3, V) divided by their root mean square length over the channels of an atom."""
    square = v.float() if v.dtype in (torch.bfloat16, torch.float16) else v
    scale = torch.rsqrt(square.pow(2).sum(-2).mean(-1) + 1e-4)
    return v * scale[..., None, None]


def lengths(v: Tensor) -> Tensor:
    """Softened lengths (..., V) of vectors (..., 3, V)."""
    return torch.sqrt(v.pow(2).sum(-2) + 1e-6)


class Frame(Protocol):
    """Where the blocks see a structure: the geometry of the current guess, and how a displacement changes it."""

    def look(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Directions (B, N, N, 3) and squared distances (B, N, N) of the guess that belongs to u."""
        ...

    def move(self, displacement: Tensor) -> Tensor:
        """The change of u that an update of Cartesian displacements (B, N, 3) makes."""
        ...


class FreeFrame(NamedTuple):
    """The frame of molecules: the current clean guess is ``base + out * u``, (B, N, 3) and (B, N, 1)."""

    base: Tensor
    out: Tensor

    def look(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Directions and squared distances of the guess."""
        return directions(self.base + self.out * u)

    def move(self, displacement: Tensor) -> Tensor:
        """The displacement itself."""
        return displacement


class Atoms(NamedTuple):
    """The features that a block updates.

    Attributes:
        h: (B, N, C) scalars of atoms. v: (B, N, 3, V) vectors of atoms. e: (B, N, N, P) scalars of pairs.
        u: (B, N, 3) displacement so far (crystals: fractional velocity so far).
    """

    h: Tensor
    v: Tensor
    e: Tensor
    u: Tensor


@final
class Block(nn.Module):
    """Update pairs from both ends, attend, aggregate directions, feed forward, move the displacement.

    Args:
        config: sizes.
        periodic: whether atom scalars also move fractional coordinates, along the lattice vectors.
    """

    def __init__(self, config: NetworkConfig, *, periodic: bool = False) -> None:
        super().__init__()
        c, v, p, hidden = config.scalars, config.vectors, config.pairs, config.pair_hidden
        self.heads, self.products = config.heads, config.products
        if c % self.heads or v % self.heads:
            raise ValueError(f"scalars {c} and vectors {v} must be multiples of heads {self.heads}")
        self.modulation = linear(config.condition, 6 * c, zero=True)
        self.node_norm = nn.LayerNorm(c, elementwise_affine=False)
        self.feed_norm = nn.LayerNorm(c, elementwise_affine=False)
        self.pair_norm = nn.LayerNorm(p)
        self.radial = LogRadial(0.4, 20.0, config.radial)

        self.product_width = 8
        self.splits = (2 * self.products * self.product_width, 2 * hidden, c)
        self.from_nodes = linear(c, sum(self.splits))
        self.from_vectors = VectorLinear(v, 4 * self.products + v)
        self.pair_in = linear(p + config.radial + self.products, hidden, bias=False)
        self.pair_out = linear(hidden, p + self.heads + v)
        self.attended = linear(c + hidden + v, c)
        self.vectors_in = VectorLinear(3 * v, v)

        self.feed_vectors = VectorLinear(v, 2 * v)
        self.feed_in = linear(c + v, 2 * c)
        self.feed_out = linear(2 * c, c + v)
        self.vectors_out = VectorLinear(v, v)
        self.displace = VectorLinear(v, 1, zero=True)
        self.fraction = linear(c, 3, zero=True) if periodic else None
        self.c, self.v, self.p = c, v, p

    def multiply(self, query_key: Tensor, vq: Tensor, vk: Tensor) -> Tensor:
        """Low-rank products (B, N, N, products) of both ends: scalars and vectors in one batched matrix product.

        Args:
            query_key: (B, N, 2 * products * product_width) scalars of both ends.
            vq, vk: (B, N, 3, 2 * products) vectors of each end.
        """
        b, n, _ = query_key.shape
        prod, width = self.products, self.product_width
        q, k = query_key.chunk(2, -1)
        q = torch.cat([q.view(b, n, prod, width), vq.reshape(b, n, 6, prod).transpose(2, 3).to(q.dtype)], -1)
        k = torch.cat([k.view(b, n, prod, width), vk.reshape(b, n, 6, prod).transpose(2, 3).to(k.dtype)], -1)
        return torch.einsum("bihd,bjhd->bijh", q, k) / math.sqrt(width + 6)

    def forward(
        self, atoms: Atoms, frame: Frame, noisy: Tensor, condition: Tensor, weight: Tensor, bias: Tensor
    ) -> Atoms:
        """One block.

        Args:
            atoms: the features.
            frame: geometry of the current guess.
            noisy: (B, N, N, 3) directions of the noisy input.
            condition: (B, D) embedding of clocks and properties.
            weight: (B or 1, N, N) 1 / neighbours for pairs that count, else 0.
            bias: (B or 1, N, N) 0 for pairs that count, else a large negative number.
        """
        h, v, e, u = atoms
        b, n, _ = h.shape
        heads, prod = self.heads, self.products
        # the clocks reach the pairs through both ends: modulating the pairs, too, costs three passes over them
        s1, b1, g1, s2, b2, g2 = self.modulation(condition)[:, None].chunk(6, -1)

        unit, squared = frame.look(u)
        x = self.node_norm(h) * (1 + s1) + b1
        y = vector_norm(v)
        query_key, ends, values = self.from_nodes(x).split(self.splits, -1)
        mixed = self.from_vectors(y)
        vq, vk, vector_values = mixed.split((2 * prod, 2 * prod, self.v), -1)

        product = self.multiply(query_key, vq, vk)
        first, second = ends.chunk(2, -1)
        features = torch.cat([self.pair_norm(e).to(product.dtype), self.radial(squared).to(product.dtype), product], -1)
        # the product is added to the ends in one pass over the pairs
        base = first[:, :, None] + second[:, None, :]
        filled = torch.addmm(base.flatten(0, 2), features.flatten(0, 2), self.pair_in.weight.t())
        hidden = torch.nn.functional.silu(filled.view_as(base))
        update, logits, coefficient = self.pair_out(hidden).split((self.p, heads, self.v), -1)
        e = e + update

        # heads before atoms, as the softmax and the batched product want them
        wide = torch.promote_types(logits.dtype, torch.float32)
        attention = (logits.permute(0, 3, 1, 2).to(wide) + bias.unsqueeze(1)).softmax(-1).to(logits.dtype)
        by_head = vector_values.unflatten(-1, (heads, -1)).transpose(2, 3).flatten(3)
        value = torch.cat([values.view(b, n, heads, -1), by_head.to(values.dtype)], -1)
        gathered = torch.matmul(attention, value.transpose(1, 2)).transpose(1, 2)
        scalars, attended = gathered.split((self.c // heads, 3 * self.v // heads), -1)
        attended = attended.unflatten(-1, (3, -1)).transpose(2, 3).flatten(3)
        message = torch.einsum("bij,bijc->bic", weight.to(hidden.dtype), hidden)
        rays = torch.cat([unit, noisy], -1).to(coefficient.dtype) * weight.unsqueeze(-1).to(coefficient.dtype)
        pushed = torch.matmul(rays.transpose(2, 3), coefficient)
        vectors = self.vectors_in(torch.cat([attended, pushed[..., :3, :], pushed[..., 3:, :]], -1))
        summary = torch.cat([scalars.flatten(-2), message, lengths(vectors).to(message.dtype)], -1)
        h = h + g1 * self.attended(summary)
        v = v + vectors

        x = self.feed_norm(h) * (1 + s2) + b2
        fed, gated = self.feed_vectors(vector_norm(v)).split((self.v, self.v), -1)
        inner = torch.nn.functional.silu(self.feed_in(torch.cat([x, lengths(fed).to(x.dtype)], -1)))
        outer, gate = self.feed_out(inner).split((h.shape[-1], self.v), -1)
        h = h + g2 * outer
        v = v + self.vectors_out(gated * gate.unsqueeze(-2))
        u = u + frame.move(self.displace(v)[..., 0].to(u.dtype))
        if self.fraction is not None:
            u = u + self.fraction(x).to(u.dtype)
        return Atoms(h, v, e, u)
