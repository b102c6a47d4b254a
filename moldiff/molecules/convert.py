"""Between plain arrays and RDKit molecules, without losing or inventing anything.

Every hydrogen is an atom of its own. Aromatic bonds are kekulised by the exact rule of `moldiff.molecules.kekule` and
perceived by RDKit; formal charges are given, never guessed.
"""

from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from moldiff.molecules.kekule import AROMATIC, kekulise

_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.AROMATIC: AROMATIC,
}
_TYPES = {order: bond_type for bond_type, order in _ORDERS.items()}
_MAX_NUMBER = 118
_CLEAN_UP = Chem.SanitizeFlags.SANITIZE_CLEANUP | Chem.SanitizeFlags.SANITIZE_CLEANUP_ORGANOMETALLICS
_SANITISE = Chem.SanitizeFlags.SANITIZE_ALL & ~_CLEAN_UP


class MoleculeError(ValueError):
    """A structure that is no molecule in RDKit's sense.

    Attributes:
        reason: a short code: one of `moldiff.molecules.validity.REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["MoleculeError"], tuple[str, str]]:
        """Both arguments again, so that the error crosses process borders."""
        return MoleculeError, (self.reason, str(self))


@dataclass(frozen=True, eq=False)
class Arrays:
    """One molecule as plain arrays; the record that passes between packages.

    Attributes:
        numbers: (n,) int64, atomic numbers; hydrogens are listed like any atom.
        positions: (n, 3) float64, angstrom.
        charges: (n,) int64, formal charges (e).
        bonds: (n, n) int64, symmetric, zero diagonal: 0 none, 1, 2, 3, 4 aromatic.

    Raises:
        ValueError: shapes that do not belong together, bonds that are not symmetric or are outside 0-4.
    """

    numbers: np.ndarray
    positions: np.ndarray
    charges: np.ndarray
    bonds: np.ndarray

    def __post_init__(self) -> None:
        """Fix the types and check the shapes."""
        for name in ("numbers", "charges", "bonds"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=np.float64))
        n = len(self.numbers)
        for name, shape in (("numbers", (n,)), ("positions", (n, 3)), ("charges", (n,)), ("bonds", (n, n))):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}; {n} atoms need {shape}")
        if n == 0:
            return
        if self.bonds.min() < 0 or self.bonds.max() > AROMATIC:
            wrong = sorted(set(np.unique(self.bonds).tolist()) - set(range(AROMATIC + 1)))
            raise ValueError(f"bonds holds {wrong}; allowed are 0 (none), 1, 2, 3 and 4 (aromatic)")
        if not (self.bonds == self.bonds.T).all() or self.bonds.diagonal().any():
            raise ValueError("bonds is not symmetric with a zero diagonal; fill both triangles, e.g. upper + upper.T")

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    def kekulised(self) -> "Arrays":
        """The same molecule with orders 1-3 instead of aromatic bonds.

        Raises:
            MoleculeError: reason "kekulize", when the aromatic bonds have no such form.
        """
        return Arrays(self.numbers, self.positions, self.charges, _orders(self))


def to_mol(arrays: Arrays, *, kekulised: bool = False, sanitise: bool = True) -> Chem.Mol:
    """Build an RDKit molecule with one conformer, exactly the given atoms and no implicit hydrogens.

    Aromatic bonds (4) are kekulised by the exact rule of `moldiff.molecules.kekule`; RDKit then perceives aromaticity
    itself. Radicals are allowed here (missing hydrogens become unpaired electrons) and refused by
    `moldiff.molecules.validity.check`. Stereochemistry is not assigned: see `stereo_from_3d`.

    Args:
        arrays: the molecule, n atoms.
        kekulised: return single and double bonds without aromatic flags (as an SDF wants them).
        sanitise: False keeps a molecule that RDKit refuses, for writing it out: bonds as given, kekulised where that
            is possible, otherwise drawn aromatic, nothing perceived; ``kekulised`` then has no effect.

    Returns:
        the molecule; atom i is row i of the arrays, conformer 0 holds the positions in angstrom.

    Raises:
        MoleculeError: an atomic number outside 1-118 ("element"), and when sanitising, aromatic bonds that cannot be
            kekulised ("kekulize"), too many bonds on an atom ("valence"), or anything else RDKit refuses ("sanitize").
    """
    orders, failed = kekulise(arrays.numbers, arrays.charges, arrays.bonds)
    if sanitise and failed.any():
        raise _not_kekulisable(failed)
    mol = build(arrays, orders)
    if not sanitise:
        mol.UpdatePropertyCache(strict=False)
        return mol
    sanitise_mol(mol)
    if kekulised:
        Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def from_mol(mol: Chem.Mol, *, conformer: int = -1, as_drawn: bool = False) -> Arrays:
    """Read a molecule into arrays, with RDKit's aromatic perception as bond symbol 4.

    Aromaticity is perceived afresh from the kekulised bonds, so the result does not depend on how it was drawn.

    Args:
        mol: a molecule with explicit hydrogens and a conformer, sanitised or not; it is not changed.
        conformer: id of the conformer to read; -1 is the first.
        as_drawn: take the atoms as they are and ignore hydrogens that RDKit would add, for judging foreign files
            strictly (a missing hydrogen is then a radical).

    Returns:
        the arrays in the order of the atoms, positions in angstrom.

    Raises:
        ValueError: no conformer, implicit hydrogens, or a bond that is not single, double, triple or aromatic.
        MoleculeError: reason "kekulize", when aromatic bonds are drawn that cannot be kekulised.
    """
    raw = _raw(mol, conformer=conformer, as_drawn=as_drawn)
    return Arrays(raw.numbers, raw.positions, raw.charges, perceive_aromatic(raw.numbers, raw.charges, _orders(raw)))


def kekule_orders(mol: Chem.Mol, *, as_drawn: bool = False) -> np.ndarray:
    """The kekulised bond orders of a molecule, (n, n) int64, symmetric, 0-3.

    A Kekule form that is already drawn is kept; for aromatic bonds one of the equivalent forms is chosen.

    Args:
        mol: a molecule with explicit hydrogens; it is not changed and needs no conformer.
        as_drawn: ignore hydrogens that RDKit would add.

    Raises:
        ValueError: as `from_mol`.
        MoleculeError: as `from_mol`.
    """
    return _orders(_raw(mol, conformer=None, as_drawn=as_drawn))


def perceive_aromatic(numbers: np.ndarray, charges: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Mark with 4 the bonds that RDKit perceives as aromatic.

    Args:
        numbers: (n,) atomic numbers.
        charges: (n,) formal charges.
        orders: (n, n) kekulised bond orders 0-3.

    Returns:
        (n, n) int64 bonds 0-4.
    """
    bonds = np.array(orders, dtype=np.int64)
    if not (bonds == 2).any():
        return bonds
    mol = build(Arrays(numbers, np.zeros((len(numbers), 3)), charges, bonds), bonds)
    mol.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(mol)
    if not mol.GetRingInfo().NumRings():
        return bonds
    Chem.GetSymmSSSR(mol)
    # RDKit needs conjugation to know which electrons take part.
    Chem.SetConjugation(mol)
    Chem.SetAromaticity(mol)
    for bond in mol.GetBonds():
        if bond.GetIsAromatic():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            bonds[i, j] = bonds[j, i] = AROMATIC
    return bonds


