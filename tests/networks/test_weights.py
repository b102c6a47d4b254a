from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from moldiff.config import DiffusionConfig, ModelConfig, NetworkConfig, PropertyConfig, SamplerConfig, to_dict
from moldiff.denoiser import Clocks, Condition
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.networks.trunk import Trunk
from moldiff.networks.weights import FORMAT, alphabets, build, load, save
from moldiff.state import Alphabet, State


@pytest.fixture
def model(tiny: NetworkConfig) -> ModelConfig:
    return ModelConfig(
        data="toy",
        network=tiny,
        diffusion=DiffusionConfig(),
        sampler=SamplerConfig(steps=20),
        alphabets={"elements": ("H", "C"), "charges": ("0",), "bonds": ("none", "single", "double")},
        sizes={"3": 10, "5": 1},
        # larger than float16 holds: kept in the header
        properties=(
            PropertyConfig("energy", "eV", -1e6, 1e5, -2e6, 0.0),
            PropertyConfig("gap", "eV", 5.0, 1.0, 1.0, 9.0),
        ),
        facts={"passes": "0"},
    )


@pytest.fixture
def stored(tmp_path: Path, model: ModelConfig) -> Path:
    torch.manual_seed(0)
    return save(tmp_path / "model.safetensors", model, tensors=build(model).state_dict())


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], None], metadata: dict[str, str]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=metadata)


def header(model: ModelConfig) -> dict[str, str]:
    return {"format": FORMAT, "config": json.dumps(to_dict(model))}


def test_round_trip(tmp_path: Path, model: ModelConfig, random_state: Callable[..., State]) -> None:
    torch.manual_seed(0)
    network = build(model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape).half().float())  # what float16 holds exactly
    path = save(tmp_path / "model.safetensors", model, tensors=network.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]  # nothing temporary stays
    again, config = load(path)
    assert config == model and not again.training
    assert alphabets(config)["elements"] == Alphabet(("H", "C"))
    before, after = network.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]) and after[name].dtype == torch.float32, name
    assert again.conditioning.mean.tolist() == [-1e6, 5.0] and again.conditioning.deviation.tolist() == [1e5, 1.0]

    state = random_state((3, 5))
    state = state.replace(elements=state.elements.clamp_max(2), charges=state.charges.clamp_max(1))
    state = state.replace(bonds=state.bonds.clamp_max(3))
    clocks = Clocks.shared(state, 0.5)
    scales = GaussianProcess(config.diffusion.positions).preconditioning(state, clocks)
    condition = Condition(torch.tensor([[-1e6, 4.0]] * 2), torch.ones(2, 2).bool())
    answers = [net.eval()(state, clocks, condition, None, scales).bonds for net in (network, again)]
    assert torch.equal(*answers)


def test_weights_are_half_precision(stored: Path) -> None:
    assert {value.dtype for value in load_file(stored).values()} == {torch.float16}


def test_missing_extra_and_misshapen_tensors_are_named(stored: Path, model: ModelConfig) -> None:
    def damage(tensors: dict[str, Tensor]) -> None:
        tensors["heads.stranger"] = tensors.pop("heads.atoms.bias")
        tensors["heads.atoms.weight"] = torch.zeros(2, 2)

    rewrite(stored, damage, header(model))
    with pytest.raises(ValueError) as caught:
        load(stored)
    message = str(caught.value)
    assert "missing ['heads.atoms.bias']" in message and "extra ['heads.stranger']" in message
    assert "misshapen ['heads.atoms.weight']" in message and str(stored) in message


@pytest.mark.parametrize("kept", [0, 4, 100, 20000])
def test_a_truncated_file_is_refused(stored: Path, kept: int) -> None:
    stored.write_bytes(stored.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"not a readable safetensors file .*may be truncated"):
        load(stored)


def test_other_files_are_refused(tmp_path: Path, stored: Path, model: ModelConfig) -> None:
    with pytest.raises(ValueError, match="no weights at"):
        load(tmp_path / "absent.safetensors")
    text = tmp_path / "notes.safetensors"
    text.write_text("these are no weights, only words " * 20)
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load(text)
    rewrite(stored, lambda tensors: None, {"format": "moldiff-99", "config": "{}"})
    with pytest.raises(ValueError, match="has the format 'moldiff-99', this version reads 'moldiff-1'"):
        load(stored)
    rewrite(stored, lambda tensors: None, {"config": header(model)["config"]})
    with pytest.raises(ValueError, match="has the format None"):
        load(stored)


def test_a_strange_setting_in_the_header_is_named(stored: Path, model: ModelConfig) -> None:
    config = to_dict(model)
    config["network"]["dreams"] = 1
    rewrite(stored, lambda tensors: None, {"format": FORMAT, "config": json.dumps(config)})
    with pytest.raises(ValueError, match=r"NetworkConfig has no settings \['dreams'\]"):
        load(stored)


def test_built_network_is_a_trunk_with_its_statistics(model: ModelConfig) -> None:
    network = build(model)
    assert isinstance(network, Trunk)
    assert network.conditioning.mean.tolist() == [-1e6, 5.0]
