"""How a structure came about: the steps of one sample, for pictures and analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Trajectory"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure of n atoms at one moment.

    Attributes:
        numbers: (n,) int64 atomic numbers, 0 where the element is not known yet.
        positions: (n, 3) float64 angstrom.
        bonds: (n, n) int64: 0 none or not known yet, 1, 2, 3, and 4 aromatic; all 0 for crystals.
        cell: (3, 3) float64 angstrom, rows a, b, c; None for molecules.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    bonds: NDArray[np.int64]
    cell: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The denoising of one structure, as `Generator.trajectory` records it; `moldiff.view` makes a movie of it.

    Attributes:
        states: the noisy structure after each step; the last is the finished one.
        guesses: what the network took the clean structure to be at that step, most likely symbols.
        clocks: (steps,) float64, the clock of the coordinates after each step, falling to 0.
        structure: the finished structure as `rdkit.Chem.Mol` or `ase.Atoms`; None if it is no valid molecule.

    Raises:
        ValueError: for no steps, or as many states, guesses and clocks as do not belong together.
    """

    states: tuple[Frame, ...]
    guesses: tuple[Frame, ...]
    clocks: NDArray[np.float64]
    structure: Any = None

    def __post_init__(self) -> None:
        if not self.states or not len(self.states) == len(self.guesses) == len(self.clocks):
            raise ValueError(
                f"{len(self.states)} states, {len(self.guesses)} guesses and {len(self.clocks)} clocks: a trajectory "
                "has one of each for every step, and at least one step"
            )

    def __len__(self) -> int:
        return len(self.states)
