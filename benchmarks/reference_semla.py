"""The network of SemlaFlow (Irwin et al. 2024) for comparisons of cost: messages in a latent space, attention on them.

Written from the paper: 12 blocks of 384 features and 64 sets of coordinates. Each block feeds features and coordinates
forward, makes pair messages of small projections (128) of the features and of the dot products of all coordinate sets,
and uses them as the logits of two attentions, 32 heads over features and 128 over directions between projected
coordinates; updates keep their variance. Bonds enter the first block and leave the last, and are refined once more.
Coordinates have their channels last here. The first layer of the messages as in `reference_egnn.first_layer`: as it
is written, or rearranged.
"""

from __future__ import annotations

import torch
from reference_egnn import first_layer
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

Features = tuple[Tensor, Tensor]


def two_layers(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    """A linear map, SiLU and a linear map."""
    return nn.Sequential(nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, n_out))


def wide(x: Tensor) -> Tensor:
    """At least float32: geometry and attention are never rounded to half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def lengths(x: Tensor) -> Tensor:
    """Lengths (..., 1, S) of vectors (..., 3, S); `torch.linalg.vector_norm` is ten times slower on a CPU."""
    return x.square().sum(-2, keepdim=True).sqrt()


class CoordinateNorm(nn.Module):
    """Sets of coordinates (B, N, 3, S), centred and scaled by learned weights; `unit` divides by their mean length."""

    def __init__(self, sets: int, *, unit: bool) -> None:
        super().__init__()
        self.scale, self.unit = nn.Parameter(torch.ones(sets)), unit

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalised coordinates; zero where there is no atom."""
        x = wide(x)
        atoms = mask[..., None, None].to(x.dtype)
        count = atoms.sum(1, keepdim=True)
        x = (x - (x * atoms).sum(1, keepdim=True) / count) * atoms
        if self.unit:
            x = x / (lengths(x).sum(1, keepdim=True) / count + 1e-6)
        return x * self.scale


class FeedForward(nn.Module):
    """Features see the lengths of the coordinates, projected coordinates are multiplied by features."""

    def __init__(self, width: int, sets: int, projected: int) -> None:
        super().__init__()
        self.norm, self.coordinate_norm = nn.LayerNorm(width), CoordinateNorm(sets, unit=True)
        self.features = two_layers(width + sets, 4 * width, width)
        self.gate = two_layers(width, projected, projected)
        self.project, self.back = nn.Linear(sets, projected, bias=False), nn.Linear(projected, sets, bias=False)

    def forward(self, x: Tensor, h: Tensor, mask: Tensor) -> Features:
        """Updated coordinates and features."""
        y, g = self.coordinate_norm(x, mask), self.norm(h)
        moved = self.back(self.project(y) * self.gate(g).unsqueeze(2))
        return x + moved, h + self.features(torch.cat([g, lengths(y).squeeze(2).to(g.dtype)], -1))


class Messages(nn.Module):
    """Pair messages (B, N, N, out) from projected features, dot products and, if any, pair features."""

    def __init__(
        self, width: int, latent: int, sets: int, hidden: int, out: int, *, edges: int = 0, rearranged: bool
    ) -> None:
        super().__init__()
        self.norm, self.coordinate_norm = nn.LayerNorm(width), CoordinateNorm(sets, unit=False)
        self.edge_norm = nn.LayerNorm(edges) if edges else None
        self.project = nn.Linear(width, latent)
        self.first, self.out = nn.Linear(2 * latent + sets + edges, hidden), nn.Linear(hidden, out)
        self.rearranged = rearranged

    def forward(self, x: Tensor, h: Tensor, mask: Tensor, edges: Tensor | None) -> Tensor:
        """Messages of every pair."""
        y = self.coordinate_norm(x, mask)
        dots = torch.einsum("bids,bjds->bijs", y, y)
        if self.edge_norm is not None and edges is not None:
            dots = torch.cat([dots, self.edge_norm(edges).to(dots.dtype)], -1)
        ends = self.project(self.norm(h))
        return self.out(silu(first_layer(self.first, ends, dots, rearranged=self.rearranged)))


class SemlaBlock(nn.Module):
    """Feed forward, make messages, attend with them over features and over directions."""

    def __init__(
        self,
        width: int,
        latent: int,
        sets: int,
        heads: int,
        hidden: int,
        *,
        edges: tuple[int, int],
        rearranged: bool,
    ) -> None:
        super().__init__()
        self.heads, self.latent, self.edges_out = heads, latent, edges[1]
        self.feed = FeedForward(width, sets, latent)
        self.messages = Messages(
            width, latent, sets, hidden, heads + latent + edges[1], edges=edges[0], rearranged=rearranged
        )
        self.norm, self.coordinate_norm = nn.LayerNorm(width), CoordinateNorm(sets, unit=True)
        self.values, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.project, self.back = nn.Linear(sets, latent, bias=False), nn.Linear(latent, sets, bias=False)

    def forward(self, x: Tensor, h: Tensor, mask: Tensor, bias: Tensor, edges: Tensor | None) -> tuple[Tensor, ...]:
        """Coordinates, features and, from the last block, pair features; `bias`: (B, N, N, 1), 0 or very negative."""
        x, h = self.feed(x, h, mask)
        messages = self.messages(x, h, mask, edges)
        by_head, by_set, edges_out = messages.split((self.heads, self.latent, self.edges_out), -1)

        attention = (wide(by_head) + bias).softmax(2)
        values = self.values(self.norm(h)).unflatten(-1, (self.heads, -1))
        gathered = torch.einsum("bijh,bjhd->bihd", attention.to(values.dtype), values)
        spread = attention.square().sum(2).sqrt().to(values.dtype)
        h = h + self.out((gathered * spread.unsqueeze(-1)).flatten(2))

        y = wide(self.project(self.coordinate_norm(x, mask)))
        difference = y[:, :, None] - y[:, None, :]
        direction = difference / (lengths(difference) + 1e-6)
        attention = (wide(by_set) + bias).softmax(2)
        moved = (direction * attention.unsqueeze(3)).sum(2) * attention.square().sum(2).sqrt().unsqueeze(2)
        return x + self.back(moved), h, edges_out


