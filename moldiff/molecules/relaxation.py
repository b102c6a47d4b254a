"""How far a geometry is from the nearest minimum of GFN2-xTB (Bannwarth et al. 2019), through tblite (extra ``xtb``).

A molecule is relaxed at its total charge as a closed-shell singlet until no atom feels more than 0.05 eV/angstrom, at
most 500 steps. ASE's BFGS does it, started from a force field's Hessian (MMFF94, else UFF), which takes about 5-15
gradients for a molecule of the size of QM9's.

tblite runs on several threads by itself; where many processes relax molecules, set ``OMP_NUM_THREADS=1`` before they
start.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers

from moldiff.molecules.convert import Arrays, MoleculeError, to_mol
from moldiff.molecules.geometry import changes, rmsd

REASONS: tuple[str, ...] = ("ok", "empty", "nonfinite", "element", "open_shell", "scf", "steps", "time")
"""Reason codes: no atoms; positions or energy not finite; an element beyond radon or none at all; an odd number of
electrons; the self-consistent field (or tblite) failed; not converged in the steps, or in the seconds, allowed."""

_KCAL_PER_EV = 23.060547830619
_MAX_NUMBER = 86
_BROKEN, _FORMED = 1.3, 1.1  # multiples of the sum of covalent radii
_DIHYDROGEN = 0.74  # angstrom
_SOFTEST, _STIFFEST = 1.0, 300.0  # eV/angstrom^2, bounds of the starting Hessian's eigenvalues
_STEP = 1e-4  # angstrom, of the force field's finite differences
_MOST_ATOMS = 150  # for which the Hessian is made: its cost grows with the cube of the number
_MAX_STEP = 0.2  # angstrom an atom moves in one step


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What `relax` found; numbers that could not be had are NaN.

    Attributes:
        ok: the optimiser converged.
        reason: one of `REASONS`.
        message: the cause in words, empty when the reason is "ok".
        drop: energy before minus after, kcal/mol. Where it did not converge, the drop so far.
        rmsd, rmsd_heavy: angstrom, all atoms and without hydrogens, after superposition.
        length_change, angle_change, torsion_change: mean |change|, angstrom and degrees; see
            `moldiff.molecules.geometry.changes`.
        graph_changed: a bond that is drawn is longer than 1.3, or a pair that is not bonded shorter than 1.1, times the
            sum of covalent radii after relaxation; None where nothing was relaxed.
        steps: steps of the optimiser.
        evaluations: energies and gradients computed.
        positions: (n, 3) angstrom, the relaxed geometry, or None.
    """

    ok: bool
    reason: str
    message: str = ""
    drop: float = math.nan
    rmsd: float = math.nan
    rmsd_heavy: float = math.nan
    length_change: float = math.nan
    angle_change: float = math.nan
    torsion_change: float = math.nan
    graph_changed: bool | None = None
    steps: int = 0
    evaluations: int = 0
    positions: np.ndarray | None = None


