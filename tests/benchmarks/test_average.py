"""The mean of several models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import average
import pytest
import torch

from moldiff.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplerConfig
from moldiff.networks.weights import build, load, save

TINY = NetworkConfig(
    scalars=16, vectors=8, pairs=8, pair_hidden=16, heads=2, products=4, blocks=1, condition=8, radial=4
)
MODEL = ModelConfig(
    data="toy",
    network=TINY,
    diffusion=DiffusionConfig(),
    sampler=SamplerConfig(steps=20),
    alphabets={"elements": ("H", "C"), "charges": ("0",), "bonds": ("none", "single", "double")},
    sizes={"3": 10},
    facts={"passes": "7"},
)


def stored(folder: Path, seed: int, network: NetworkConfig = TINY) -> Path:
    torch.manual_seed(seed)
    model = dataclasses.replace(MODEL, network=network)
    folder.mkdir()
    return save(folder / "model.safetensors", model, tensors=build(model).state_dict())


def test_every_weight_is_the_mean_and_the_header_says_so(tmp_path: Path) -> None:
    paths = [stored(tmp_path / str(seed), seed) for seed in (0, 1, 2)]
    shares = (0.5, 0.25, 0.25)
    found, config = load(average.mean(paths, shares, tmp_path / "mean"))
    each = [dict(load(path)[0].named_parameters()) for path in paths]
    for name, value in found.named_parameters():
        expected = sum(share * one[name] for share, one in zip(shares, each, strict=True))
        assert torch.allclose(value, expected, atol=1e-3), name
    told = "weights of 0.5 after 7 passes, 0.25 after 7 passes and 0.25 after 7 passes"
    assert config.facts == {"passes": "7", "mean": told}
    _, config = load(average.mean([tmp_path / "mean" / "model.safetensors", paths[0]], (0.5, 0.5), tmp_path / "again"))
    assert config.facts["mean"] == "weights of 0.5 after 7 passes (a mean) and 0.5 after 7 passes"


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    one, two = stored(tmp_path / "one", 0), stored(tmp_path / "two", 0, dataclasses.replace(TINY, blocks=2))
    with pytest.raises(ValueError, match="different shapes"):
        average.mean([one, two], (0.5, 0.5), tmp_path / "mean")
    for shares in ((1.5, -0.5), (0.5, 0.4), (1.0,)):
        with pytest.raises(ValueError, match="2 numbers that are not negative and add up to 1"):
            average.mean([one, one], shares, tmp_path / "mean")