class Semla(nn.Module):
    """Clean coordinates and logits of elements, charges and bonds from noisy ones and the previous guess.

    Args:
        elements, charges, bonds: sizes of the alphabets.
        width, sets, blocks, heads, latent, edges: 384, 64, 12, 32, 128 and 128 as published.
        rearranged: see `reference_egnn.first_layer`.
    """

    def __init__(
        self,
        elements: int = 5,
        charges: int = 7,
        bonds: int = 5,
        *,
        width: int = 384,
        sets: int = 64,
        blocks: int = 12,
        heads: int = 32,
        latent: int = 128,
        edges: int = 128,
        rearranged: bool = False,
    ) -> None:
        super().__init__()
        self.elements_count, self.bonds_count = elements, bonds
        self.size = nn.Embedding(256, 64)
        self.atoms = two_layers(2 * elements + 1 + 64, width, width)
        self.pairs = two_layers(2 * bonds, edges, edges)
        self.sets = nn.Linear(2, sets, bias=False)
        ends = [(edges, 0), *[(0, 0)] * (blocks - 2), (0, edges)]
        inner = [heads + latent, *[latent] * (blocks - 2), heads + latent + edges]
        self.blocks = nn.ModuleList(
            SemlaBlock(width, latent, sets, heads, hidden, edges=end, rearranged=rearranged)
            for hidden, end in zip(inner, ends, strict=True)
        )
        self.feed, self.norm = FeedForward(width, sets, sets), nn.LayerNorm(width)
        self.coordinate_norm, self.coordinates = CoordinateNorm(sets, unit=True), nn.Linear(sets, 1, bias=False)
        self.refine = Messages(width, latent, 1, latent, edges, edges=edges, rearranged=rearranged)
        self.edge_norm = nn.LayerNorm(edges)
        self.elements, self.charges = two_layers(width, width, elements), two_layers(width, width, charges)
        self.bonds = two_layers(edges, edges, bonds)

    def forward(
        self, x: Tensor, elements: Tensor, bonds: Tensor, t: Tensor, mask: Tensor, guess: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Coordinates (B, N, 3) and logits of elements, charges (B, N, K) and bonds (B, N, N, K).

        Args:
            x: (B, N, 3). elements: (B, N) int. bonds: (B, N, N) int. t: (B,). mask: (B, N) bool.
            guess: coordinates and probabilities of elements and bonds of the previous evaluation, or zeros.
        """
        shape = mask.shape
        size = self.size(mask.sum(1))[:, None].expand(*shape, -1)
        shown = one_hot(elements, self.elements_count).to(x.dtype)
        h = self.atoms(torch.cat([shown, guess[1].to(x.dtype), t[:, None, None].expand(*shape, 1), size], -1))
        drawn = one_hot(bonds, self.bonds_count).to(x.dtype)
        edges: Tensor | None = self.pairs(torch.cat([drawn, guess[2].to(x.dtype)], -1))
        y = self.sets(torch.stack([x, guess[0].to(x.dtype)], -1)) * mask[..., None, None]
        allowed = (mask[:, :, None] & mask[:, None, :]) | ~mask[:, :, None]
        bias = torch.where(allowed, 0.0, -1e4).unsqueeze(-1)
        for block in self.blocks:
            y, h, edges = block(y, h, mask, bias, edges)
        y, h = self.feed(y, h, mask)
        clean = wide(self.coordinates(self.coordinate_norm(y, mask)))
        edges = edges + self.refine(clean, h, mask, edges)
        logits = self.bonds(self.edge_norm(edges + edges.transpose(1, 2)))
        g = self.norm(h)
        return clean[..., 0], self.elements(g), self.charges(g), logits


@torch.no_grad()
def sample(network: Semla, mask: Tensor, *, steps: int, of: int = 100, seed: int = 0) -> Tensor:
    """The first `steps` of `of` Euler steps of the flow, symbols redrawn as they go; coordinates (B, N, 3)."""
    generator = torch.Generator(mask.device).manual_seed(seed)
    b, n = mask.shape
    x = torch.randn(b, n, 3, generator=generator, device=mask.device) * mask.unsqueeze(-1)
    sizes = (network.elements_count, network.bonds_count)
    elements = torch.randint(sizes[0], (b, n), generator=generator, device=mask.device)
    bonds = torch.randint(sizes[1], (b, n, n), generator=generator, device=mask.device)
    guess = (torch.zeros_like(x), x.new_zeros(b, n, sizes[0]), x.new_zeros(b, n, n, sizes[1]))

    def redraw(symbols: Tensor, shares: Tensor, change: float) -> Tensor:
        drawn = torch.multinomial(shares.flatten(0, -2), 1, generator=generator).view_as(symbols)
        return torch.where(torch.rand(symbols.shape, generator=generator, device=mask.device) < change, drawn, symbols)

    for place in range(steps):
        t = place / of
        clean, atoms, _, pairs = network(x, elements, bonds, torch.full((b,), t, device=mask.device), mask, guess)
        guess = (clean, atoms.float().softmax(-1), pairs.float().softmax(-1))
        change = 1 / (of - place)
        x = x + change * (clean - x)
        elements, bonds = redraw(elements, guess[1], change), redraw(bonds, guess[2], change)
    return x
