"""Cutting channels out of a trained network."""

from __future__ import annotations

import dataclasses
from typing import cast

import narrow
import pytest
import torch

from moldiff.config import ModelConfig, NetworkConfig
from moldiff.data.archive import Archive
from moldiff.data.demo import demo_archive
from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.networks.layers import Block
from moldiff.networks.trunk import Trunk
from moldiff.networks.weights import alphabets, build
from moldiff.state import State
from moldiff.training.describe import describe_model

TINY = NetworkConfig(
    scalars=16, vectors=8, pairs=8, pair_hidden=12, heads=2, products=4, blocks=2, condition=8, radial=4
)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return demo_archive(40)


@pytest.fixture
def model(archive: Archive) -> ModelConfig:
    return dataclasses.replace(describe_model(archive, data="demo"), network=TINY)


def alive(model: ModelConfig) -> Trunk:
    """A network none of whose maps is zero."""
    network = build(model)
    with torch.no_grad():
        for number, value in enumerate(network.parameters()):
            value.add_(0.2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    return network.eval()


def cut(network: Trunk, model: ModelConfig, archive: Archive, **sizes: int) -> tuple[Trunk, list[dict[str, float]]]:
    smaller, described, lost = narrow.narrowed(network, model, archive.subset("train"), batches=6, **sizes)
    assert described.network == dataclasses.replace(model.network, **sizes) and "narrowed" in described.facts
    return smaller, lost


@torch.no_grad()
def guess(network: Trunk, model: ModelConfig) -> Prediction:
    process = JointProcess.for_molecules(model.diffusion, alphabets(model))
    generator = torch.Generator().manual_seed(3)
    state = State(
        mask=torch.tensor([[True] * 6, [True] * 5 + [False]]),
        positions=torch.randn((2, 6, 3), generator=generator),
        elements=torch.zeros((2, 6), dtype=torch.long),
        charges=torch.zeros((2, 6), dtype=torch.long),
        bonds=torch.zeros((2, 6, 6), dtype=torch.long),
    )
    clocks = Clocks.shared(state, 0.5)
    return denoiser(network, process)(process.corrupt(state, clocks, generator=generator), clocks, None, None)


def difference(one: Prediction, other: Prediction) -> float:
    fields = ("positions", "elements", "charges", "bonds")
    return max(float((getattr(one, name) - getattr(other, name)).abs().max()) for name in fields)


def test_nothing_is_lost_where_all_channels_stay(archive: Archive, model: ModelConfig) -> None:
    network = alive(model)
    same, lost = cut(network, model, archive, pair_hidden=12, products=4)
    assert max(value for block in lost for value in block.values()) < 1e-6
    assert difference(guess(network, model), guess(same, model)) < 1e-3


def test_channels_that_repeat_others_are_found(archive: Archive, model: ModelConfig) -> None:
    network = alive(model)
    with torch.no_grad():
        for part in network.blocks:
            block = cast(Block, part)
            hidden, start = 12, block.splits[0]
            for twin in range(4):  # hidden channels 8-11 do what 0-3 do
                block.pair_in.weight[8 + twin] = block.pair_in.weight[twin]
                for side in (start, start + hidden):
                    block.from_nodes.weight[side + 8 + twin] = block.from_nodes.weight[side + twin]
                    block.from_nodes.bias[side + 8 + twin] = block.from_nodes.bias[side + twin]
            width, many = block.product_width, block.products
            for side in (0, many * width):  # and the last product what the first does
                last, first = slice(side + 3 * width, side + 4 * width), slice(side, side + width)
                block.from_nodes.weight[last] = block.from_nodes.weight[first]
                block.from_nodes.bias[last] = block.from_nodes.bias[first]
            for row in range(3, 4 * many, many):
                block.from_vectors.mix.weight[row] = block.from_vectors.mix.weight[row - 3]
    smaller, lost = cut(network, model, archive, pair_hidden=8, products=3)
    assert max(value for block in lost for value in block.values()) < 1e-5
    assert difference(guess(network, model), guess(smaller, model)) < 2e-3
    assert sum(value.numel() for value in smaller.parameters()) < sum(value.numel() for value in network.parameters())
    # one channel fewer, and something is lost
    _, lost = cut(network, model, archive, pair_hidden=7, products=2)
    assert min(value for block in lost for value in block.values()) > 1e-4


def test_the_channels_that_matter_are_kept() -> None:
    moments = narrow.Moments()
    values = torch.randn((4000, 4), generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 2.0, 1.0])
    values[:, 3] = 2 * values[:, 0] + 1
    moments.add(values[:1000])
    moments.add(values[1000:])
    weight = torch.diag(torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64))  # the largest one counts for nothing
    kept = narrow.choose(moments, weight, 2)
    assert kept.index.tolist() in ([0, 2], [2, 3])
    rebuilt = values.double()[:, kept.index] @ kept.map + kept.constant
    assert torch.allclose(rebuilt[:, [0, 2, 3]], values.double()[:, [0, 2, 3]], atol=1e-4)
    assert kept.lost < 1e-8
