"""Rewards of crystals by name: what a sample of crystals is steered towards without a function of one's own."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from moldiff.config import ModelConfig

CrystalReward = Callable[[list[Any]], Sequence[float]]
"""``list[ase.Atoms] -> array``: one number a crystal, more is better; NaN for no judgement."""

#: Reward of a composition whose charges can balance; others have 0.
BALANCED = 3.0
#: Last space group of each of the 32 point groups in the order of the International Tables, and its operations.
_LAST: tuple[int, ...] = (
    *(1, 2, 5, 9, 15, 24, 46, 74, 80, 82, 88, 98, 110, 122, 142, 146),
    *(148, 155, 161, 167, 173, 174, 176, 182, 186, 190, 194, 199, 206, 214, 220, 230),
)
_ORDERS = (1, 2, 2, 2, 4, 4, 4, 8, 4, 4, 8, 8, 8, 8, 16, 3, 6, 6, 6, 12, 6, 6, 12, 12, 12, 12, 24, 12, 24, 24, 24, 48)


def named(name: str, config: ModelConfig) -> CrystalReward:
    """A reward by its name.

    Args:
        name: ``"density"``: mass over volume, in units of its deviation in training, or of g/cm^3 where the model was
            trained without it. ``"smact"``: 3 where common oxidation states can balance and 0 where not (SMACT, see
            `moldiff.crystals.validity.composition_valid`). ``"symmetry"``: log2 of the operations of the point group
            within 0.1 angstrom, from 0 for P1 to 5.6 for cubic crystals.
        config: of the model.

    Raises:
        ValueError: for an unknown name.
        ImportError: for one whose package is not installed.
    """
    if name not in NAMED:
        raise ValueError(f"unknown reward {name!r}: choose from {', '.join(NAMED)}, or give a function")
    return NAMED[name](config)


def dense(config: ModelConfig) -> CrystalReward:
    """The density as a reward."""
    unit = next((p.deviation for p in config.properties if p.name == "density"), 1.0)

    def density(crystals: list[Any]) -> list[float]:
        from moldiff.crystals.distributions import density as mass_over_volume

        return [mass_over_volume(atoms.numbers, atoms.cell[:]) / unit for atoms in crystals]

    return density


def balanced(config: ModelConfig) -> CrystalReward:
    """Whether charges can balance as a reward."""
    _require("smact")

    def smact(crystals: list[Any]) -> list[float]:
        from moldiff.crystals.validity import composition_valid

        return [BALANCED * composition_valid(atoms.numbers) for atoms in crystals]

    return smact


def symmetric(config: ModelConfig) -> CrystalReward:
    """The symmetry as a reward."""
    _require("spglib")

    def symmetry(crystals: list[Any]) -> list[float]:
        from moldiff.crystals.symmetry import number

        groups = [number(atoms.numbers, atoms.get_scaled_positions(wrap=False), atoms.cell[:]) for atoms in crystals]
        # 0 stands for a crystal in which spglib finds nothing
        return [math.log2(operations(group or 1)) for group in groups]

    return symmetry


NAMED: dict[str, Callable[[ModelConfig], CrystalReward]] = {"density": dense, "smact": balanced, "symmetry": symmetric}
"""Makers of rewards by name."""


def operations(group: int) -> int:
    """Operations of the point group of a space group.

    Args:
        group: number of the space group, 1-230.

    Raises:
        ValueError: for another number.
    """
    if not 1 <= group <= 230:
        raise ValueError(f"space group {group}: choose a number from 1 to 230")
    return _ORDERS[bisect_left(_LAST, group)]


def _require(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ImportError(f"this reward needs {module}; install the extra: pip install 'moldiff[crystal]'")