def relax(arrays: Arrays, *, fmax: float = 0.05, steps: int = 500, seconds: float | None = None) -> Relaxation:
    """Relax one molecule with GFN2-xTB.

    Args:
        arrays: the molecule with all its hydrogens; its bonds say which coordinates are compared, and start the
            optimiser well, but do not enter the energy.
        fmax: largest force on an atom at which it is converged, eV/angstrom.
        steps: most steps.
        seconds: stop after so long (checked between steps), none by default.

    Returns:
        the result; a bad structure never raises.

    Raises:
        ImportError: tblite is not installed.
        ValueError: fmax or steps that are not positive.
    """
    if not fmax > 0 or steps < 1:
        raise ValueError(f"fmax = {fmax}, steps = {steps}; both must be positive")
    calculator = _calculator(arrays)
    refused = refusal(arrays)
    if refused is not None:
        return refused
    from ase import Atoms
    from ase.optimize import BFGS

    atoms = Atoms(numbers=arrays.numbers, positions=arrays.positions, calculator=calculator)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    reason, message, taken = "ok", "", 0
    before = math.nan
    try:
        before = float(atoms.get_potential_energy())
        optimizer = BFGS(atoms, logfile=None, maxstep=_MAX_STEP)
        hessian = _hessian(arrays)
        if hessian is not None:
            optimizer.H0 = hessian
        converged = False
        for done in optimizer.irun(fmax=fmax, steps=steps):
            converged, taken = bool(done), int(optimizer.nsteps)
            if not converged and time.monotonic() > deadline:
                reason, message = "time", f"not converged in {seconds} seconds"
                break
        if not converged and reason == "ok":
            reason, message = "steps", f"not converged to {fmax} eV/angstrom in {steps} steps"
        after, positions = float(atoms.get_potential_energy()), atoms.get_positions()
    except (RuntimeError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return Relaxation(False, "scf", " ".join(str(error).split()) or type(error).__name__, steps=taken)
    if not (math.isfinite(before) and math.isfinite(after) and np.isfinite(positions).all()):
        return Relaxation(False, "nonfinite", "energy or geometry is not finite", steps=taken)
    change = changes(arrays, positions)
    return Relaxation(
        ok=reason == "ok",
        reason=reason,
        message=message,
        drop=(before - after) * _KCAL_PER_EV,
        rmsd=rmsd(arrays.positions, positions),
        rmsd_heavy=rmsd(arrays.positions, positions, numbers=arrays.numbers, heavy=True),
        length_change=change.lengths,
        angle_change=change.angles,
        torsion_change=change.torsions,
        graph_changed=_graph_changed(arrays, positions),
        steps=taken,
        evaluations=taken + 1,
        positions=positions,
    )


def _calculator(arrays: Arrays) -> Any:
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise ImportError(f"GFN2-xTB needs tblite ({error}); install it: pip install 'moldiff[xtb]'") from error
    charge = int(arrays.charges.sum())
    return TBLite(method="GFN2-xTB", charge=charge, multiplicity=1, verbosity=0)


def refusal(arrays: Arrays) -> Relaxation | None:
    """Why GFN2-xTB cannot calculate a molecule, as far as that is known without calculating; None if it may.

    No atoms, positions that are not finite, an element beyond those it knows, or electrons that fill no closed shell.
    """
    if not len(arrays):
        return Relaxation(False, "empty", "no atoms")
    if not np.isfinite(arrays.positions).all():
        return Relaxation(False, "nonfinite", "positions are not finite")
    if arrays.numbers.min() < 1 or arrays.numbers.max() > _MAX_NUMBER:
        return Relaxation(False, "element", f"GFN2-xTB knows the atomic numbers 1-{_MAX_NUMBER}")
    electrons = int(arrays.numbers.sum() - arrays.charges.sum())
    if electrons % 2 or electrons < 1:
        return Relaxation(False, "open_shell", f"{electrons} electrons are no closed shell")
    return None


def _hessian(arrays: Arrays) -> np.ndarray | None:
    """A positive definite Hessian (3n, 3n) of a force field at the geometry, eV/angstrom^2; None where none has it."""
    if len(arrays) > _MOST_ATOMS:
        return None
    try:
        mol = to_mol(arrays)
    except MoleculeError:
        return None
    field = _field(mol)
    if field is None:
        return None
    start = arrays.positions.ravel()
    rows = []
    for i in range(len(start)):
        moved = []
        for step in (_STEP, -_STEP):
            place = start.copy()
            place[i] += step
            field.CalcEnergy(place.tolist())  # RDKit's gradient uses the distances that the energy left behind
            moved.append(np.array(field.CalcGrad(place.tolist())))
        rows.append((moved[0] - moved[1]) / (2 * _STEP * _KCAL_PER_EV))
    hessian = np.array(rows)
    if not np.isfinite(hessian).all():
        return None
    # Away from a minimum some curvatures are negative or nearly none; the optimiser needs all of them positive.
    curvature, modes = np.linalg.eigh((hessian + hessian.T) / 2)
    return modes * np.clip(np.abs(curvature), _SOFTEST, _STIFFEST) @ modes.T


def _field(mol: Chem.Mol) -> Any | None:
    with rdBase.BlockLogs():
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
        if properties is not None:
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
        else:
            return None
        if field is not None:
            field.Initialize()
    return field


def _graph_changed(arrays: Arrays, positions: np.ndarray) -> bool:
    periodic = Chem.GetPeriodicTable()
    radii = np.array([periodic.GetRcovalent(number) for number in arrays.numbers.tolist()])
    first, second = np.triu_indices(len(arrays), 1)
    # Two hydrogens bond at more than twice the radius that hydrogen has with other atoms.
    hydrogen = (arrays.numbers[first] == 1) & (arrays.numbers[second] == 1)
    typical = np.where(hydrogen, _DIHYDROGEN, radii[first] + radii[second])
    ratio = np.linalg.norm(positions[first] - positions[second], axis=1) / typical
    bonded = arrays.bonds[first, second] > 0
    return bool((bonded & (ratio > _BROKEN)).any() or (~bonded & (ratio < _FORMED)).any())
