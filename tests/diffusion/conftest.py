"""Small batches and alphabets for the tests of the processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from moldiff.state import BOND_SYMBOLS, Alphabet, State, centred


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def alphabets() -> dict[str, Alphabet]:
    return {
        "elements": Alphabet(("H", "C", "N", "O")),
        "charges": Alphabet(("-1", "0", "1")),
        "bonds": Alphabet(BOND_SYMBOLS),
    }


@pytest.fixture
def clean() -> Callable[..., State]:
    """Random clean structures, centred and padded, nothing hidden."""

    def make(sizes: Sequence[int], *, seed: int = 0, spread: float = 1.0) -> State:
        generator = torch.Generator().manual_seed(seed)
        b, n = len(sizes), max(sizes)
        mask = torch.arange(n)[None] < torch.tensor(list(sizes))[:, None]
        bonds = torch.randint(0, 5, (b, n, n), generator=generator).triu(1)
        state = State(
            mask=mask,
            positions=centred(spread * torch.randn((b, n, 3), generator=generator), mask),
            elements=torch.where(mask, torch.randint(0, 4, (b, n), generator=generator), 0),
            charges=torch.where(mask, torch.randint(0, 3, (b, n), generator=generator), 0),
            bonds=bonds + bonds.transpose(1, 2),
        )
        return state.replace(bonds=torch.where(state.pair_mask, state.bonds, 0)).check()

    return make
