"""Relaxing crystals with any ASE calculator that the user names.

Nothing is said here about stability: that needs the energies of all competing phases by the same method.
"""

from __future__ import annotations

import math
import time
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["FMAX", "STEPS", "Relaxation", "relax", "resolve"]

FMAX = 0.05
"""eV/angstrom: largest force at the end, the cell's as ASE's filter defines it."""
STEPS = 300


class Relaxation(NamedTuple):
    """What became of one crystal.

    Attributes:
        reason: "ok", "steps" or "time" (not converged), "energy" (not finite).
        before, after: energy in eV/atom; NaN where unknown.
        steps: of the optimiser.
        volume_change: relative, after against before.
    """

    reason: str
    before: float
    after: float
    steps: int
    volume_change: float


def resolve(name: str) -> Any:
    """An ASE calculator from its name.

    Args:
        name: one of ASE's own ("emt", "lj", "gulp", ...), or ``"module:factory"``, a callable without arguments that
            returns a calculator, such as ``"mace.calculators:mace_mp"``.

    Raises:
        ValueError: no such calculator, module or factory, or it cannot be made.
    """
    module, colon, factory = name.partition(":")
    try:
        if colon:
            return getattr(import_module(module), factory)()
        from ase.calculators.calculator import get_calculator_class

        return get_calculator_class(name)()
    except Exception as error:  # anything may go wrong in somebody's factory
        raise ValueError(
            f"cannot make the calculator {name!r} ({type(error).__name__}: {error}); give a name that ASE knows, such "
            "as emt, or module:factory"
        ) from error


@cache
def _calculator(name: str) -> Any:
    return resolve(name)


def relax(
    numbers: ArrayLike,
    fractional: ArrayLike,
    cell: ArrayLike,
    *,
    calculator: str,
    fmax: float = FMAX,
    steps: int = STEPS,
    seconds: float = math.inf,
) -> Relaxation:
    """Relax positions and cell (positions alone where the calculator has no stress) by FIRE.

    Args:
        numbers: atomic numbers (n,).
        fractional: (n, 3) in units of the cell.
        cell: rows a, b, c in angstrom (3, 3).
        calculator: name as for `resolve`.
        fmax: eV/angstrom.
        steps: at most so many.
        seconds: at most so long, checked after each step.

    Raises:
        ValueError: an unknown calculator; a calculator may raise errors of its own.
    """
    from ase import Atoms
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE

    atoms = Atoms(np.asarray(numbers), scaled_positions=np.asarray(fractional), cell=np.asarray(cell), pbc=True)
    atoms.calc = _calculator(calculator)
    before, volume = float(atoms.get_potential_energy()) / len(atoms), float(atoms.get_volume())
    if not math.isfinite(before):
        return Relaxation("energy", before, math.nan, 0, math.nan)
    with_stress = "stress" in getattr(atoms.calc, "implemented_properties", ())
    optimiser = FIRE(FrechetCellFilter(atoms) if with_stress else atoms, logfile=None)
    end = time.monotonic() + seconds
    reason = "steps"
    for converged in optimiser.irun(fmax=fmax, steps=steps):
        if converged:
            reason = "ok"
            break
        if time.monotonic() > end:
            reason = "time"
            break
    after = float(atoms.get_potential_energy()) / len(atoms)
    if not math.isfinite(after):
        reason = "energy"
    return Relaxation(reason, before, after, int(optimiser.nsteps), float(atoms.get_volume()) / volume - 1)
