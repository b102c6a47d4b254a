"""The prepared archive: many molecules as a few flat numpy arrays in one npz file.

Nothing here needs torch or RDKit, so that training can read an archive with numpy alone. The arrays:

=================  ====================  ===========================================================
array              shape                 meaning
=================  ====================  ===========================================================
index              (M,)                  number of the molecule in its source
n_atoms            (M,)                  atoms of each molecule, hydrogens included
numbers            (sum n,)              atomic numbers, molecule after molecule
positions          (sum n, 3)            coordinates in angstrom
charges            (sum n,)              formal charges
bonds              (sum n(n-1)/2,)       kekulised orders 0-3, upper triangle, row-major
smiles             (M,)                  canonical SMILES without hydrogens and stereochemistry
split              (M,)                  0 train, 1 validation, 2 test
properties         (M, P)                one column a property, NaN where unknown
property_names     (P,)                  names of the columns
property_units     (P,)                  units of the columns, "" for pure numbers
aromatic           as bonds, optional    True where the bond is aromatic
=================  ====================  ===========================================================

M is the number of molecules, n the atoms of one, P the number of properties.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moldiff.data.flat import join, ranges, read_npz, write_npz

__all__ = ["SPLITS", "Archive", "Record", "split_by_smiles"]

SPLITS: tuple[str, str, str] = ("train", "val", "test")
"""Names of the values 0, 1 and 2 of ``Archive.split``."""

_REQUIRED = (
    "index",
    "n_atoms",
    "numbers",
    "positions",
    "charges",
    "bonds",
    "smiles",
    "split",
    "properties",
    "property_names",
    "property_units",
)
_KINDS = {
    "index": "iu",
    "n_atoms": "iu",
    "numbers": "iu",
    "positions": "f",
    "charges": "iu",
    "bonds": "iu",
    "smiles": "U",
    "split": "iu",
    "properties": "f",
    "property_names": "U",
    "property_units": "U",
    "aromatic": "b",
}
_KIND_NAMES = {"iu": "integer", "f": "floating point", "U": "unicode string", "b": "boolean"}


class Record(NamedTuple):
    """One molecule of an archive with n atoms."""

    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    positions: NDArray[np.float64]
    """(n, 3) coordinates in angstrom."""
    charges: NDArray[np.int64]
    """(n,) formal charges."""
    bonds: NDArray[np.int64]
    """(n, n) kekulised bond orders 0-3, symmetric."""
    aromatic: NDArray[np.bool_]
    """(n, n) True where the bond is aromatic, symmetric; all False if the archive has no such array."""


@dataclass
class Archive:
    """Molecules as flat arrays; see the module docstring for shapes and units.

    The constructor checks types, shapes and lengths and raises ValueError naming the array at fault.
    """

    index: NDArray[Any]
    n_atoms: NDArray[Any]
    numbers: NDArray[Any]
    positions: NDArray[Any]
    charges: NDArray[Any]
    bonds: NDArray[Any]
    smiles: NDArray[Any]
    split: NDArray[Any]
    properties: NDArray[Any]
    property_names: NDArray[Any]
    property_units: NDArray[Any]
    aromatic: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        self._check("archive")
        sizes = self.n_atoms.astype(np.int64)
        self._atoms = np.concatenate([[0], np.cumsum(sizes)])
        self._pairs = np.concatenate([[0], np.cumsum(sizes * (sizes - 1) // 2)])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Archive:
        """Read an archive, every array once.

        Raises FileNotFoundError if there is no such file and ValueError, naming file and array, for any other content.
        """
        arrays = read_npz(path, _KINDS.__contains__)
        missing = [name for name in _REQUIRED if name not in arrays]
        if missing:
            raise ValueError(f"{path}: arrays missing from the archive: {', '.join(missing)}")
        try:
            return cls(**arrays)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the archive compressed and atomically: the file is either the old one or the whole new one."""
        return write_npz(path, self._arrays())

    @classmethod
    def build(
        cls,
        records: Iterable[Any],
        *,
        smiles: Sequence[str],
        split: Sequence[int] | NDArray[Any] | None = None,
        properties: Any = None,
        property_names: Sequence[str] = (),
        property_units: Sequence[str] = (),
        index: Sequence[int] | NDArray[Any] | None = None,
    ) -> Archive:
        """Make an archive from molecules.

        Each record has the attributes ``numbers (n,)``, ``positions (n, 3)`` in angstrom, ``charges (n,)`` and
        ``bonds (n, n)`` (kekulised 0-3, symmetric), and may have ``aromatic (n, n)``; `Record` and
        `moldiff.molecules.convert.Arrays` both fit. ``aromatic`` is kept only if every record has it. ``split``
        defaults to all train, ``index`` to 0, 1, 2, ..., ``properties`` (M, P) to no column. Raises ValueError for
        inconsistent shapes, bond orders other than 0-3 or asymmetric bonds.
        """
        numbers, positions, charges, bonds, aromatic = [], [], [], [], []
        for row, record in enumerate(records):
            z = np.asarray(record.numbers)
            n = len(z)
            x, q, b = np.asarray(record.positions), np.asarray(record.charges), np.asarray(record.bonds)
            if z.shape != (n,) or x.shape != (n, 3) or q.shape != (n,) or b.shape != (n, n):
                raise ValueError(
                    f"record {row}: shapes numbers {z.shape}, positions {x.shape}, charges {q.shape}, bonds {b.shape} "
                    f"do not belong to one molecule of {n} atoms"
                )
            if not np.array_equal(b, b.T):
                raise ValueError(f"record {row}: bonds are not symmetric")
            if n and (b.min() < 0 or b.max() > 3):
                raise ValueError(f"record {row}: bond order {b.max()} is not 0-3; kekulise aromatic bonds first")
            upper = np.triu_indices(n, 1)
            numbers.append(z.astype(np.uint8))
            positions.append(x.astype(np.float32))
            charges.append(q.astype(np.int8))
            bonds.append(b[upper].astype(np.uint8))
            a = getattr(record, "aromatic", None)
            aromatic.append(None if a is None else np.asarray(a, dtype=bool)[upper])
        count = len(numbers)
        if properties is None:
            properties = np.zeros((count, 0))
        keep_aromatic = count > 0 and all(a is not None for a in aromatic)
        return cls(
            index=np.arange(count, dtype=np.int32) if index is None else np.asarray(index, dtype=np.int32),
            n_atoms=np.array([len(z) for z in numbers], dtype=np.int32),
            numbers=join(numbers, np.uint8),
            positions=join(positions, np.float32).reshape(-1, 3),
            charges=join(charges, np.int8),
            bonds=join(bonds, np.uint8),
            smiles=np.array(list(smiles), dtype=np.str_),
            split=np.zeros(count, dtype=np.int8) if split is None else np.asarray(split, dtype=np.int8),
            properties=np.asarray(properties, dtype=np.result_type(np.float32, np.asarray(properties))),
            property_names=np.array(list(property_names), dtype=np.str_),
            property_units=np.array(list(property_units), dtype=np.str_),
            aromatic=join([a for a in aromatic if a is not None], np.bool_) if keep_aromatic else None,
        )

    def __len__(self) -> int:
        return len(self.n_atoms)

    def record(self, i: int) -> Record:
        """Molecule ``i`` (negative counts from the end). Raises IndexError outside the archive."""
        i = self._row(i)
        n = int(self.n_atoms[i])
        atoms, pairs = slice(*self._atoms[i : i + 2]), slice(*self._pairs[i : i + 2])
        return Record(
            numbers=self.numbers[atoms].astype(np.int64),
            positions=self.positions[atoms].astype(np.float64),
            charges=self.charges[atoms].astype(np.int64),
            bonds=_square(self.bonds[pairs].astype(np.int64), n),
            aromatic=_square(np.zeros(n * (n - 1) // 2, bool) if self.aromatic is None else self.aromatic[pairs], n),
        )

    def select(self, indices: Any) -> Archive:
        """The molecules at ``indices`` (integers, a slice or a boolean mask of length M), in that order."""
        rows = np.arange(len(self))[indices].reshape(-1)
        atoms, pairs = ranges(self._atoms, rows), ranges(self._pairs, rows)
        return replace(
            self,
            index=self.index[rows],
            n_atoms=self.n_atoms[rows],
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            charges=self.charges[atoms],
            bonds=self.bonds[pairs],
            smiles=self.smiles[rows],
            split=self.split[rows],
            properties=self.properties[rows],
            aromatic=None if self.aromatic is None else self.aromatic[pairs],
        )

    def subset(self, name: str) -> Archive:
        """The molecules of one split: "train", "val" or "test"."""
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}; choose one of {', '.join(SPLITS)}")
        return self.select(self.split == SPLITS.index(name))

    def column(self, name: str) -> NDArray[Any]:
        """(M,) values of one property. Raises ValueError listing the known names."""
        names = self.property_names.tolist()
        if name not in names:
            raise ValueError(f"unknown property {name!r}; this archive has: {', '.join(names) or 'none'}")
        return self.properties[:, names.index(name)]

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"molecule {i} is outside an archive of {len(self)}")
        return int(i) % len(self)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        found = {name: getattr(self, name) for name in _KINDS}
        return {name: array for name, array in found.items() if array is not None}

    def _check(self, what: str) -> None:
        for name, array in self._arrays().items():
            kinds = _KINDS[name]
            # an empty list of strings becomes a float array in numpy, which is harmless
            if not isinstance(array, np.ndarray) or (array.dtype.kind not in kinds and array.size):
                found = getattr(array, "dtype", type(array).__name__)
                raise ValueError(f"array {name!r} of the {what} must be {_KIND_NAMES[kinds]}, found {found}")
        if self.n_atoms.ndim != 1:
            raise ValueError(f"array 'n_atoms' of the {what} must be one-dimensional, found {self.n_atoms.shape}")
        sizes = self.n_atoms.astype(np.int64)
        if len(sizes) and sizes.min() < 1:
            raise ValueError(
                f"array 'n_atoms' of the {what} has {sizes.min()} in row {sizes.argmin()}; at least 1 needed"
            )
        count, atoms, pairs = len(sizes), int(sizes.sum()), int((sizes * (sizes - 1) // 2).sum())
        columns = len(self.property_names)
        expected: dict[str, tuple[int, ...]] = {
            "index": (count,),
            "numbers": (atoms,),
            "positions": (atoms, 3),
            "charges": (atoms,),
            "bonds": (pairs,),
            "smiles": (count,),
            "split": (count,),
            "property_names": (columns,),
            "property_units": (columns,),
            "properties": (count, columns),
            "aromatic": (pairs,),
        }
        for name, array in self._arrays().items():
            if name in expected and array.shape != expected[name]:
                raise ValueError(
                    f"array {name!r} of the {what} has shape {array.shape}, expected {expected[name]} "
                    f"for {count} molecules of {atoms} atoms together"
                )
        if pairs and (int(self.bonds.max()) > 3 or int(self.bonds.min()) < 0):
            raise ValueError(f"array 'bonds' of the {what} has orders outside 0-3; kekulise aromatic bonds first")
        if atoms and not np.isfinite(self.positions).all():
            raise ValueError(f"array 'positions' of the {what} has values that are not finite")
        if count and (int(self.split.min()) < 0 or int(self.split.max()) > 2):
            raise ValueError(f"array 'split' of the {what} has values outside 0 (train), 1 (val), 2 (test)")


def split_by_smiles(
    smiles: Sequence[str], *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> NDArray[np.int8]:
    """Random split (M,) of 0, 1, 2 in which equal SMILES stay together, so that no test molecule is in training.

    ``fractions`` are the shares of distinct SMILES for train, validation and test and sum to 1; of three or more none
    of the asked parts stays empty. The order of the molecules does not matter. Raises ValueError for other fractions.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions {fractions} must not be negative and must sum to 1, as in (0.8, 0.1, 0.1)")
    distinct, inverse = np.unique(np.asarray(list(smiles), dtype=np.str_), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    val, test = (max(round(share * len(distinct)), int(share > 0 and len(distinct) > 2)) for share in fractions[1:])
    labels = np.zeros(len(distinct), np.int8)
    labels[order[:val]] = 1
    labels[order[val : val + test]] = 2
    return labels[inverse.reshape(-1)]


def _square(upper: NDArray[Any], n: int) -> NDArray[Any]:
    """(n, n) symmetric matrix with an empty diagonal from its upper triangle, row-major."""
    square = np.zeros((n, n), upper.dtype)
    square[np.triu_indices(n, 1)] = upper
    return square | square.T
