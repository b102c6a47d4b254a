"""Geometry of crystals: directions and distances to periodic images, and the first features of pairs.

Geometry is float32 with autocast off. Nothing depends on which image of an atom is stored: fractional differences are
wrapped first, and what several images share is averaged or summed.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from moldiff.config import NetworkConfig
from moldiff.denoiser import Clocks, Prediction
from moldiff.networks.layers import SOFTENING, linear
from moldiff.state import State

#: Width of the average over images, angstrom^2: images whose squared distances differ by much less share a direction.
IMAGE_WIDTH = 0.5
#: Radius up to which images are summed in the first pair features, angstrom.
CUTOFF = 8.0
#: Waves along each lattice vector in the first pair features.
HARMONICS = 8


def shifts(reach: int) -> Tensor:
    """Lattice shifts ((2 reach + 1)^3, 3), float32; the zero shift first and then every shift beside its opposite."""
    span = range(-reach, reach + 1)
    half = [shift for shift in itertools.product(span, repeat=3) if shift > (0, 0, 0)]
    rows = [(0, 0, 0)] + [row for shift in half for row in (shift, tuple(-x for x in shift))]
    return torch.tensor(rows, dtype=torch.float32)


def wrapped_differences(fractional: Tensor) -> Tensor:
    """Fractional differences (B, N, N, 3) from j to i, components in [-0.5, 0.5]."""
    difference = fractional[:, :, None] - fractional[:, None, :]
    return difference - torch.round(difference)


def nearest_distances(fractional: Tensor, cell: Tensor) -> Tensor:
    """Distances (B, N, N) to the nearest image, angstrom; of an atom to itself the shortest lattice translation.

    Exact for cells that are not far from reduced: shifts of up to two lattice vectors are searched.
    """
    difference = wrapped_differences(fractional) @ cell[:, None]
    images = torch.einsum("kx,bxy->bky", shifts(2).to(cell), cell)
    distance = (difference[:, :, :, None] + images[:, None, None]).norm(dim=-1)
    itself = torch.eye(fractional.shape[1], dtype=torch.bool, device=cell.device)
    distance[..., 0] = distance[..., 0].masked_fill(itself, math.inf)
    return distance.amin(-1)


class PeriodicFrame(NamedTuple):
    """Where the blocks see a crystal: the current guess of its coordinates in one cell.

    Attributes:
        fractional: (B, N, 3) noisy coordinates; `time` (B, N, 1) their clock, 0 on given sites.
        cell, inverse: (B, 3, 3).
        images: (B, K, 4) lattice translations, angstrom, beside their squared lengths.
    """

    fractional: Tensor
    time: Tensor
    cell: Tensor
    inverse: Tensor
    images: Tensor

    @staticmethod
    def of(fractional: Tensor, time: Tensor, cell: Tensor, near: Tensor) -> PeriodicFrame:
        """A frame; `near` (K, 3) are the lattice shifts that are searched."""
        with torch.autocast(cell.device.type, enabled=False):
            images = near.to(cell.dtype) @ cell
            inverse = inverse_cell(cell)
        return PeriodicFrame(
            fractional, time, cell, inverse, torch.cat([images, (images * images).sum(-1, keepdim=True)], -1)
        )

    def look(self, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Softened directions (B, N, N, 3) from j to i and squared distances (B, N, N) at f - t * velocity.

        Both are averages over images, weighted by exp(-squared distance / `IMAGE_WIDTH`): images at the same distance
        share a direction, and nothing jumps where another image becomes the nearest. Gradients take the weights as
        constants.
        """
        b, n, _ = velocity.shape
        with torch.autocast(velocity.device.type, enabled=False):
            difference = wrapped_differences(self.fractional - self.time * velocity).view(b, n * n, 3) @ self.cell
            with torch.no_grad():
                doubled = torch.cat([2 * difference, torch.ones_like(difference[..., :1])], -1)
                # squared distances without the part that all images share
                squared = doubled @ self.images.transpose(1, 2)
                average = torch.softmax(squared * (-1 / IMAGE_WIDTH), -1) @ self.images
            shift = average[..., :3]
            near = (difference * (difference + 2 * shift)).sum(-1, keepdim=True) + average[..., 3:]
            near = near.clamp_min(0)
            unit = (difference + shift) * torch.rsqrt(near + SOFTENING)
        return unit.view(b, n, n, 3), near.view(b, n, n)

    def move(self, displacement: Tensor) -> Tensor:
        """Cartesian displacements (B, N, 3) as fractional ones."""
        with torch.autocast(displacement.device.type, enabled=False):
            return displacement.to(self.inverse.dtype) @ self.inverse


def inverse_cell(cell: Tensor) -> Tensor:
    """Inverse (B, 3, 3) of cells with a volume, by cross products."""
    a, b, c = cell.unbind(-2)
    columns = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1)
    volume = (columns[..., 0] * a).sum(-1)[..., None, None]
    return columns / volume


