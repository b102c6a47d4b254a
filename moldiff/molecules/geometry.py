"""Bond lengths, angles and torsions of a molecule by type, and how two geometries of one graph differ.

Each internal coordinate counts once, whichever way it is read: a bond i-j, an angle i-j-k at j, a torsion i-j-k-l
about j-k. Where i and l are the same atom (a three-membered ring) there is no torsion. A type is the elements and bond
symbols along it, e.g. ``C-H``, ``C=C-O``, ``C:C:C-H`` (``-`` single, ``=`` double, ``#`` triple, ``:`` aromatic), in
the reading that comes first by element symbol, then by bond. Aromatic bonds are types of their own, so give arrays with
perceived aromatic bonds (as `moldiff.molecules.convert.from_mol` does), never kekulised ones beside them.

The molecules should be valid: nothing here judges bonds.
"""

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase

from moldiff.molecules.convert import Arrays

KINDS: tuple[str, str, str] = ("length", "angle", "torsion")
"""Kinds of internal coordinates, of two, three and four atoms; in angstrom, degrees and degrees."""

_SYMBOLS = ("", *(Chem.GetPeriodicTable().GetElementSymbol(number) for number in range(1, 119)))
_ALPHABET = tuple(sorted(_SYMBOLS))
_RANK = np.array([_ALPHABET.index(symbol) for symbol in _SYMBOLS], dtype=np.int64)
_BONDS = " -=#:"
_ELEMENT_BITS, _BOND_BITS, _LENGTH_SHIFT = 7, 3, 40
_MAX_NEIGHBOURS = 12
_LINEAR = 175.0  # degrees; beyond it the torsion about the bond is not defined
_MAX_SYMMETRIES = 5000


class Terms(NamedTuple):
    """Internal coordinates of one kind in a molecule.

    Attributes:
        atoms: (m, 2), (m, 3) or (m, 4) int64, indices along each coordinate.
        codes: (m,) int64, the type of each (`type_name` reads it).
    """

    atoms: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Change:
    """Mean absolute change between two geometries; NaN where the molecule has no such coordinate.

    Attributes:
        lengths: angstrom.
        angles: degrees.
        torsions: degrees, the shorter way round; without those that run through a straight angle (above 175 degrees in
            either geometry).
    """

    lengths: float
    angles: float
    torsions: float


def terms(arrays: Arrays, kind: str) -> Terms:
    """List every internal coordinate of a kind once.

    Args:
        arrays: the molecule, n atoms.
        kind: one of `KINDS`.

    Returns:
        atoms and types; the order depends on the order of the atoms only.

    Raises:
        ValueError: an unknown kind, an element outside 1-118, or an atom with more than twelve bonds.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}; choose one of {', '.join(KINDS)}")
    if len(arrays) and not (arrays.numbers.min() >= 1 and arrays.numbers.max() < len(_SYMBOLS)):
        raise ValueError(f"atomic numbers run from {arrays.numbers.min()} to {arrays.numbers.max()}; 1-118 are known")
    ends = np.argwhere(np.triu(arrays.bonds))
    if kind == "length" or not len(ends):
        width = KINDS.index(kind) + 2
        atoms = ends if kind == "length" else np.zeros((0, width), dtype=np.int64)
        return Terms(atoms, _codes(arrays, atoms))
    neighbours = _neighbours(arrays.bonds)
    if kind == "angle":
        first, second = np.triu_indices(neighbours.shape[1], 1)
        left, right = neighbours[:, first], neighbours[:, second]
        centre, pair = np.nonzero((left >= 0) & (right >= 0))
        atoms = np.stack([left[centre, pair], centre, right[centre, pair]], 1)
    else:
        j, k = ends.T
        left, right = neighbours[j][:, :, None], neighbours[k][:, None, :]
        real = (left >= 0) & (right >= 0) & (left != k[:, None, None]) & (right != j[:, None, None]) & (left != right)
        bond, a, b = np.nonzero(real)
        atoms = np.stack([neighbours[j[bond], a], j[bond], k[bond], neighbours[k[bond], b]], 1)
    return Terms(atoms, _codes(arrays, atoms))


def values(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Measure internal coordinates.

    Args:
        positions: (n, 3) angstrom.
        atoms: (m, 2) for lengths, (m, 3) for angles, (m, 4) for torsions.

    Returns:
        (m,) float64: angstrom; degrees in [0, 180]; degrees in [-180, 180], with RDKit's (IUPAC's) sign.

    Raises:
        ValueError: another number of columns.
    """
    points = positions[atoms]
    if atoms.shape[1] == 2:
        return np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    if atoms.shape[1] == 3:
        u, v = points[:, 0] - points[:, 1], points[:, 2] - points[:, 1]
        return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1)))
    if atoms.shape[1] == 4:
        u, v, w = points[:, 1] - points[:, 0], points[:, 2] - points[:, 1], points[:, 3] - points[:, 2]
        m, n = np.cross(u, v), np.cross(v, w)
        sine = (u * n).sum(1) * np.linalg.norm(v, axis=1)
        return np.degrees(np.arctan2(sine, (m * n).sum(1)))
    raise ValueError(f"atoms has {atoms.shape[1]} columns; 2 (lengths), 3 (angles) or 4 (torsions) are measured")


