"""The state of a run on disk: safetensors with a JSON header, written atomically, never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from moldiff.training.ema import Average
from moldiff.training.optimiser import Optimiser

NAME = "checkpoint.safetensors"
#: Moments of AdamW and of Muon; a parameter that was stepped has all of one of them.
_MOMENTS = (("exp_avg", "exp_avg_sq", "step"), ("momentum_buffer",))


def save(folder: Path, header: dict[str, Any], *, network: nn.Module, average: Average, optimiser: Optimiser) -> None:
    """Write everything a run needs to go on: weights, average, moments, and `header` (step, plan, settings)."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        tensors[f"network/{name}"] = parameter.detach().cpu()
        tensors[f"average/{name}"] = average.values[name].cpu()
        for moment, value in optimiser.state(parameter).items():
            tensors[f"{moment}/{name}"] = value.detach().cpu()
    temporary = folder / (NAME + ".tmp")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"header": json.dumps(header)})
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, folder / NAME)


def read_header(folder: Path) -> dict[str, Any]:
    """The header of the checkpoint in a folder.

    Raises:
        ValueError: if there is no readable checkpoint.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(f"nothing to resume in {folder}: it has no {NAME}; start without --resume")
    try:
        with safe_open(path, framework="pt") as stored:
            header: dict[str, Any] = json.loads((stored.metadata() or {})["header"])
            return header
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a readable checkpoint ({error}); start a new run in another folder") from error


@torch.no_grad()
def restore(folder: Path, *, network: nn.Module, average: Average, optimiser: Optimiser) -> None:
    """Put weights, average and moments of a checkpoint back.

    Raises:
        ValueError: if tensors are missing or extra; the message names them.
    """
    with safe_open(folder / NAME, framework="pt") as stored:
        names = set(stored.keys())
        known = [name for name, _ in network.named_parameters()]
        expected = {f"{kind}/{n}" for n in known for kind in ("network", "average")}
        # a parameter that was never stepped has no moments, any other has all of one optimiser
        stepped = {
            f"{m}/{n}"
            for n in known
            for moments in _MOMENTS
            for m in moments
            if any(f"{k}/{n}" in names for k in moments)
        }
        missing = sorted((expected | stepped) - names)
        extra = sorted(names - expected - stepped)
        if missing or extra:
            raise ValueError(f"{folder / NAME} does not fit this network: missing {missing}, extra {extra}")
        for name, parameter in network.named_parameters():
            parameter.copy_(stored.get_tensor(f"network/{name}"))
            average.values[name].copy_(stored.get_tensor(f"average/{name}"))
            found = [m for moments in _MOMENTS for m in moments if f"{m}/{name}" in names]
            state = {m: stored.get_tensor(f"{m}/{name}") for m in found}
            if state:
                optimiser.restore(parameter, state)
