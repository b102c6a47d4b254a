"""Bonds and charges from coordinates, the way the QM9 archive was made.

RDKit's ``DetermineBonds``: connectivity by connect-the-dots, orders and charges by the algorithm of Kim and Kim (2015).
When that fails, connectivity from covalent radii with a cover factor falling from 1.3 to 1.1. A result counts only
without radicals and in one fragment.
"""

from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from moldiff.molecules.convert import Arrays, MoleculeError, build, from_mol, kekule_orders

COVER_FACTORS: tuple[float, ...] = (1.3, 1.25, 1.2, 1.15, 1.1)
"""Multiples of the sum of covalent radii under which two atoms count as bonded, tried in this order."""


class Perceived(NamedTuple):
    """What `perceive` found.

    Attributes:
        arrays: the molecule, or None when no bonds were found.
        reason: "ok", or the code of the first attempt's failure: "empty", "nonfinite", "element", "perception" (RDKit
            found no bond orders), "radical", "disconnected", "charge".
        method: "connect-the-dots", "van der Waals 1.25" and so on; empty on failure.
    """

    arrays: Arrays | None
    reason: str
    method: str


def perceive(
    numbers: np.ndarray,
    positions: np.ndarray,
    *,
    charge: int = 0,
    aromatic: bool = True,
    max_iterations: int = 0,
) -> Perceived:
    """Find bonds and formal charges of a molecule with all its hydrogens.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3) angstrom.
        charge: total charge (e).
        aromatic: mark aromatic bonds as 4; otherwise kekulised orders 1-3.
        max_iterations: limit of RDKit's search for bond orders, 0 for none; large unsaturated molecules can take very
            long without one.

    Returns:
        the arrays or a reason; a geometry without a sensible bonding never raises.

    Raises:
        ValueError: shapes that do not belong together.
    """
    n = len(np.asarray(numbers))
    bare = Arrays(numbers, positions, np.zeros(n, dtype=np.int64), np.zeros((n, n), dtype=np.int64))
    if n == 0:
        return Perceived(None, "empty", "")
    if not np.isfinite(bare.positions).all():
        return Perceived(None, "nonfinite", "")
    if bare.numbers.min() < 1 or bare.numbers.max() > 118:
        return Perceived(None, "element", "")
    attempts: list[tuple[str, bool, float]] = [("connect-the-dots", False, COVER_FACTORS[0])]
    attempts += [(f"van der Waals {factor:g}", True, factor) for factor in COVER_FACTORS]
    first = ""
    for method, use_vdw, factor in attempts:
        result = _attempt(bare, charge, use_vdw, factor, max_iterations, aromatic)
        if isinstance(result, Arrays):
            return Perceived(result, "ok", method)
        first = first or result
    return Perceived(None, first, "")


def _attempt(
    bare: Arrays, charge: int, use_vdw: bool, factor: float, max_iterations: int, aromatic: bool
) -> Arrays | str:
    mol = build(bare, bare.bonds)
    try:
        with rdBase.BlockLogs():
            rdDetermineBonds.DetermineBonds(
                mol, charge=charge, covFactor=factor, embedChiral=False, useVdw=use_vdw, maxIterations=max_iterations
            )
            Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        return "perception"
    if len(Chem.GetMolFrags(mol)) > 1:
        return "disconnected"
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return "radical"
    if Chem.GetFormalCharge(mol) != charge:
        return "charge"
    try:
        found = from_mol(mol)
        if aromatic:
            return found
        Chem.Kekulize(mol, clearAromaticFlags=True)
        return Arrays(found.numbers, found.positions, found.charges, kekule_orders(mol))
    except (MoleculeError, ValueError):
        return "perception"