def internals(arrays: Arrays) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every length, angle and torsion of a molecule: kind -> (types (m,) int64, values (m,) float64).

    Raises:
        ValueError: as `terms`.
    """
    found = {}
    for kind in KINDS:
        atoms, codes = terms(arrays, kind)
        found[kind] = codes, values(arrays.positions, atoms)
    return found


def lengths(arrays: Arrays) -> dict[str, np.ndarray]:
    """Bond lengths by type, e.g. ``{"C-H": (k,) angstrom}``; ValueError as `terms`."""
    return _by_type(arrays, "length")


def angles(arrays: Arrays) -> dict[str, np.ndarray]:
    """Bond angles by type, e.g. ``{"C-C-H": (k,) degrees}``; ValueError as `terms`."""
    return _by_type(arrays, "angle")


def torsions(arrays: Arrays) -> dict[str, np.ndarray]:
    """Signed torsions by type, e.g. ``{"H-C-C-H": (k,) degrees}``; ValueError as `terms`."""
    return _by_type(arrays, "torsion")


@functools.cache
def type_name(code: int) -> str:
    """The name of a type, e.g. ``C-C=O``."""
    count = code >> _LENGTH_SHIFT
    digits, name = code & ((1 << _LENGTH_SHIFT) - 1), ""
    for position in range(count):
        name = _ALPHABET[digits & ((1 << _ELEMENT_BITS) - 1)] + name
        digits >>= _ELEMENT_BITS
        if position < count - 1:
            name = _BONDS[digits & ((1 << _BOND_BITS) - 1)] + name
            digits >>= _BOND_BITS
    return name


@functools.cache
def type_code(name: str) -> int:
    """The code of a type, from either reading of its name.

    Raises:
        ValueError: not two to four element symbols joined by ``-``, ``=``, ``#`` or ``:``.
    """
    parts = re.split(r"([-=#:])", name)
    if len(parts) not in (3, 5, 7) or any(symbol not in _SYMBOLS[1:] for symbol in parts[::2]):
        raise ValueError(f"{name!r} is no type; write two to four elements joined by - = # or :, as in 'C-C=O'")
    ranks = np.array([[_ALPHABET.index(symbol) for symbol in parts[::2]]], dtype=np.int64)
    bonds = np.array([[_BONDS.index(bond) for bond in parts[1::2]]], dtype=np.int64)
    return int(_pack(ranks, bonds)[0])


def changes(arrays: Arrays, positions: np.ndarray) -> Change:
    """How lengths, angles and torsions differ between two geometries of one graph.

    Args:
        arrays: the molecule with its first geometry.
        positions: (n, 3) angstrom, the second geometry in the same order of atoms.

    Raises:
        ValueError: another shape of positions, or as `terms`.
    """
    if positions.shape != arrays.positions.shape:
        raise ValueError(f"positions has shape {positions.shape}; the molecule has {arrays.positions.shape}")
    means = []
    for kind in KINDS:
        atoms, _ = terms(arrays, kind)
        if kind == "torsion":
            bent = np.ones(len(atoms), dtype=bool)
            for geometry in (arrays.positions, positions):
                for columns in (slice(0, 3), slice(1, 4)):
                    bent &= values(geometry, atoms[:, columns]) <= _LINEAR
            atoms = atoms[bent]
        shift = values(positions, atoms) - values(arrays.positions, atoms)
        if kind == "torsion":
            shift = (shift + 180) % 360 - 180
        means.append(float(np.abs(shift).mean()) if len(shift) else float("nan"))
    return Change(*means)


def rmsd(first: np.ndarray, second: np.ndarray, *, numbers: np.ndarray | None = None, heavy: bool = False) -> float:
    """Root mean square deviation after the best superposition by a proper rotation (Kabsch 1976).

    Args:
        first, second: (n, 3) angstrom, the same atoms in the same order.
        numbers: (n,) atomic numbers, needed for ``heavy`` only.
        heavy: leave hydrogens out (of the superposition too); where there are only hydrogens they stay.

    Returns:
        angstrom; NaN without atoms.

    Raises:
        ValueError: shapes that differ, or ``heavy`` without ``numbers``.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 3:
        raise ValueError(f"geometries of shapes {first.shape} and {second.shape}; both must be (n, 3)")
    if heavy:
        if numbers is None:
            raise ValueError("heavy=True needs numbers, to know which atoms are hydrogens")
        keep = np.asarray(numbers) > 1
        if keep.any():
            first, second = first[keep], second[keep]
    if not len(first):
        return float("nan")
    return float(_superpose(first, second[None], reflect=False)[0])


