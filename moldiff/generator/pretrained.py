"""Load weights: shipped ones by name, others by file or run folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from moldiff.generator.crystals import CrystalGenerator
from moldiff.generator.generator import Generator
from moldiff.generator.targets import Property, properties
from moldiff.networks import weights
from moldiff.shipped import FOLDER, WEIGHTS, find_weights, names


class Shipped(NamedTuple):
    """A model inside the package.

    Attributes:
        name, path: what `load` takes, and the folder.
        megabytes: size of the weights file. parameters: how many numbers it holds.
        data: data set it was trained on.
        headline: its main measured numbers in a line, from ``metrics.json`` beside the weights.
        properties: what can be asked for as a target.
    """

    name: str
    path: Path
    megabytes: float
    parameters: int
    data: str
    headline: str
    properties: tuple[Property, ...] = ()


def shipped() -> list[Shipped]:
    """The shipped models with size, data and headline numbers."""
    found = []
    for name in names():
        folder = FOLDER / name
        network, config = weights.load(folder / WEIGHTS)
        metrics = folder / "metrics.json"
        headline = json.loads(metrics.read_text()).get("headline", "") if metrics.is_file() else "not measured yet"
        found.append(
            Shipped(
                name=name,
                path=folder,
                megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
                parameters=sum(p.numel() for p in network.parameters()),
                data=config.data,
                headline=headline,
                properties=properties(config),
            )
        )
    return found


def makes_crystals(name: str | os.PathLike[str]) -> bool:
    """Whether a model makes crystals, by the header of its file; False for what `load` refuses."""
    try:
        return weights.read_config(find_weights(name)).kind == "crystal"
    except ValueError:
        return False


def load(
    name: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto", compile: str = "auto"
) -> Generator | CrystalGenerator:
    """Load a model for sampling: a `Generator` for molecules, a `CrystalGenerator` for crystals.

    Args:
        name: a shipped model ("qm9", "mp20"), a run folder of `moldiff train`, or a weights file.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda"``.
        precision: ``"auto"`` (bf16 where the hardware multiplies it fast), ``"bf16"`` or ``"fp32"``.
        compile: run the network through torch.compile: ``"on"``, ``"off"``, or ``"auto"`` for what takes minutes on a
            CPU anyway, from 4,000 molecules at 50 steps. Compiling takes about half a minute, a few seconds where torch
            has it cached, and needs a C++ compiler; without one the network runs as it is, with a warning. Numbers
            round differently, so structures of a seed differ between the two.

    Raises:
        ValueError: for an unknown name, which lists the shipped ones, an unreadable file, or an unknown choice.
    """
    file = find_weights(name)
    network, config = weights.load(file)
    kind = CrystalGenerator if config.kind == "crystal" else Generator
    return kind(network, config, path=file, device=device, precision=precision, compile=compile)
