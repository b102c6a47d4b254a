"""Structures of any size and content, for tests that must hold for all of them."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from moldiff.state import BOND_SYMBOLS, Alphabet, State

ALPHABETS = {
    "elements": Alphabet(("H", "C", "N", "O")),
    "charges": Alphabet(("-1", "0", "1")),
    "bonds": Alphabet(BOND_SYMBOLS),
}


def molecules(sizes: list[int], seed: int) -> State:
    """A State of random molecules of these sizes."""
    generator = torch.Generator().manual_seed(seed)
    b, n = len(sizes), max(sizes)
    mask = torch.arange(n)[None] < torch.tensor(sizes)[:, None]
    pairs = mask[:, :, None] & mask[:, None]
    bonds = torch.randint(0, 5, (b, n, n), generator=generator).triu(1)
    bonds = torch.where(pairs, bonds + bonds.transpose(1, 2), 0)
    return State(
        mask=mask,
        positions=torch.where(mask[..., None], 3 * torch.randn(b, n, 3, generator=generator), 0.0),
        elements=torch.where(mask, torch.randint(0, 4, (b, n), generator=generator), 0),
        charges=torch.where(mask, torch.randint(0, 3, (b, n), generator=generator), 0),
        bonds=bonds,
    )


def crystals(sizes: list[int], seed: int) -> State:
    """A State of random crystals of these sizes, cells symmetric."""
    generator = torch.Generator().manual_seed(seed)
    b, n = len(sizes), max(sizes)
    mask = torch.arange(n)[None] < torch.tensor(sizes)[:, None]
    cell = torch.randn(b, 3, 3, generator=generator)
    return State(
        mask=mask,
        elements=torch.where(mask, torch.randint(0, 4, (b, n), generator=generator), 0),
        fractional=torch.where(mask[..., None], torch.rand(b, n, 3, generator=generator), 0.0),
        cell=4 * torch.eye(3) + 0.3 * (cell + cell.transpose(1, 2)),
    )


seeds = st.integers(0, 2**31 - 1)
sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)
molecule_states = st.builds(molecules, sizes, seeds)
crystal_states = st.builds(crystals, sizes, seeds)
states = st.one_of(molecule_states, crystal_states)