def symmetric_rmsd(first: Chem.Mol, second: Chem.Mol, *, heavy: bool = True, reflect: bool = False) -> float:
    """Smallest RMSD over every way to lay one graph on the other.

    Args:
        first, second: sanitised molecules of one graph with a conformer each, in any order of atoms; not changed.
        heavy: without hydrogens. With them, symmetric molecules have very many ways; the first 5000 are tried.
        reflect: allow the mirror image as well, for data where both are the same molecule.

    Returns:
        angstrom.

    Raises:
        ValueError: no conformer, no atoms, or graphs that differ.
    """
    for mol in (first, second):
        if not mol.GetNumConformers():
            raise ValueError("the molecule has no conformer; embed it first (rdkit.Chem.AllChem.EmbedMolecule)")
    one, other = _flat(first, heavy), _flat(second, heavy)
    if one.GetNumAtoms() != other.GetNumAtoms() or one.GetNumBonds() != other.GetNumBonds() or not one.GetNumAtoms():
        raise ValueError("the molecules differ in their numbers of atoms or bonds (or are empty)")
    ways = other.GetSubstructMatches(one, uniquify=False, maxMatches=_MAX_SYMMETRIES)
    if not ways:
        raise ValueError("the molecules have different graphs; compare canonical_smiles first")
    positions = np.array(one.GetConformer().GetPositions())
    candidates = np.array(other.GetConformer().GetPositions())[np.array(ways)]
    return float(_superpose(positions, candidates, reflect=reflect).min())


def ring_sizes(mol: Chem.Mol) -> list[int]:
    """Sizes of the smallest set of smallest rings, ascending.

    Args:
        mol: a sanitised molecule.
    """
    return sorted(len(ring) for ring in mol.GetRingInfo().AtomRings())


def bond_orders(mol: Chem.Mol) -> list[str]:
    """Of each bond between heavy atoms: ``"single"``, ``"double"``, ``"triple"``, ``"aromatic"``, or another of RDKit.

    Args:
        mol: a sanitised molecule.
    """
    return [
        bond.GetBondType().name.lower()
        for bond in mol.GetBonds()
        if bond.GetBeginAtom().GetAtomicNum() > 1 and bond.GetEndAtom().GetAtomicNum() > 1
    ]


def _by_type(arrays: Arrays, kind: str) -> dict[str, np.ndarray]:
    atoms, codes = terms(arrays, kind)
    measured = values(arrays.positions, atoms)
    named = {type_name(code): measured[codes == code] for code in np.unique(codes).tolist()}
    return dict(sorted(named.items()))


def _neighbours(bonds: np.ndarray) -> np.ndarray:
    """(n, most) neighbours of each atom in ascending order, filled up with -1."""
    first, second = np.nonzero(bonds)
    degrees = np.bincount(first, minlength=len(bonds))
    most = int(degrees.max(initial=0))
    if most > _MAX_NEIGHBOURS:
        raise ValueError(f"atom {degrees.argmax()} has {most} bonds, at most {_MAX_NEIGHBOURS} are measured: check it")
    table = np.full((len(bonds), most), -1, dtype=np.int64)
    table[first, np.arange(len(first)) - np.repeat(np.cumsum(degrees) - degrees, degrees)] = second
    return table


def _codes(arrays: Arrays, atoms: np.ndarray) -> np.ndarray:
    return _pack(_RANK[arrays.numbers[atoms]], arrays.bonds[atoms[:, :-1], atoms[:, 1:]])


def _pack(ranks: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """One integer a type, equal for both readings: (m, k) element ranks and (m, k - 1) bond symbols -> (m,)."""
    forward = _digits(ranks, bonds)
    backward = _digits(ranks[:, ::-1], bonds[:, ::-1])
    # Elements decide before bonds, so that the reading looks alphabetical.
    by_element = _digits(ranks, np.zeros_like(bonds)) - _digits(ranks[:, ::-1], np.zeros_like(bonds))
    chosen = np.where(by_element < 0, forward, np.where(by_element > 0, backward, np.minimum(forward, backward)))
    return chosen + (ranks.shape[1] << _LENGTH_SHIFT)


def _digits(ranks: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    code = ranks[:, 0].copy()
    for position in range(bonds.shape[1]):
        code = (code << _BOND_BITS) | bonds[:, position]
        code = (code << _ELEMENT_BITS) | ranks[:, position + 1]
    return code


def _superpose(fixed: np.ndarray, moving: np.ndarray, *, reflect: bool) -> np.ndarray:
    """RMSD of (n, 3) to each of (m, n, 3) after centring and the best rotation."""
    fixed = fixed - fixed.mean(0)
    moving = moving - moving.mean(1, keepdims=True)
    product = np.einsum("mni,nj->mij", moving, fixed)
    singular = np.linalg.svd(product, compute_uv=False)
    if not reflect:
        # Of all rotations the best one loses twice the smallest singular value where a mirror image would fit better.
        singular[:, 2] *= np.where(np.linalg.det(product) < 0, -1, 1)
    square = (fixed**2).sum() + (moving**2).sum((1, 2)) - 2 * singular.sum(1)
    return np.sqrt(np.maximum(square, 0) / len(fixed))


def _flat(mol: Chem.Mol, heavy: bool) -> Chem.Mol:
    """Without stereochemistry, which positions decide, and without hydrogens where asked."""
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    if not heavy:
        return flat
    with rdBase.BlockLogs():
        return Chem.RemoveHs(flat)
