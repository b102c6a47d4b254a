"""Is it a molecule? The strict definitions, one verdict a structure.

* **valid**: ``SanitizeMol`` on the given bonds and charges with no implicit hydrogen and no radicals, without the
  clean-up that rewrites them (nitro groups with five bonds on nitrogen are invalid).
* **connected**: one fragment. **valid_connected**: both.
* **valid_connected_published**: the lenient rule most papers use: one fragment, and ``SanitizeMol`` raises nothing when
  implicit hydrogens may fill open valences, clean-up included. Only this one belongs beside published numbers.
* **atom stable**: after kekulising, the bond-order sum is allowed for the element and charge
  (`moldiff.molecules.valences`). **molecule stable**: every atom is. Where the aromatic bonds cannot be kekulised, the
  atoms of that aromatic system are unstable and the others are judged as usual, so the molecule is unstable. Stability
  knows nothing of fragments.

A failure is an answer here, never an exception.
"""

from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from moldiff.molecules.convert import Arrays, MoleculeError, build, sanitise_mol
from moldiff.molecules.kekule import kekulise
from moldiff.molecules.valences import is_stable

REASONS: tuple[str, ...] = (
    "ok",
    "empty",
    "nonfinite",
    "element",
    "kekulize",
    "valence",
    "sanitize",
    "radical",
    "disconnected",
)
"""Reason codes in order of precedence; "ok" is valid and connected, "disconnected" is valid but in pieces, every other
one is invalid: no atoms, positions not finite, an atomic number outside 1-118, aromatic bonds without a Kekule form,
too many bonds on an atom, anything else RDKit refuses, unpaired electrons (a missing hydrogen is one)."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `check` found.

    Attributes:
        mol: the sanitised molecule with its conformer (no stereochemistry yet), or None when it is not valid.
        valid: strictly valid.
        connected: one fragment (bonds of any symbol count).
        published_valid: valid and connected by the lenient, published rule (implicit hydrogens and radicals allowed).
        atoms: number of atoms.
        atoms_stable: how many of them are stable.
        reason: one of `REASONS`.
        message: the cause in words, empty when the reason is "ok".
    """

    mol: Chem.Mol | None
    valid: bool
    connected: bool
    published_valid: bool
    atoms: int
    atoms_stable: int
    reason: str
    message: str = ""

    @property
    def valid_connected(self) -> bool:
        """Strictly valid and one fragment."""
        return self.valid and self.connected

    @property
    def molecule_stable(self) -> bool:
        """Every atom is stable, and there is one."""
        return self.atoms > 0 and self.atoms_stable == self.atoms


def check(arrays: Arrays) -> Verdict:
    """Judge one structure; see the module for the definitions.

    Positions only have to be finite: one that is not makes the structure a failure in every respect.

    Args:
        arrays: the structure, with or without aromatic bonds.

    Returns:
        the verdict; a bad molecule never raises.
    """
    n = len(arrays)
    if n == 0:
        return Verdict(None, False, False, False, 0, 0, "empty", "no atoms")
    connected = _connected(arrays.bonds)
    if not np.isfinite(arrays.positions).all():
        return Verdict(None, False, connected, False, n, 0, "nonfinite", "positions are not finite")
    orders, failed = kekulise(arrays.numbers, arrays.charges, arrays.bonds)
    stable = _count_stable(arrays, orders, failed)
    try:
        mol = _strict(arrays, orders, failed)
    except MoleculeError as error:
        lenient = connected and error.reason != "element" and _published(arrays)
        return Verdict(None, False, connected, lenient, n, stable, error.reason, str(error))
    if not connected:
        return Verdict(mol, True, False, False, n, stable, "disconnected", "more than one fragment")
    # What sanitises without implicit hydrogens does so with them too: every valence is full already.
    return Verdict(mol, True, True, True, n, stable, "ok")


def _strict(arrays: Arrays, orders: np.ndarray, failed: np.ndarray) -> Chem.Mol:
    if failed.any():
        atoms = np.flatnonzero(failed).tolist()
        build(arrays, np.zeros_like(orders))  # an unknown element takes precedence
        raise MoleculeError("kekulize", f"the aromatic bonds of atoms {atoms} cannot be kekulised")
    mol = build(arrays, orders)
    sanitise_mol(mol)
    radicals = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetNumRadicalElectrons()]
    if radicals:
        raise MoleculeError("radical", f"atoms {radicals} have unpaired electrons: a bond or a hydrogen is missing")
    return Chem.Mol(mol)


def _published(arrays: Arrays) -> bool:
    """Whether RDKit sanitises the drawn bonds when it may add implicit hydrogens."""
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(build(arrays, arrays.bonds, implicit=True))
    except (ValueError, RuntimeError):
        return False
    return True


def _count_stable(arrays: Arrays, orders: np.ndarray, failed: np.ndarray) -> int:
    columns = (arrays.numbers, arrays.charges, orders.sum(1), failed)
    atoms = zip(*(column.tolist() for column in columns), strict=True)
    return sum(not bad and is_stable(number, charge, valence) for number, charge, valence, bad in atoms)


def _connected(bonds: np.ndarray) -> bool:
    neighbours: list[list[int]] = [[] for _ in bonds]
    for i, j in np.argwhere(bonds).tolist():
        neighbours[i].append(j)
    seen = {0}
    queue = [0]
    for i in queue:
        for j in neighbours[i]:
            if j not in seen:
                seen.add(j)
                queue.append(j)
    return len(seen) == len(neighbours)
