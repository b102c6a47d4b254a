"""Target properties of a sample: which there are, what is asked, and how many atoms go with it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from moldiff.config import ModelConfig
from moldiff.data.sizes import SizeTable
from moldiff.denoiser import Condition

#: How the labels of a data set were computed: data set -> property -> level of theory.
LEVELS: dict[str, dict[str, str]] = {
    "qm9": dict.fromkeys(("energy", "homo", "lumo", "gap", "dipole", "polarizability"), "GFN2-xTB"),
    "mp20": {
        **dict.fromkeys(("formation_energy_per_atom", "band_gap", "e_above_hull"), "DFT, Materials Project"),
        "dft_mag_density": "DFT, Materials Project",
        "spacegroup": "spglib",
    },
}
#: Descriptors of the molecular graph, which the library computes itself for every data set.
DESCRIPTORS = ("logp", "qed", "tpsa", "sa", "rings", "heavy_atoms")


class Property(NamedTuple):
    """A property that can be asked for.

    Attributes:
        name, unit: what to write in ``target``, and its unit; empty for a pure number.
        level: level of theory of the labels the model was trained on, which is what targets are measured by.
        low, high: range in training. mean, deviation: over the training set.
    """

    name: str
    unit: str
    level: str
    low: float
    high: float
    mean: float
    deviation: float


def level(data: str, name: str) -> str:
    """How a property was computed, in words."""
    known = LEVELS.get(data, {}).get(name)
    if known is not None:
        return known
    if name in DESCRIPTORS:
        return "RDKit"
    return "B3LYP/6-31G(2df,p)" if name.endswith("_b3lyp") else f"as in the data set {data}"


def properties(config: ModelConfig) -> tuple[Property, ...]:
    """What a model can be conditioned on."""
    return tuple(
        Property(p.name, p.unit, level(config.data, p.name), p.low, p.high, p.mean, p.deviation)
        for p in config.properties
    )


def check_target(config: ModelConfig, target: Mapping[str, float]) -> dict[str, float]:
    """The target as numbers, in the order of the model's properties.

    Raises:
        ValueError: for an unknown property, naming the known ones, or a value that is no finite number.

    Warns:
        of a value outside the range in training.
    """
    known = {p.name: p for p in config.properties}
    unknown = [name for name in target if name not in known]
    if unknown:
        has = f"this model knows {', '.join(known)}" if known else "this model was trained without properties"
        raise ValueError(f"unknown property {unknown[0]!r}: {has}")
    for name, value in target.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"the target of {name} must be a finite number, not {value!r}")
        p = known[name]
        if p.classes:
            if value != int(value) or not 1 <= value <= p.classes:
                raise ValueError(f"the target of {name} must be a whole number from 1 to {p.classes}, not {value!r}")
            continue
        if not p.low <= value <= p.high:
            unit = f" {p.unit}" if p.unit else ""
            warnings.warn(
                f"target {name} = {value:g}{unit} is outside the {p.low:.4g} to {p.high:.4g}{unit} of the training set",
                stacklevel=5,
            )
    return {name: float(target[name]) for name in known if name in target}


def condition(config: ModelConfig, target: Mapping[str, float], count: int, device: torch.device) -> Condition:
    """The same target for a batch of `count` structures."""
    values = torch.tensor([target.get(p.name, 0.0) for p in config.properties], device=device)
    shown = torch.tensor([p.name in target for p in config.properties], device=device)
    return Condition(values.expand(count, -1), shown.expand(count, -1))


def standardised(config: ModelConfig, values: Tensor) -> Tensor:
    """Properties (..., P) in units of their deviation in training, from their mean."""
    mean = torch.tensor([p.mean for p in config.properties], device=values.device)
    deviation = torch.tensor([p.deviation for p in config.properties], device=values.device)
    return (values - mean) / deviation


def size_weights(config: ModelConfig, target: Mapping[str, float], reference: Path | None) -> Tensor | None:
    """(S,) weight of each atom count of ``config.sizes`` given a target; None for the training set's.

    Args:
        config: of the model.
        target: property -> value.
        reference: file with the `SizeTable`; without one the atom counts are those of the training set.
    """
    table = SizeTable.load(reference) if target and reference is not None else None
    if table is None:
        return None
    probability = dict(zip(table.atoms.tolist(), table.probabilities(target).tolist(), strict=True))
    weights = torch.tensor([probability.get(int(size), 0.0) for size in config.sizes], dtype=torch.float64)
    return weights if float(weights.sum()) > 0 else None
