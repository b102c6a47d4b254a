"""How a set of crystals compares with another as a whole: coverage both ways, density, number of elements."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["COMPOSITION_CUT", "STRUCTURE_CUT", "Coverage", "bootstrap", "coverage", "density", "wasserstein"]

STRUCTURE_CUT, COMPOSITION_CUT = 0.4, 10.0
"""Distances of fingerprints up to which a crystal is covered: the literature's for MP-20."""
BLOCK = 2000
GRAM_PER_CM3 = 1.66053906660
"""Of one dalton in a cubic angstrom (CODATA 2018)."""


class Coverage(NamedTuple):
    """Which members of two sets are covered by the other.

    Attributes:
        recalled: (m,) bool, of the reference. precise: (n,) bool, of the sample.
    """

    recalled: NDArray[np.bool_]
    precise: NDArray[np.bool_]


def coverage(
    structures: NDArray[np.float64],
    compositions: NDArray[np.float64],
    reference_structures: NDArray[np.float64],
    reference_compositions: NDArray[np.float64],
    *,
    structure_cut: float = STRUCTURE_CUT,
    composition_cut: float = COMPOSITION_CUT,
) -> Coverage:
    """Whether a nearest neighbour in the other set is near enough, for structure and composition independently.

    As in CDVAE the nearest by structure and the nearest by composition may be different crystals.

    Args:
        structures: fingerprints of the sample (n, 61). compositions: its standardised ones (n, 132).
        reference_structures, reference_compositions: of the reference (m, 61) and (m, 132).
        structure_cut, composition_cut: largest Euclidean distances.

    Raises:
        ValueError: different numbers of structures and compositions.
    """
    if len(structures) != len(compositions) or len(reference_structures) != len(reference_compositions):
        raise ValueError(
            f"{len(structures)} and {len(compositions)} fingerprints, {len(reference_structures)} and "
            f"{len(reference_compositions)} of the reference; give one of each kind for every crystal"
        )
    by_structure = _nearest(structures, reference_structures)
    by_composition = _nearest(compositions, reference_compositions)
    return Coverage(
        recalled=(by_structure[1] <= structure_cut) & (by_composition[1] <= composition_cut),
        precise=(by_structure[0] <= structure_cut) & (by_composition[0] <= composition_cut),
    )


def _nearest(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Distance of each row to the nearest row of the other set, both ways; infinite where the other is empty."""
    one, other = np.full(len(first), math.inf), np.full(len(second), math.inf)
    if not len(first) or not len(second):
        return one, other
    squares = (second**2).sum(1)
    for start in range(0, len(first), BLOCK):
        rows = first[start : start + BLOCK]
        apart = np.sqrt(np.maximum((rows**2).sum(1)[:, None] + squares - 2 * rows @ second.T, 0))
        one[start : start + BLOCK] = apart.min(1)
        other = np.minimum(other, apart.min(0))
    return one, other


def density(numbers: ArrayLike, cell: ArrayLike) -> float:
    """Mass over volume in g/cm^3.

    Args:
        numbers: atomic numbers (n,).
        cell: rows a, b, c in angstrom (3, 3).

    Raises:
        ValueError: a cell without volume.
    """
    from ase.data import atomic_masses

    volume = abs(float(np.linalg.det(np.asarray(cell, dtype=np.float64))))
    if not volume > 0:
        raise ValueError(f"volume {volume} cubic angstrom; a density needs a cell with a volume")
    return float(atomic_masses[np.asarray(numbers, dtype=np.int64)].sum()) / volume * GRAM_PER_CM3


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance of two sets of numbers (n,) and (m,); NaN if one is empty.

    It is the area between their distribution functions.
    """
    one, other = np.sort(np.asarray(first, dtype=np.float64)), np.sort(np.asarray(second, dtype=np.float64))
    if not len(one) or not len(other):
        return math.nan
    places = np.sort(np.concatenate([one, other]))
    below = np.searchsorted(one, places[:-1], side="right") / len(one)
    other_below = np.searchsorted(other, places[:-1], side="right") / len(other)
    return float(np.sum(np.abs(below - other_below) * np.diff(places)))


def bootstrap(values: ArrayLike, reference: ArrayLike, *, seed: int = 0, resamples: int = 200) -> tuple[float, float]:
    """95 % interval of `wasserstein` when the first set is drawn again; NaN if one is empty.

    Drawing with replacement adds noise of its own to a distance, so the interval is shifted by the difference of the
    draws' mean to the value, and ends at 0.

    Args:
        values: the sample (n,). reference: held fixed (m,).
        seed: of the draws. resamples: how many.
    """
    one, other = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if not len(one) or not len(other):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = np.array([wasserstein(one[rng.integers(0, len(one), len(one))], other) for _ in range(resamples)])
    low, high = np.quantile(drawn, (0.025, 0.975)) - drawn.mean() + wasserstein(one, other)
    return max(0.0, float(low)), max(0.0, float(high))
