"""A tiny trunk with random weights, and random noisy molecules for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from moldiff.config import NetworkConfig
from moldiff.networks.trunk import Trunk
from moldiff.state import BOND_SYMBOLS, Alphabet, State


@pytest.fixture
def alphabets() -> dict[str, Alphabet]:
    return {
        "elements": Alphabet(("H", "C", "N", "O")),
        "charges": Alphabet(("-1", "0", "1")),
        "bonds": Alphabet(BOND_SYMBOLS),
    }


@pytest.fixture
def tiny() -> NetworkConfig:
    return NetworkConfig(
        scalars=32, vectors=8, pairs=16, pair_hidden=32, heads=4, products=4, blocks=2, condition=16, radial=8
    )


@pytest.fixture
def make_trunk(tiny: NetworkConfig, alphabets: dict[str, Alphabet]) -> Callable[..., Trunk]:
    """A trunk in which no weight is zero: residual branches start at zero and would hide every mistake."""

    def make(*, dtype: torch.dtype = torch.float32, properties: int = 3, seed: int = 0) -> Trunk:
        network = Trunk(tiny, alphabets, properties=properties)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                noise = torch.randn(weight.shape, generator=generator)
                if weight.ndim > 1:
                    weight.copy_(noise / weight.shape[-1] ** 0.5)
                else:
                    weight.copy_(0.3 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
        return network.to(dtype).eval()

    return make


@pytest.fixture
def random_state() -> Callable[..., State]:
    """Random positions and symbols, some of them hidden; padded."""

    def make(sizes: Sequence[int], *, dtype: torch.dtype = torch.float32, seed: int = 0, spread: float = 1.5) -> State:
        generator = torch.Generator().manual_seed(seed)
        b, n = len(sizes), max(sizes)
        mask = torch.arange(n)[None] < torch.tensor(list(sizes))[:, None]

        def symbols(shape: tuple[int, ...], count: int) -> Tensor:
            return torch.randint(0, count + 1, shape, generator=generator)

        positions = spread * torch.randn((b, n, 3), generator=generator, dtype=torch.float64)
        bonds = symbols((b, n, n), 5).triu(1)
        state = State(
            mask=mask,
            positions=torch.where(mask[..., None], positions, 0.0).to(dtype),
            elements=torch.where(mask, symbols((b, n), 4), 0),
            charges=torch.where(mask, symbols((b, n), 3), 0),
            bonds=bonds + bonds.transpose(1, 2),
        )
        return state.replace(bonds=torch.where(state.pair_mask, state.bonds, 0)).check()

    return make
