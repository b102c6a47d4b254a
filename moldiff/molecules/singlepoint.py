"""Electronic properties of one geometry by GFN2-xTB (Bannwarth et al. 2019), through tblite (extra ``xtb``).

These are the labels of the prepared QM9 archive: orbital energies, the dipole moment, and the isotropic polarisability
from dipoles in fields of 0.001 atomic units along either direction of each axis. A molecule of QM9's size takes 2-5 ms,
with the polarisability 10-20 ms. Set ``OMP_NUM_THREADS=1`` where many processes do this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from moldiff.molecules.convert import Arrays
from moldiff.molecules.relaxation import refusal

BOHR = 0.529177210903  # angstrom
HARTREE = 27.211386245988  # eV
DEBYE = 2.541746473  # of an atomic unit of the dipole moment
FIELD = 0.001  # atomic units


@dataclass(frozen=True)
class SinglePoint:
    """What `single_point` found; numbers that could not be had, or were not asked for, are NaN.

    Attributes:
        reason: one of `moldiff.molecules.relaxation.REASONS`. message: the cause in words, empty when it is "ok".
        energy: total, hartree.
        homo, lumo, gap: eV.
        dipole: debye.
        polarizability: isotropic, bohr^3.
    """

    reason: str
    message: str = ""
    energy: float = math.nan
    homo: float = math.nan
    lumo: float = math.nan
    gap: float = math.nan
    dipole: float = math.nan
    polarizability: float = math.nan

    @property
    def ok(self) -> bool:
        """Whether the calculation converged."""
        return self.reason == "ok"


def single_point(arrays: Arrays, *, polarizability: bool = False) -> SinglePoint:
    """Electronic properties at a geometry, as a closed-shell singlet of the molecule's total charge.

    Args:
        arrays: the molecule with all its hydrogens; its bonds do not matter.
        polarizability: six calculations more for the polarisability.

    Returns:
        the properties; a bad structure never raises.

    Raises:
        ImportError: tblite is not installed.
    """
    require()
    refused = refusal(arrays)
    if refused is not None:
        return SinglePoint(refused.reason, refused.message)
    try:
        result = _solve(arrays)
        energies = np.asarray(result.get("orbital-energies")) * HARTREE
        occupied = np.asarray(result.get("orbital-occupations")) > 1
        homo = float(energies[occupied].max())
        lumo = float(energies[~occupied].min()) if not occupied.all() else math.nan
        dipole = float(np.linalg.norm(result.get("dipole"))) * DEBYE
        alpha = _polarizability(arrays) if polarizability else math.nan
        energy = float(result.get("energy"))
    except (RuntimeError, ValueError, ArithmeticError) as error:
        return SinglePoint("scf", " ".join(str(error).split()) or type(error).__name__)
    if not (math.isfinite(energy) and math.isfinite(homo) and math.isfinite(dipole)):
        return SinglePoint("nonfinite", "energy or orbitals are not finite")
    return SinglePoint("ok", "", energy, homo, lumo, lumo - homo, dipole, alpha)


def require() -> None:
    """Do nothing if tblite is there.

    Raises:
        ImportError: naming the extra, if it is not.
    """
    try:
        import tblite.interface  # noqa: F401
    except ImportError as error:
        raise ImportError(f"GFN2-xTB needs tblite ({error}); install it: pip install 'moldiff[xtb]'") from error


def _solve(arrays: Arrays, field: np.ndarray | None = None) -> Any:
    from tblite import library
    from tblite.interface import Calculator

    places = np.ascontiguousarray(arrays.positions, dtype=np.float64) / BOHR
    calculator = Calculator("GFN2-xTB", arrays.numbers, places, charge=float(arrays.charges.sum()))
    calculator.set("verbosity", 0)
    if field is not None:
        # tblite 0.8 hands this argument on as it is, and only takes it as a C pointer
        calculator.add("electric-field", library.ffi.cast("double*", field.ctypes.data))
    return calculator.singlepoint()


def _polarizability(arrays: Arrays) -> float:
    total = 0.0
    for axis in range(3):
        field = np.zeros(3)
        field[axis] = FIELD
        dipoles = [_solve(arrays, sign * field).get("dipole")[axis] for sign in (1.0, -1.0)]
        total += (dipoles[0] - dipoles[1]) / (2 * FIELD)
    return float(total) / 3
