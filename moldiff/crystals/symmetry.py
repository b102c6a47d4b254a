"""Which sites of a crystal are equivalent, and the space groups of a set, by spglib (Togo et al. 2024)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moldiff.crystals.convert import CrystalArrays
from moldiff.crystals.reduction import space_group

__all__ = ["equivalent_sites", "histogram", "number"]

TIGHT = 0.01
"""Angstrom: sites that agree so far have the same surroundings."""


def number(numbers: ArrayLike, fractional: ArrayLike, cell: ArrayLike) -> int:
    """The space group within 0.1 angstrom, under which the field reports generated crystals; 0 where there is none.

    Args:
        numbers: atomic numbers (n,).
        fractional: (n, 3) in units of the cell.
        cell: rows a, b, c in angstrom (3, 3).

    Raises:
        ValueError: spglib is not installed.
    """
    return space_group(CrystalArrays(np.asarray(numbers), np.asarray(fractional), np.asarray(cell)))


def histogram(groups: Iterable[int]) -> dict[str, int]:
    """How often each space group occurs, by falling count; "0" stands for crystals without one."""
    return {str(group): count for group, count in Counter(int(group) for group in groups).most_common()}


def equivalent_sites(
    numbers: ArrayLike, fractional: ArrayLike, cell: ArrayLike, *, symprec: float = TIGHT
) -> NDArray[np.int64]:
    """For each site the first one that a symmetry operation maps onto it, (n,); each its own where spglib finds none.

    Args:
        numbers, fractional, cell: as for `number`.
        symprec: tolerance in angstrom.

    Raises:
        ImportError: spglib is not installed.
    """
    import spglib

    kinds = np.asarray(numbers).astype(int)
    crystal = (np.asarray(cell, dtype=np.float64), np.asarray(fractional, dtype=np.float64), kinds.tolist())
    found: Any = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = spglib.get_symmetry_dataset(crystal, symprec=symprec)
    except Exception as error:
        # new versions raise an error of their own where older ones return None
        if not type(error).__module__.startswith("spglib"):
            raise
    return np.arange(len(kinds)) if found is None else np.asarray(found.equivalent_atoms, dtype=np.int64)