def stereo_from_3d(mol: Chem.Mol) -> Chem.Mol:
    """A copy with stereochemistry (tetrahedral centres, double bonds) assigned from the first conformer.

    Args:
        mol: a sanitised molecule with a 3D conformer.

    Raises:
        ValueError: the molecule has no conformer.
    """
    if not mol.GetNumConformers():
        raise ValueError("the molecule has no conformer; embed it first (rdkit.Chem.AllChem.EmbedMolecule)")
    copy = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(copy, replaceExistingTags=True)
    return copy


def canonical_smiles(mol: Chem.Mol) -> str:
    """RDKit's canonical SMILES without hydrogens, stereochemistry or isotopes: what unique and novel compare.

    Args:
        mol: a sanitised molecule; it is not changed.
    """
    flat = Chem.Mol(mol)
    # RemoveHs would keep a hydrogen that defines the stereo of a double bond, and one with an isotope.
    Chem.RemoveStereochemistry(flat)
    for atom in flat.GetAtoms():
        if atom.GetIsotope():
            atom.SetIsotope(0)
    with rdBase.BlockLogs():
        return Chem.MolToSmiles(Chem.RemoveHs(flat, sanitize=False), isomericSmiles=False)


def build(arrays: Arrays, bonds: np.ndarray, *, implicit: bool = False) -> Chem.RWMol:
    """The bare molecule: atoms, charges, bonds as given, one conformer; nothing checked or perceived.

    Args:
        arrays: atoms, charges and positions.
        bonds: (n, n) symbols 0-4 to draw in place of ``arrays.bonds``.
        implicit: let RDKit add implicit hydrogens when it sanitises.

    Raises:
        MoleculeError: reason "element", for an atomic number outside 1-118.
    """
    mol = Chem.RWMol()
    for number, charge in zip(arrays.numbers.tolist(), arrays.charges.tolist(), strict=True):
        if not 1 <= number <= _MAX_NUMBER:
            raise MoleculeError("element", f"atomic number {number} is outside 1-{_MAX_NUMBER}")
        atom = Chem.Atom(number)
        if charge:
            atom.SetFormalCharge(charge)
        if not implicit:
            atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    first, second = np.nonzero(np.triu(bonds))
    for i, j, order in zip(first.tolist(), second.tolist(), bonds[first, second].tolist(), strict=True):
        mol.AddBond(i, j, _TYPES[order])
    conformer = Chem.Conformer(len(arrays))
    if len(arrays):
        conformer.SetPositions(np.ascontiguousarray(arrays.positions))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)
    return mol


