"""Whether a crystal can exist at all: atoms apart, a cell with a volume, and charges that can balance.

The two rules are those of CDVAE (Xie et al. 2022), which the field reports. They are weak: nearly everything without
clashes passes the first, and the second asks for common oxidation states only, which 9 % of real crystals do not have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "MIN_DISTANCE",
    "MIN_VOLUME",
    "Verdict",
    "check",
    "composition_valid",
    "reduced_composition",
    "shortest_distances",
]

MIN_DISTANCE = 0.5
"""Angstrom: atoms closer than this are a clash."""
MIN_VOLUME = 0.1
"""Cubic angstrom: a smaller cell is no cell."""
MAX_LENGTH = 1e4
"""Angstrom: cells with a longer side are not judged; no crystal has one."""
REASONS = ("ok", "empty", "element", "not_finite", "cell", "volume", "overlap", "composition")


@dataclass(frozen=True)
class Verdict:
    """What is known about one crystal.

    Attributes:
        reason: "ok", or the first thing that is wrong: "empty", "element", "not_finite", "cell", "volume", "overlap",
            "composition".
        message: in words.
        atoms: how many.
        structure_valid: sites at least 0.5 angstrom apart and a volume of at least 0.1 cubic angstrom.
        structure_valid_images: the same, but an atom's own periodic images count as well.
        composition_valid: charges can balance (`composition_valid`).
        distance, image_distance: smallest distance between different sites and from a site to its own images,
            angstrom; NaN where there is none.
        volume: of the cell, cubic angstrom; NaN where there is none.
    """

    reason: str
    message: str
    atoms: int
    structure_valid: bool = False
    structure_valid_images: bool = False
    composition_valid: bool = False
    distance: float = math.nan
    image_distance: float = math.nan
    volume: float = math.nan

    @property
    def valid(self) -> bool:
        """Structure and composition valid; the fingerprint, the third condition of published codes, is made apart."""
        return self.structure_valid and self.composition_valid


def check(numbers: ArrayLike, fractional: ArrayLike, cell: ArrayLike) -> Verdict:
    """Judge a crystal; whatever is in the arrays, the answer is a verdict.

    Args:
        numbers: atomic numbers (n,).
        fractional: coordinates in units of the cell (n, 3), anywhere.
        cell: rows a, b, c in angstrom (3, 3).

    Raises:
        ValueError: arrays of other shapes.
    """
    kinds = np.asarray(numbers)
    places, rows = np.asarray(fractional, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    n = len(kinds)
    if kinds.ndim != 1 or places.shape != (n, 3) or rows.shape != (3, 3):
        raise ValueError(
            f"shapes {kinds.shape}, {places.shape}, {rows.shape}; a crystal is (n,), (n, 3) and (3, 3) arrays"
        )
    if not n:
        return Verdict("empty", "no atoms", 0)
    if not np.all((kinds >= 1) & (kinds <= len(_elements()))):
        wrong = int(kinds[(kinds < 1) | (kinds > len(_elements()))][0])
        return Verdict("element", f"no data on atomic number {wrong}", n)
    balanced = composition_valid(kinds)
    if not (np.isfinite(places).all() and np.isfinite(rows).all()):
        return Verdict("not_finite", "a coordinate or the cell is not a finite number", n, composition_valid=balanced)
    if np.abs(rows).max() > MAX_LENGTH:
        message = f"a cell vector longer than {MAX_LENGTH:g} angstrom"
        return Verdict("cell", message, n, composition_valid=balanced)
    volume = abs(float(np.linalg.det(rows)))
    if not volume >= MIN_VOLUME:
        message = f"a volume of {volume:.3g} cubic angstrom, less than {MIN_VOLUME:g}"
        return Verdict("volume", message, n, composition_valid=balanced, volume=volume)
    try:
        distance, image = shortest_distances(places, rows)
    except ValueError as error:
        return Verdict("cell", str(error), n, composition_valid=balanced, volume=volume)
    apart = not distance < MIN_DISTANCE
    verdict = Verdict(
        "ok" if apart and balanced else "overlap" if not apart else "composition",
        "",
        n,
        structure_valid=apart,
        structure_valid_images=apart and image >= MIN_DISTANCE,
        composition_valid=balanced,
        distance=distance,
        image_distance=image,
        volume=volume,
    )
    if not apart:
        return _say(verdict, f"two sites {distance:.3f} angstrom apart, less than {MIN_DISTANCE:g}")
    if not balanced:
        return _say(verdict, "no oxidation states balance with anions more electronegative than cations")
    return verdict


def _say(verdict: Verdict, message: str) -> Verdict:
    return Verdict(**{**verdict.__dict__, "message": message})


def shortest_distances(fractional: ArrayLike, cell: ArrayLike) -> tuple[float, float]:
    """Smallest distance between different sites, and from a site to its own images, both under periodic boundaries.

    Exact for any cell: distances are taken in the Minkowski-reduced cell, whose 27 nearest images hold the shortest.

    Args:
        fractional: (n, 3) in units of the cell.
        cell: rows a, b, c in angstrom (3, 3), not flat.

    Returns:
        both in angstrom; the first is NaN for one site.

    Raises:
        ValueError: a cell so flat that it cannot be reduced.
    """
    from ase.geometry.minkowski_reduction import minkowski_reduce

    places, rows = np.asarray(fractional, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    try:
        reduced, change = minkowski_reduce(rows)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the cell cannot be reduced: {error}") from error
    image = float(np.linalg.norm(reduced, axis=1).min())
    if len(places) < 2:
        return math.nan, image
    # rows = inverse(change) reduced, so a point keeps its place as fractional @ inverse(change)
    inner = places @ np.linalg.inv(change)
    i, j = np.triu_indices(len(places), 1)
    offsets = np.stack(np.meshgrid(*([[-1.0, 0.0, 1.0]] * 3), indexing="ij"), -1).reshape(27, 3) @ reduced
    smallest = math.inf
    for start in range(0, len(i), 20_000):
        pairs = inner[i[start : start + 20_000]] - inner[j[start : start + 20_000]]
        apart = (pairs - np.round(pairs)) @ reduced
        smallest = min(smallest, float(((apart[:, None] + offsets) ** 2).sum(-1).min()))
    return math.sqrt(smallest), image


def reduced_composition(numbers: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    """Atoms of each element divided by their greatest common divisor: ``((atomic number, count), ...)``, sorted."""
    return _reduce(Counter(int(number) for number in numbers))


def _reduce(counts: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    divisor = math.gcd(*counts.values()) if counts else 1
    return tuple(sorted((number, count // divisor) for number, count in counts.items()))


def composition_valid(numbers: Iterable[Any]) -> bool:
    """Whether oxidation states can balance: the SMACT test (Davies et al. 2016) in the form of CDVAE.

    A single element passes, and so do metals alone. Otherwise each element takes one of its ``smact14`` oxidation
    states, all of its atoms the same, so that the charges add up to nothing and every cation is less electronegative
    (Pauling) than every anion; an element without a known electronegativity passes that comparison. An element without
    oxidation states (He, Ne, Ar) fails.

    Args:
        numbers: atomic numbers, one an atom, 1-103.

    Raises:
        ValueError: an atomic number without data.
    """
    key = reduced_composition(numbers)
    wrong = [number for number, _ in key if not 1 <= number <= len(_elements())]
    if wrong:
        raise ValueError(f"no data on atomic number {wrong[0]}; known are 1 to {len(_elements())}")
    return _balanced(key)


@lru_cache(maxsize=200_000)
def _balanced(composition: tuple[tuple[int, int], ...]) -> bool:
    """The test itself, without going through all combinations, of which there may be billions.

    A combination passes exactly if there is an electronegativity up to which elements are cations and above which they
    are anions. For each such limit the sums of charge that can be reached grow element by element; there are at most as
    many as charges fit between the extremes.
    """
    if not composition:
        return False
    parts = [(_elements()[number], count) for number, count in composition]
    if len(parts) == 1 or all(element.metal for element, _ in parts):
        return True
    known = {element.electronegativity for element, _ in parts if element.electronegativity is not None}
    return any(_neutral(parts, limit) for limit in [-math.inf, *sorted(known)])


def _neutral(parts: list[tuple[_Element, int]], limit: float) -> bool:
    sums = {0}
    for element, count in parts:
        eneg = element.electronegativity
        states = element.states
        if eneg is not None:
            states = tuple(s for s in states if s == 0 or (s > 0) == (eneg <= limit))
        sums = {total + count * state for total in sums for state in states}
    return 0 in sums


class _Element(NamedTuple):
    metal: bool
    states: tuple[int, ...]
    electronegativity: float | None


@cache
def _elements() -> dict[int, _Element]:
    """SMACT's tables by atomic number, those without a gap."""
    try:
        import smact
    except ImportError as error:
        raise ImportError("smact is not installed; install the extra: pip install 'moldiff[crystal]'") from error
    found = {}
    for symbol, element in smact.element_dictionary().items():
        states = tuple(dict.fromkeys(int(state) for state in element.oxidation_states_smact14 or ()))
        eneg = element.pauling_eneg
        known = None if eneg is None or not math.isfinite(eneg) else float(eneg)
        found[int(element.number)] = _Element(symbol in smact.metals, states, known)
    return {number: found[number] for number in range(1, len(found) + 1) if number in found}
