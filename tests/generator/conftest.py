"""Networks that know the answer: methane, always or in every second structure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.generator import Generator
from moldiff.state import BOND_SYMBOLS, State, centred

#: Methane with a hydrogen at each corner of a tetrahedron, bonds of 1.09 angstrom.
METHANE = (
    torch.tensor([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float32) * 1.09 / 3**0.5
)


def config(sizes: dict[str, int] | None = None) -> ModelConfig:
    return ModelConfig(
        data="toy",
        network=NetworkConfig(
            scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=4, products=2, blocks=1, condition=8
        ),
        diffusion=DiffusionConfig(),
        sampler=SamplerConfig(steps=6, remask=0.0),
        alphabets={"elements": ("H", "C"), "charges": ("-1", "0", "1"), "bonds": BOND_SYMBOLS},
        sizes=sizes or {"5": 3},
    )


class Oracle:
    """Answers methane for structures that `right` chooses, and else five carbons without bonds."""

    def __init__(self, right: Callable[[int], Tensor]) -> None:
        self.right = right
        self.calls = 0

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        self.calls += 1
        b, n = state.mask.shape
        target = centred(METHANE[:n].expand(b, n, 3), state.mask)
        u = (target - preconditioning.skip * state.field("positions")) / preconditioning.out.clamp_min(1e-9)
        right = self.right(b)
        elements = torch.zeros(b, n, 2)
        elements[:, 0, 1] = 50.0
        elements[:, 1:, 0] = 50.0
        elements[~right] = torch.tensor([0.0, 50.0])
        charges = torch.tensor([0.0, 50.0, 0.0]).expand(b, n, 3)
        bonds = torch.zeros(b, n, n, 5)
        bonds[..., 0] = 50.0
        for atom in range(1, n):
            for i, j in ((0, atom), (atom, 0)):
                bonds[right, i, j] = torch.tensor([0.0, 50.0, 0.0, 0.0, 0.0])
        return Prediction(positions=u, elements=elements, charges=charges, bonds=bonds)


@pytest.fixture
def methane() -> Generator:
    """A generator that makes nothing but methane."""
    return Generator(Oracle(lambda b: torch.ones(b, dtype=torch.bool)), config(), precision="fp32", device="cpu")


@pytest.fixture
def half() -> Generator:
    """A generator that makes methane in every second structure of a batch, and rubbish in the others."""
    return Generator(Oracle(lambda b: torch.arange(b) % 2 == 0), config(), precision="fp32", device="cpu")
