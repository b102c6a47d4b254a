"""Everything found out about one crystal, or one pair of them: what the worker processes run.

Each function takes plain data and returns plain data, so that both cross process borders. Each is a step of its own, so
that a fingerprint that never ends does not take the verdict on distances with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.crystals import distributions, fingerprints, matching, symmetry, validity
from moldiff.crystals.matching import Crystal

__all__ = ["failure", "fingerprint", "judge", "match", "reduced", "relaxed", "rms", "warm"]


def warm(function: str) -> None:
    """Import what a function of this module needs; a worker does so before the time of its first crystal runs.

    Raises:
        ImportError: an extra is missing.
    """
    salt = (np.array([11, 17]), np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]), 4.0 * np.eye(3))
    if function in ("judge", "fingerprint"):
        judge(salt)
    if function == "fingerprint":
        fingerprints.structure_fingerprint(*salt)
    if function in ("match", "reduced", "rms"):
        match((reduced(salt), reduced(salt)), tolerances=matching.STRICT)


def failure(reason: str, message: str) -> dict[str, Any]:
    """The line of a crystal that could not be judged: a failure in every respect."""
    flags = ("structure_valid", "structure_valid_images", "composition_valid", "fingerprint", "valid")
    row = {"formula": "", "reason": reason, "message": message, "atoms": 0, "elements": 0, "spacegroup": 0}
    return row | dict.fromkeys(flags, False)


def judge(crystal: Crystal) -> dict[str, Any]:
    """The line of a crystal in the CSV file, before fingerprints and comparisons."""
    numbers, fractional, cell = crystal
    verdict = validity.check(numbers, fractional, cell)
    row = failure(verdict.reason, verdict.message)
    row |= {
        "formula": formula(numbers),
        "atoms": verdict.atoms,
        "elements": len(np.unique(numbers)),
        "structure_valid": verdict.structure_valid,
        "structure_valid_images": verdict.structure_valid_images,
        "composition_valid": verdict.composition_valid,
        "distance": verdict.distance,
        "image_distance": verdict.image_distance,
        "volume": verdict.volume,
        "density": math.nan,
    }
    if verdict.reason in ("ok", "overlap", "composition"):
        row["density"] = distributions.density(numbers, cell)
        row["spacegroup"] = symmetry.number(numbers, np.asarray(fractional) % 1.0, cell)
    return row


def formula(numbers: Any) -> str:
    """Reduced formula in Hill's order; atomic numbers that are no elements are written as such."""
    from ase.data import chemical_symbols
    from ase.formula import Formula

    kinds, counts = np.unique(np.asarray(numbers, dtype=np.int64), return_counts=True)
    if not len(kinds):
        return ""
    if kinds[0] < 1 or kinds[-1] >= len(chemical_symbols):
        return " ".join(f"Z{kind}:{count}" for kind, count in zip(kinds, counts, strict=True))
    known = {chemical_symbols[kind]: int(count) for kind, count in zip(kinds, counts, strict=True)}
    return str(Formula.from_dict(known).reduce()[0].format("hill"))


def fingerprint(crystal: Crystal) -> NDArray[np.float32]:
    """CrystalNN fingerprint of the structure (61,), float32.

    Raises:
        ValueError: if it is not a finite vector; what pymatgen raises otherwise.
    """
    found = fingerprints.structure_fingerprint(*crystal)
    if found.shape != (fingerprints.STRUCTURE_SIZE,) or not np.isfinite(found).all():
        raise ValueError("the fingerprint is not finite")
    return found.astype(np.float32)


def reduced(crystal: Crystal) -> Crystal:
    """The primitive, Niggli-reduced cell that the matcher compares."""
    return matching.reduce(crystal)


def match(pair: tuple[Crystal, Crystal], *, tolerances: Sequence[float]) -> bool:
    """Whether two reduced crystals are the same."""
    return matching.matches(pair, tolerances=tolerances)


def rms(pair: tuple[Crystal, Crystal]) -> float | None:
    """RMS distance of a prediction from the truth, None where they do not match."""
    return matching.rms_distance(pair)


def relaxed(crystal: Crystal, *, calculator: str, seconds: float) -> dict[str, Any]:
    """Relaxation with an ASE calculator; the fields of `moldiff.crystals.relax.Relaxation`."""
    from moldiff.crystals import relax

    return relax.relax(*crystal, calculator=calculator, seconds=seconds)._asdict()
