"""The network of EDM (Hoogeboom et al. 2022) for comparisons of cost: an E(n)-equivariant graph network with a gate.

Written from the papers (Satorras et al. 2021; Hoogeboom et al. 2022, appendix C): 9 blocks of 256 features on the full
graph, a sigmoid gate on every message, coordinates moved along normalised differences. Dense over padded batches
instead of scattered over edge lists. `first_layer` computes the first layer of a pair network as it is written, on the
concatenated features of both ends, or rearranged, each end apart: the same function in a third of the operations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu


def first_layer(layer: nn.Linear, ends: Tensor, pairs: Tensor, *, rearranged: bool) -> Tensor:
    """A linear map of [end_i, end_j, pair_ij] for every pair, (B, N, N, out).

    Args:
        layer: from 2 C + P inputs. ends: (B, N, C). pairs: (B, N, N, P).
        rearranged: multiply each end apart and add, instead of concatenating.
    """
    b, n, c = ends.shape
    if rearranged:
        first, second, own = layer.weight.split((c, c, pairs.shape[-1]), 1)
        from_first, from_second = linear(ends, first, layer.bias), linear(ends, second)
        return from_first[:, :, None] + from_second[:, None, :] + linear(pairs, own)
    both = ends[:, :, None].expand(b, n, n, c), ends[:, None, :].expand(b, n, n, c)
    return layer(torch.cat([*both, pairs.to(ends.dtype)], -1))


class PairNetwork(nn.Module):
    """Two layers on [h_i, h_j, d_ij^2, d_ij^2 at the input] of every pair: (B, N, N, hidden)."""

    def __init__(self, hidden: int, *, rearranged: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * hidden + 2, hidden), nn.Linear(hidden, hidden)
        self.rearranged = rearranged

    def forward(self, h: Tensor, squared: Tensor) -> Tensor:
        """From features (B, N, hidden) and squared distances (B, N, N, 2)."""
        return silu(self.second(silu(first_layer(self.first, h, squared, rearranged=self.rearranged))))


class EgnnBlock(nn.Module):
    """Update the features by gated messages, then the coordinates."""

    def __init__(self, hidden: int, reach: float, *, rearranged: bool) -> None:
        super().__init__()
        self.reach = reach
        self.message, self.gate = PairNetwork(hidden, rearranged=rearranged), nn.Linear(hidden, 1)
        self.update = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.move, self.amount = PairNetwork(hidden, rearranged=rearranged), nn.Linear(hidden, 1, bias=False)
        nn.init.xavier_uniform_(self.amount.weight, gain=0.001)

    def forward(self, x: Tensor, h: Tensor, first: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (B, N, 3) and features (B, N, hidden); `first`: input distances, `pairs`: which pairs count."""
        difference = x[:, :, None] - x[:, None, :]
        squared = (difference**2).sum(-1, keepdim=True)
        distances = torch.cat([squared, first], -1)
        message = self.message(h, distances)
        gated = message * (torch.sigmoid(self.gate(message)) * pairs)
        h = h + self.update(torch.cat([h, gated.sum(2)], -1))
        amount = torch.tanh(self.amount(self.move(h, distances)).to(x.dtype)) * self.reach * pairs
        return x + (difference / (torch.sqrt(squared + 1e-8) + 1) * amount).sum(2), h


class Egnn(nn.Module):
    """Noise of coordinates and features from noisy ones.

    Args:
        features: of an atom, the time among them; 5 elements, the charge and the time in EDM on QM9.
        hidden, blocks: 256 and 9 as published.
        rearranged: see `first_layer`.
    """

    def __init__(self, features: int = 7, hidden: int = 256, blocks: int = 9, *, rearranged: bool = False) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.blocks = nn.ModuleList(EgnnBlock(hidden, 15.0 / blocks, rearranged=rearranged) for _ in range(blocks))

    def forward(self, x: Tensor, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, N, 3) of the coordinates, centred, and (B, N, features) of the features.

        Args:
            x: (B, N, 3). features: (B, N, features). mask: (B, N) bool, which atoms are there.
        """
        pairs = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        pairs = pairs.unsqueeze(-1).to(x.dtype)
        first = ((x[:, :, None] - x[:, None, :]) ** 2).sum(-1, keepdim=True)
        moved, h = x, self.embed(features)
        for block in self.blocks:
            moved, h = block(moved, h, first, pairs)
        atoms = mask.unsqueeze(-1).to(x.dtype)
        noise = (moved - x) * atoms
        return (noise - noise.sum(1, keepdim=True) / atoms.sum(1, keepdim=True)) * atoms, self.out(h) * atoms


@torch.no_grad()
def sample(network: Egnn, mask: Tensor, *, steps: int, of: int = 1000, seed: int = 0) -> Tensor:
    """The first `steps` of `of` ancestral steps (DDPM with EDM's polynomial schedule); coordinates (B, N, 3)."""
    generator = torch.Generator(mask.device).manual_seed(seed)
    atoms = mask.unsqueeze(-1).float()
    width = network.embed.in_features - 1

    def noise() -> Tensor:
        drawn = torch.randn(*mask.shape, 3 + width, generator=generator, device=mask.device) * atoms
        centre = drawn[..., :3].sum(1, keepdim=True) / atoms.sum(1, keepdim=True)
        return torch.cat([(drawn[..., :3] - centre) * atoms, drawn[..., 3:]], -1)

    z = noise()
    signal = 0.5e-5 + (1 - 1e-5) * (1 - torch.linspace(0, 1, of + 1, device=mask.device) ** 2)
    for place in range(of, of - steps, -1):
        t = torch.full((*mask.shape, 1), place / of, device=mask.device)
        x, h = network(z[..., :3], torch.cat([z[..., 3:], t], -1), mask)
        guess = torch.cat([x, h[..., :-1]], -1)
        ratio = signal[place] / signal[place - 1]
        left, spread = 1 - ratio**2, (1 - signal[place] ** 2).sqrt()
        z = z / ratio - left / (ratio * spread) * guess + left.sqrt() * noise()
    return z[..., :3]
