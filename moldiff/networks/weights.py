"""Weights on disk: safetensors, half precision, with the whole model configuration in the header. Never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from moldiff.config import ModelConfig, from_dict, to_dict
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet

#: Version of the header; a reader refuses newer ones.
FORMAT = "moldiff-1"


def alphabets(config: ModelConfig) -> dict[str, Alphabet]:
    """The alphabets of a model by field."""
    return {name: Alphabet(tuple(symbols)) for name, symbols in config.alphabets.items()}


def build(config: ModelConfig) -> Trunk:
    """An untrained network of a configuration, with its property statistics in place."""
    network = Trunk(
        config.network,
        alphabets(config),
        properties=len(config.properties),
        kind=config.kind,
        classes=[p.classes for p in config.properties],
    )
    cast(Tensor, network.conditioning.mean).copy_(torch.tensor([p.mean for p in config.properties]))
    cast(Tensor, network.conditioning.deviation).copy_(torch.tensor([p.deviation for p in config.properties]))
    return network


def save(path: str | os.PathLike[str], config: ModelConfig, *, tensors: dict[str, Tensor]) -> Path:
    """Write weights atomically, floating-point tensors as float16.

    Args:
        path: file to write, usually ``model.safetensors``.
        config: goes into the header.
        tensors: the network's state dictionary.
    """
    path = Path(path)
    half = {
        name: value.detach().to("cpu", torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for name, value in tensors.items()
    }
    # statistics of properties can exceed the range of float16; they are in the header
    half = {name: value for name, value in half.items() if name not in STATISTICS}
    temporary = path.with_name(path.name + ".tmp")
    save_file(half, temporary, metadata={"format": FORMAT, "config": json.dumps(to_dict(config))})
    os.replace(temporary, path)
    return path


STATISTICS = ("conditioning.mean", "conditioning.deviation")


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
    """The configuration in the header of weights, without the weights.

    Raises:
        ValueError: if the file is no such file.
    """
    return _read(path, tensors=False)[0]


def load(path: str | os.PathLike[str]) -> tuple[Trunk, ModelConfig]:
    """Read weights: the network in float32, ready for evaluation, and its configuration.

    Raises:
        ValueError: if the file is no such file or has missing, extra or misshapen tensors; the message names them.
    """
    config, tensors = _read(path, tensors=True)
    network = build(config)
    expected = {name: value for name, value in network.state_dict().items() if name not in STATISTICS}
    missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    wrong = [n for n in sorted(set(expected) & set(tensors)) if expected[n].shape != tensors[n].shape]
    if missing or extra or wrong:
        raise ValueError(f"{path} does not fit its own header: missing {missing}, extra {extra}, misshapen {wrong}")
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return network.eval(), config


def _read(path: str | os.PathLike[str], *, tensors: bool) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The configuration and, if asked for, the tensors of a file."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}: give the folder or file that `moldiff train` wrote")
    try:
        with safe_open(path, framework="pt") as stored:
            header = stored.metadata() or {}
            found = {name: stored.get_tensor(name) for name in stored.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}): it may be truncated") from error
    if header.get("format") != FORMAT or "config" not in header:
        raise ValueError(f"{path} has the format {header.get('format')!r}, this version reads {FORMAT!r}")
    return from_dict(ModelConfig, json.loads(header["config"])), found
