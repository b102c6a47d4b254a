"""Primitive and Niggli-reduced cells, space groups and symmetrised crystals, through spglib."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from moldiff.crystals.convert import CrystalArrays, wrap

__all__ = ["niggli", "primitive", "reduced", "space_group", "symmetrised"]

TOLERANCE = 0.1
"""Distance in angstrom within which atoms count as symmetric, as in MP-20's benchmarks."""


def niggli(crystal: CrystalArrays) -> CrystalArrays:
    """The same crystal in its Niggli-reduced cell: as many atoms, in their order; nothing is rotated.

    Raises:
        ValueError: if spglib is not installed or finds no reduced cell, as for one without volume.
    """
    cell = _spglib("niggli_reduce", crystal.cell)
    if cell is None or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise ValueError(f"no Niggli-reduced cell for one of volume {crystal.volume:g} cubic angstrom")
    # whole numbers turn the old cell into the new one; rounding them removes spglib's rounding
    change = np.rint(cell @ np.linalg.inv(crystal.cell))
    if round(abs(np.linalg.det(change))) != 1:
        raise ValueError(f"the Niggli-reduced cell of {np.round(crystal.cell, 3).tolist()} is another lattice")
    return CrystalArrays(crystal.numbers, wrap(crystal.fractional @ np.linalg.inv(change)), change @ crystal.cell)


def primitive(crystal: CrystalArrays, *, tolerance: float = 1e-3) -> CrystalArrays:
    """The crystal in a primitive cell, atoms where they are (averaged over those that coincide).

    Args:
        crystal: any cell.
        tolerance: distance in angstrom within which atoms count as translated copies.

    Raises:
        ValueError: if spglib is not installed.
    """
    found = _spglib("standardize_cell", _cell(crystal), to_primitive=True, no_idealize=True, symprec=tolerance)
    # none is found where atoms coincide; a cell as large as the given one changes nothing
    if found is None or len(found[2]) >= len(crystal.numbers):
        return crystal
    return CrystalArrays(np.asarray(found[2]), wrap(found[1]), np.asarray(found[0]))


def reduced(crystal: CrystalArrays, *, tolerance: float = 1e-3) -> CrystalArrays:
    """The primitive cell, Niggli-reduced: how crystals are prepared for training. Raises as `niggli`."""
    return niggli(primitive(crystal, tolerance=tolerance))


def space_group(crystal: CrystalArrays, *, tolerance: float = TOLERANCE) -> int:
    """Number of the space group, 1-230; 0 where spglib finds none, as for atoms that coincide."""
    found = _spglib("get_symmetry_dataset", _cell(crystal), symprec=tolerance)
    return 0 if found is None else int(found.number)


def symmetrised(crystal: CrystalArrays, *, tolerance: float = TOLERANCE) -> CrystalArrays:
    """The crystal moved to its exact symmetry, in spglib's standard primitive cell.

    What has no symmetry beyond translations (P1), or none that spglib finds, comes back as it is.
    """
    if space_group(crystal, tolerance=tolerance) <= 1:
        return crystal
    found = _spglib("standardize_cell", _cell(crystal), to_primitive=True, no_idealize=False, symprec=tolerance)
    if found is None:
        return crystal
    return CrystalArrays(np.asarray(found[2]), wrap(found[1]), np.asarray(found[0]))


def _cell(crystal: CrystalArrays) -> tuple[Any, Any, Any]:
    return crystal.cell, crystal.fractional, crystal.numbers


def _spglib(function: str, *arguments: Any, **options: Any) -> Any:
    """What a function of spglib returns, None where it fails, whether its version raises or returns None then."""
    try:
        import spglib
    except ImportError as error:
        raise ValueError("this needs spglib: pip install 'moldiff[crystal]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return getattr(spglib, function)(*arguments, **options)
        except (RuntimeError, ValueError):
            return None
