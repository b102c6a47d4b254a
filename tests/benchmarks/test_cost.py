"""The side-by-side comparison runs on tiny networks and its ratios follow from its medians."""

from __future__ import annotations

from typing import Any

import cost
import pytest
import readme
import torch
from reference_egnn import Egnn
from reference_semla import Semla

from moldiff.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplerConfig
from moldiff.generator import Generator
from moldiff.networks.weights import build
from moldiff.state import BOND_SYMBOLS


@pytest.fixture
def generator() -> Generator:
    tiny = NetworkConfig(
        scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=4, products=2, blocks=1, condition=8, radial=4
    )
    config = ModelConfig(
        data="tiny",
        network=tiny,
        diffusion=DiffusionConfig(),
        sampler=SamplerConfig(),
        alphabets={"elements": ("H", "C"), "charges": ("0",), "bonds": BOND_SYMBOLS},
        sizes={"3": 1, "5": 1},
    )
    return Generator(build(config), config, device="cpu")


def test_everything_is_timed_and_the_ratios_follow(generator: Generator) -> None:
    found: dict[str, Any] = cost.measure(
        generator,
        {
            "egnn": Egnn(hidden=8, blocks=1),
            "semla": Semla(width=16, sets=4, blocks=2, heads=4, latent=8, edges=8),
        },
        sizes=torch.tensor([5, 3, 4]),
        batch=2,
        steps=[2, 3],
        repeats=3,
        loop=2,
    )
    assert found["batches"] == [[2, 4], [1, 5]]
    networks = found["networks"]
    for name, evaluations in (("egnn", 1000), ("semla", 100)):
        assert networks[name]["evaluation"] == sorted(networks[name]["evaluation_seconds"])[1]
        assert networks[name]["sampling"] == evaluations * networks[name]["evaluation"]
        ours = networks["moldiff"]["sampling"]["3"]["median"]
        assert found["ratios"][name]["3"] == pytest.approx(networks[name]["sampling"] / ours)
        assert networks[name]["loop"]["step_to_evaluation"] > 0
    hardware = {"hardware": {"gpu": None, "cpu": "some CPU"}, "commit": "0" * 40}
    facts = {"meta": hardware, "precision": "fp32", "compiled": False, "allocator": True, "threads": 1}
    text = "\n".join(readme.cost(found | facts | {"model": {"name": "tiny", "facts": {}}}))
    assert text.count("\n|") == 6 and "some CPU" in text and "3 steps" in text