def sanitise_mol(mol: Chem.Mol) -> None:
    """`Chem.SanitizeMol` in place, its errors sorted into reason codes.

    Without RDKit's clean-up steps, which would rewrite bonds and charges first (five bonds on the nitrogen of a nitro
    group become a charge-separated pair): the molecule is judged as it is drawn.

    Raises:
        MoleculeError: reason "valence", "kekulize" or "sanitize".
    """
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol, sanitizeOps=_SANITISE)
    except Chem.AtomValenceException as error:
        raise MoleculeError("valence", str(error)) from error
    except (Chem.KekulizeException, Chem.AtomKekulizeException) as error:
        raise MoleculeError("kekulize", str(error)) from error
    except (ValueError, RuntimeError) as error:
        raise MoleculeError("sanitize", str(error)) from error


def _orders(arrays: Arrays) -> np.ndarray:
    orders, failed = kekulise(arrays.numbers, arrays.charges, arrays.bonds)
    if failed.any():
        raise _not_kekulisable(failed)
    return orders


def _not_kekulisable(failed: np.ndarray) -> MoleculeError:
    atoms = np.flatnonzero(failed).tolist()
    return MoleculeError(
        "kekulize",
        f"the aromatic bonds of atoms {atoms} have no form with single and double bonds; check H and charges",
    )


def _raw(mol: Chem.Mol, *, conformer: int | None, as_drawn: bool) -> Arrays:
    """The arrays exactly as drawn, aromatic flags included."""
    if not as_drawn:
        copy = Chem.Mol(mol)
        with rdBase.BlockLogs():
            copy.UpdatePropertyCache(strict=False)
        missing = sum(atom.GetTotalNumHs() for atom in copy.GetAtoms())
        if missing:
            raise ValueError(f"{missing} hydrogens are implicit; add them first: Chem.AddHs(mol, addCoords=True)")
    n = mol.GetNumAtoms()
    positions = np.zeros((n, 3))
    if conformer is not None:
        if not mol.GetNumConformers():
            raise ValueError("the molecule has no conformer; embed it first (rdkit.Chem.AllChem.EmbedMolecule)")
        positions = np.array(mol.GetConformer(conformer).GetPositions(), dtype=np.float64).reshape(n, 3)
    bonds = np.zeros((n, n), dtype=np.int64)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = _ORDERS.get(bond.GetBondType())
        if order is None:
            raise ValueError(
                f"bond {i}-{j} is of type {bond.GetBondType()}; known are single, double, triple and aromatic bonds"
            )
        bonds[i, j] = bonds[j, i] = order
    return Arrays(
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        positions,
        np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int64),
        bonds,
    )
