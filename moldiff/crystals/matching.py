"""Whether two crystals are the same, by pymatgen's StructureMatcher (Ong et al. 2013), and how far apart they are.

The matcher is slow and now and then takes minutes for one pair, so it is asked as seldom as possible: only for the same
reduced composition, and only for the same number of atoms in the primitive cell (without it the matcher says no
itself). `distinct` and `seen` choose the pairs; who compares them, and for how long, is the caller's affair.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CSP",
    "LOOSE",
    "STRICT",
    "UNKNOWN",
    "Crystal",
    "Tolerances",
    "distinct",
    "key",
    "matches",
    "reduce",
    "rms_distance",
    "seen",
]


class Tolerances(NamedTuple):
    """Of StructureMatcher.

    Attributes:
        ltol: fractional difference of lengths. stol: site distance in units of (volume / atoms)^(1/3). angle: degrees.
    """

    ltol: float
    stol: float
    angle: float


STRICT = Tolerances(0.2, 0.3, 5.0)
"""The matcher's defaults, MatterGen's for unique and novel."""
LOOSE = Tolerances(0.3, 0.5, 10.0)
"""DiffCSP's and FlowMM's, for structure prediction and, there, for novelty."""
CSP = LOOSE
"""For structure prediction."""
UNKNOWN = -1
"""Stands for a place where a comparison gave no answer."""

Crystal = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Atomic numbers (n,), fractional coordinates (n, 3), rows of the cell in angstrom (3, 3)."""
Ask = Callable[[Sequence[tuple[Crystal, Crystal]]], Sequence[bool | None]]
"""Answers for pairs of reduced crystals: the same or not, None where it is not known (time-out, error)."""


def reduce(crystal: Crystal) -> Crystal:
    """The Niggli-reduced cell made primitive, as the matcher does before it compares.

    Raises:
        ValueError: what pymatgen or spglib cannot reduce; they raise other errors too.
    """
    from pymatgen.core import Structure

    numbers, fractional, cell = crystal
    structure = Structure(cell, numbers, np.asarray(fractional) % 1.0)
    small = structure.get_reduced_structure(reduction_algo="niggli").get_primitive_structure()
    kinds = np.array([site.specie.Z for site in small], dtype=np.int64)
    return kinds, np.asarray(small.frac_coords) % 1.0, np.array(small.lattice.matrix)


def matches(pair: tuple[Crystal, Crystal], *, tolerances: Sequence[float] = STRICT) -> bool:
    """Whether two crystals, both from `reduce`, are the same.

    Args:
        pair: the two.
        tolerances: `STRICT`, `LOOSE` or others: ltol, stol and angle.
    """
    first, second = (_structure(crystal) for crystal in pair)
    return bool(_matcher(*tolerances).fit(first, second, skip_structure_reduction=True))


def rms_distance(pair: tuple[Crystal, Crystal], *, tolerances: Sequence[float] = CSP) -> float | None:
    """RMS distance of matched sites over (volume / atoms)^(1/3), or None where the crystals do not match.

    Args:
        pair: any two crystals; they are reduced here.
        tolerances: ltol, stol and angle.
    """
    first, second = (_structure(crystal) for crystal in pair)
    if first.composition.reduced_formula != second.composition.reduced_formula:
        return None
    found = _matcher(*tolerances).get_rms_dist(first, second)
    return None if found is None else float(found[0])


@cache
def _matcher(ltol: float, stol: float, angle: float) -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle)


def _structure(crystal: Crystal) -> Any:
    from pymatgen.core import Structure

    numbers, fractional, cell = crystal
    return Structure(cell, numbers, fractional)


def key(crystal: Crystal) -> Hashable:
    """What two reduced crystals must share to match: the reduced composition and the number of atoms."""
    numbers = np.asarray(crystal[0])
    kinds, counts = np.unique(numbers, return_counts=True)
    divisor = math.gcd(*counts.tolist()) if len(counts) else 1
    return (len(numbers), tuple(kinds.tolist()), tuple((counts // divisor).tolist()))


def distinct(crystals: Sequence[Crystal | None], ask: Ask) -> list[int | None]:
    """Sort crystals into groups of equals, each led by its first member.

    In every round the first crystal without a group leads a new one in each bucket, and the others of its bucket are
    compared with it; so n crystals of k kinds take at most n k comparisons.

    Args:
        crystals: from `reduce`; None where there is none.
        ask: compares pairs.

    Returns:
        for each the place of its group's leader (its own place if it leads), None where there is no crystal or a
        comparison gave no answer: such a one counts as neither new nor unique.
    """
    leaders: list[int | None] = [None] * len(crystals)
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for place, crystal in enumerate(crystals):
        if crystal is not None:
            buckets[key(crystal)].append(place)
    open_buckets = list(buckets.values())
    while open_buckets:
        asked = [(members[0], other) for members in open_buckets for other in members[1:]]
        for members in open_buckets:
            leaders[members[0]] = members[0]
        answers = dict(
            zip(asked, ask([(_there(crystals, one), _there(crystals, other)) for one, other in asked]), strict=True)
        )
        rest = []
        for members in open_buckets:
            left = []
            for other in members[1:]:
                same = answers[members[0], other]
                if same:
                    leaders[other] = members[0]
                elif same is not None:
                    left.append(other)
            if left:
                rest.append(left)
        open_buckets = rest
    return leaders


def seen(crystals: Sequence[Crystal | None], known: Sequence[Crystal | None], ask: Ask) -> list[int | None]:
    """Look each crystal up among known ones.

    Args:
        crystals, known: from `reduce`; None where there is none.
        ask: compares pairs.

    Returns:
        for each the place of the first known crystal that matches it, None if none does, `UNKNOWN` (-1) where there is
        no crystal, or no match and a comparison without an answer.
    """
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for place, crystal in enumerate(known):
        if crystal is not None:
            buckets[key(crystal)].append(place)
    asked = [
        (place, other)
        for place, crystal in enumerate(crystals)
        if crystal is not None
        for other in buckets.get(key(crystal), ())
    ]
    answers = ask([(_there(crystals, place), _there(known, other)) for place, other in asked])
    found: list[int | None] = [UNKNOWN if crystal is None else None for crystal in crystals]
    for (place, other), same in zip(asked, answers, strict=True):
        now = found[place]
        if now is not None and now != UNKNOWN:
            continue
        if same:
            found[place] = other
        elif same is None:
            found[place] = UNKNOWN
    return found


def _there(crystals: Sequence[Crystal | None], place: int) -> Crystal:
    crystal = crystals[place]
    if crystal is None:
        raise ValueError(f"there is no crystal at place {place}; leave it out of the comparison")
    return crystal