def image_count(n: int) -> int:
    """How many of the shortest lattice translations are searched for N atoms a cell: fewer, the larger the cell is."""
    return min(343, 2 * max(20, 240 // max(n, 1)) + 1)


@final
class ImageSum(nn.Module):
    """A smooth histogram of the distances to all images within `CUTOFF`; an atom's own images count, too.

    Each image is shared linearly between the two nearest of `count` bins, equally spaced in the logarithm of the
    distance from 0.5 angstrom on; its weight falls smoothly to zero at the cut-off.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.low = count, math.log(0.5)
        self.sharpness = (count - 1) / (math.log(CUTOFF) - self.low)
        self.register_buffer("shifts", shifts(3), persistent=False)

    @torch.no_grad()
    def forward(self, difference: Tensor, cell: Tensor) -> Tensor:
        """Sums (B, N, N, count) for wrapped fractional differences (B, N, N, 3) in cells (B, 3, 3)."""
        b, n = difference.shape[:2]
        with torch.autocast(cell.device.type, enabled=False):
            every = self.shifts.to(cell.dtype) @ cell  # type: ignore[operator]
            # the shortest translations, each with its opposite, so that (i, j) and (j, i) see the same images
            lengths = (every[:, 1::2] ** 2).sum(-1)
            nearest = lengths.topk(image_count(n) // 2, largest=False).indices
            half = every[:, 1::2].gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
            images = torch.cat([every[:, :1], half, -half], 1)
            first, second = torch.triu_indices(n, n, device=cell.device)
            distance = difference[:, first, second] @ cell
            squared = (distance * distance).sum(-1, keepdim=True)
            squared = squared + 2 * (distance @ images.transpose(1, 2)) + (images * images).sum(-1)[:, None]
            squared = squared.clamp_min(0)
            envelope = 0.5 + 0.5 * torch.cos(squared.sqrt().clamp_max(CUTOFF) * (math.pi / CUTOFF))
            # one more bin at each end takes what lies outside
            place = (0.5 * torch.log(squared + 1e-4) - self.low) * self.sharpness + 1
            place = place.clamp(0, self.count + 0.999)
            low = place.floor()
            upper = (place - low) * envelope
            bins = low.long()
            summed = squared.new_zeros(b, len(first), self.count + 2)
            summed.scatter_add_(-1, bins, envelope - upper)
            summed.scatter_add_(-1, bins + 1, upper)
            summed = summed[..., 1:-1]
            pair = torch.zeros(n, n, dtype=torch.long, device=cell.device)
            pair[first, second] = torch.arange(len(first), device=cell.device)
            pair = torch.maximum(pair, pair.T)
            return summed[:, pair.flatten()].view(b, n, n, -1)


def harmonics(difference: Tensor) -> Tensor:
    """Periodic waves (..., 6 `HARMONICS`) of fractional differences (..., 3)."""
    count = torch.arange(1, HARMONICS + 1, device=difference.device, dtype=difference.dtype)
    angles = (difference.unsqueeze(-1) * (2 * math.pi * count)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


@final
class CrystalPairFeatures(nn.Module):
    """First scalars (B, N, N, P) of pairs of a crystal, the pair of an atom with its own images included.

    Waves of the fractional differences along the lattice vectors (the components are invariants, indexed by the lattice
    vectors) and sums over images, both in the noisy crystal and in the previous guess; the invariants of both cells.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.images = ImageSum(2 * config.radial)
        self.count = 6 * HARMONICS + 2 * config.radial
        self.cells = linear(13, config.pairs)
        self.embed = nn.Sequential(
            linear(2 * self.count + 3, config.pairs), nn.SiLU(), linear(config.pairs, config.pairs)
        )

    def _geometry(self, fractional: Tensor, cell: Tensor) -> Tensor:
        difference = wrapped_differences(fractional)
        return torch.cat([harmonics(difference), torch.log1p(self.images(difference, cell))], -1)

    def forward(self, state: State, clocks: Clocks, previous: Prediction | None, cells: Tensor) -> Tensor:
        """First scalars of pairs; `cells` (B, 13) describes the noisy and the guessed cell."""
        # weights may be bf16, geometry never is
        dtype = torch.promote_types(self.cells.weight.dtype, torch.float32)
        noisy = self._geometry(state.field("fractional").to(dtype), state.field("cell").to(dtype))
        guess = torch.zeros_like(noisy)
        if previous is not None and previous.fractional is not None and previous.cell is not None:
            guess = self._geometry(previous.fractional.to(dtype), previous.cell.to(dtype))
        sites = clocks.is_given("fractional", state)
        known = clocks.is_given("cell", state)[:, None, None].expand(-1, state.size, state.size)
        both = sites[:, :, None] & sites[:, None, :]
        itself = torch.eye(state.size, dtype=torch.bool, device=state.device).expand_as(both)
        flags = torch.stack([both, known, itself], -1).to(dtype)
        first, activation, second = self.embed
        inner = first(torch.cat([noisy, guess, flags], -1))
        result: Tensor = second(activation(inner + self.cells(cells.to(dtype))[:, None, None]))
        return result
