"""Between plain arrays, `ase.Atoms` and `pymatgen.core.Structure`, without losing or inventing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CrystalArrays", "from_atoms", "from_structure", "to_atoms", "to_structure", "wrap"]

#: Smallest volume of a cell, in cubic angstrom, that counts as one.
SMALLEST_VOLUME = 1e-6


@dataclass(frozen=True, eq=False)
class CrystalArrays:
    """One crystal of n atoms a cell as plain arrays; the record that passes between packages.

    Attributes:
        numbers: (n,) int64, atomic numbers.
        fractional: (n, 3) float64, coordinates along the cell vectors, any real number.
        cell: (3, 3) float64, rows a, b, c in angstrom.

    Raises:
        ValueError: for shapes that do not belong together. Values are not judged.
    """

    numbers: NDArray[np.int64]
    fractional: NDArray[np.float64]
    cell: NDArray[np.float64]

    def __post_init__(self) -> None:
        numbers, cell = np.asarray(self.numbers, np.int64), np.asarray(self.cell, np.float64)
        fractional = np.asarray(self.fractional, np.float64)
        if numbers.ndim != 1 or fractional.shape != (len(numbers), 3) or cell.shape != (3, 3):
            raise ValueError(
                f"numbers {numbers.shape}, fractional {fractional.shape} and cell {cell.shape} do not belong to one "
                "crystal: (n,), (n, 3) and (3, 3) needed"
            )
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "fractional", fractional)
        object.__setattr__(self, "cell", cell)

    @property
    def volume(self) -> float:
        """Volume of the cell in cubic angstrom."""
        return float(abs(np.linalg.det(self.cell)))


def wrap(fractional: NDArray[Any]) -> NDArray[np.float64]:
    """Fractional coordinates moved into [0, 1)."""
    moved = np.asarray(fractional, np.float64) % 1.0
    # the remainder of a tiny negative number rounds to 1
    return np.where(moved >= 1.0, 0.0, moved)


def to_atoms(arrays: Any) -> Any:
    """A periodic `ase.Atoms` of a `CrystalArrays` or of any record with the same three attributes."""
    from ase import Atoms

    return Atoms(numbers=arrays.numbers, scaled_positions=arrays.fractional, cell=arrays.cell, pbc=True)


def from_atoms(atoms: Any) -> CrystalArrays:
    """The arrays of an `ase.Atoms`, fractional coordinates in [0, 1).

    Raises:
        ValueError: for no atoms, a cell of zero volume, or coordinates or cell that are not finite.
    """
    cell, positions = np.array(atoms.cell), np.asarray(atoms.positions, np.float64)
    _check(len(atoms), cell, positions)
    return CrystalArrays(np.asarray(atoms.numbers), wrap(np.linalg.solve(cell.T, positions.T).T), cell)


def to_structure(arrays: Any) -> Any:
    """A `pymatgen.core.Structure` of a `CrystalArrays` or of any record with the same three attributes.

    Raises:
        ValueError: if pymatgen is not installed; the message names the extra.
    """
    try:
        from pymatgen.core import Element, Lattice, Structure
    except ImportError as error:
        raise ValueError("this needs pymatgen: pip install 'moldiff[crystal]'") from error
    species = [Element.from_Z(int(number)) for number in arrays.numbers]
    return Structure(Lattice(np.asarray(arrays.cell, np.float64)), species, np.asarray(arrays.fractional, np.float64))


def from_structure(structure: Any) -> CrystalArrays:
    """The arrays of a `pymatgen.core.Structure`, fractional coordinates in [0, 1); oxidation states are dropped.

    Raises:
        ValueError: for no atoms, a disordered site, a species that is no element, a cell of zero volume, or
            coordinates or cell that are not finite.
    """
    numbers = []
    for site, place in enumerate(structure):
        if not place.is_ordered:
            raise ValueError(f"site {site} is disordered ({place.species_string}): choose an ordered structure")
        number = getattr(place.specie, "Z", 0)
        name = str(getattr(place.specie, "symbol", place.specie))
        if not 1 <= number <= 118 or name.startswith("X0"):
            raise ValueError(f"site {site} has {name!r}, which is no element")
        numbers.append(number)
    cell, fractional = np.array(structure.lattice.matrix), np.array(structure.frac_coords)
    _check(len(numbers), cell, fractional)
    return CrystalArrays(np.array(numbers), wrap(fractional), cell)


def _check(count: int, cell: NDArray[Any], coordinates: NDArray[Any]) -> None:
    if count == 0:
        raise ValueError("no atoms")
    if not np.isfinite(cell).all():
        raise ValueError("the cell is not finite")
    if not np.isfinite(coordinates).all():
        raise ValueError("coordinates are not finite")
    volume = abs(float(np.linalg.det(cell)))
    if volume < SMALLEST_VOLUME:
        raise ValueError(f"the cell has no volume ({volume:g} cubic angstrom): a crystal needs three cell vectors")
