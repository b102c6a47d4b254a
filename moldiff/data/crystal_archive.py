"""The prepared archive of crystals: many as a few flat numpy arrays in one npz file. Needs numpy alone.

=================  ====================  ===========================================================
array              shape                 meaning
=================  ====================  ===========================================================
n_atoms            (M,)                  atoms in the cell of each crystal
atomic_numbers     (sum n,)              crystal after crystal
frac_coords        (sum n, 3)            in [0, 1), along the cell vectors
lattice            (M, 3, 3)             rows a, b, c in angstrom, Niggli-reduced
material_id        (M,)                  name of the crystal in its source
split              (M,)                  0 train, 1 validation, 2 test
spacegroup_number  (M,)                  1-230, 0 where unknown
properties         (M, P)                one column a property, NaN where unknown
property_names     (P,)                  names of the columns
property_units     (P,)                  units of the columns, "" for pure numbers and classes
=================  ====================  ===========================================================

M is the number of crystals, n the atoms of one, P the number of properties. The column ``spacegroup`` holds classes,
not quantities.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moldiff.data.archive import SPLITS
from moldiff.data.flat import join, ranges, read_npz, write_npz

__all__ = ["SPACEGROUP", "CrystalArchive", "CrystalRecord", "is_crystal_archive"]

SPACEGROUP = "spacegroup"
"""Name of the property column that holds the class 1-230."""

#: One array a property, as in files that have no ``properties``: name of the array -> (name of the column, unit).
#: Labels of different origin are never mixed, so `e_above_hull_lemat` is not one of them.
_SINGLE: dict[str, tuple[str, str]] = {
    "formation_energy_per_atom": ("formation_energy_per_atom", "eV/atom"),
    "band_gap": ("band_gap", "eV"),
    "dft_mag_density": ("dft_mag_density", "bohr magneton/angstrom^3"),
    "e_above_hull": ("e_above_hull", "eV/atom"),
    "heat_all": ("heat_all", "eV/atom"),
    "dir_gap": ("dir_gap", "eV"),
    "ind_gap": ("ind_gap", "eV"),
    "energy_per_atom": ("energy_per_atom", "eV/atom"),
}
_KINDS = {
    "n_atoms": "iu",
    "atomic_numbers": "iu",
    "frac_coords": "f",
    "lattice": "f",
    "material_id": "U",
    "split": "iu",
    "spacegroup_number": "iu",
    "properties": "f",
    "property_names": "U",
    "property_units": "U",
}
_NEEDED = ("n_atoms", "atomic_numbers", "frac_coords", "lattice")
_KIND_NAMES = {"iu": "integer", "f": "floating point", "U": "unicode string"}


class CrystalRecord(NamedTuple):
    """One crystal of an archive with n atoms."""

    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    fractional: NDArray[np.float64]
    """(n, 3) coordinates along the cell vectors, in [0, 1)."""
    cell: NDArray[np.float64]
    """(3, 3) rows a, b, c in angstrom."""


@dataclass
class CrystalArchive:
    """Crystals as flat arrays; see the module docstring for shapes and units.

    The constructor checks types, shapes and values and raises ValueError naming the array at fault.
    """

    n_atoms: NDArray[Any]
    atomic_numbers: NDArray[Any]
    frac_coords: NDArray[Any]
    lattice: NDArray[Any]
    material_id: NDArray[Any]
    split: NDArray[Any]
    spacegroup_number: NDArray[Any]
    properties: NDArray[Any]
    property_names: NDArray[Any]
    property_units: NDArray[Any]

    def __post_init__(self) -> None:
        self._check()
        self._atoms = np.concatenate([[0], np.cumsum(self.n_atoms.astype(np.int64))])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CrystalArchive:
        """Read an archive, every array once.

        Files that keep one array a property are read too: what is known becomes a column, and the space group one
        more. Raises FileNotFoundError if there is no such file and ValueError, naming file and array, for any other
        content.
        """
        arrays = read_npz(path, lambda name: name in _KINDS or name in _SINGLE)
        missing = [name for name in _NEEDED if name not in arrays]
        if missing:
            raise ValueError(f"{path}: arrays missing from the archive of crystals: {', '.join(missing)}")
        count = len(arrays["n_atoms"])
        arrays.setdefault("material_id", np.array([str(i) for i in range(count)], dtype=np.str_))
        arrays.setdefault("split", np.zeros(count, np.int8))
        arrays.setdefault("spacegroup_number", np.zeros(count, np.uint8))
        single = {name: arrays.pop(name) for name in list(arrays) if name in _SINGLE}
        if "properties" not in arrays:
            columns = [(*_SINGLE[name], values) for name, values in single.items()]
            if (arrays["spacegroup_number"] > 0).any():
                columns.append((SPACEGROUP, "", _classes(arrays["spacegroup_number"])))
            arrays["property_names"] = np.array([name for name, _, _ in columns], dtype=np.str_)
            arrays["property_units"] = np.array([unit for _, unit, _ in columns], dtype=np.str_)
            arrays["properties"] = _columns([values for _, _, values in columns], count)
        try:
            return cls(**arrays)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the archive compressed and atomically: the file is either the old one or the whole new one."""
        return write_npz(path, {name: getattr(self, name) for name in _KINDS})

    @classmethod
    def build(
        cls,
        records: Iterable[Any],
        *,
        material_id: Sequence[str] | None = None,
        split: Sequence[int] | NDArray[Any] | None = None,
        spacegroup_number: Sequence[int] | NDArray[Any] | None = None,
        properties: Any = None,
        property_names: Sequence[str] = (),
        property_units: Sequence[str] = (),
    ) -> CrystalArchive:
        """Make an archive from crystals.

        Each record has the attributes ``numbers (n,)``, ``fractional (n, 3)`` and ``cell (3, 3)`` in angstrom;
        `CrystalRecord` and `moldiff.crystals.convert.CrystalArrays` both fit. Coordinates are wrapped into [0, 1),
        cells are taken as they are (`moldiff.crystals.reduction` reduces them). ``material_id`` defaults to 0, 1, 2,
        ..., ``split`` to all train, ``spacegroup_number`` to unknown, ``properties`` (M, P) to no column; a column
        ``spacegroup`` is added where a number is known. Raises ValueError for inconsistent shapes.
        """
        numbers, fractional, cells = [], [], []
        for row, record in enumerate(records):
            z, f, cell = np.asarray(record.numbers), np.asarray(record.fractional), np.asarray(record.cell)
            if z.ndim != 1 or f.shape != (len(z), 3) or cell.shape != (3, 3):
                raise ValueError(
                    f"record {row}: shapes numbers {z.shape}, fractional {f.shape}, cell {cell.shape} do not belong "
                    "to one crystal"
                )
            numbers.append(z.astype(np.uint8))
            fractional.append(_wrapped(f))
            cells.append(cell.astype(np.float32))
        count = len(numbers)
        groups = np.zeros(count, np.uint8) if spacegroup_number is None else np.asarray(spacegroup_number, np.uint8)
        names, units = list(property_names), list(property_units)
        values = np.zeros((count, 0), np.float32) if properties is None else np.asarray(properties, np.float32)
        if SPACEGROUP not in names and (groups > 0).any():
            names, units = [*names, SPACEGROUP], [*units, ""]
            values = np.concatenate([values, _classes(groups)[:, None]], axis=1)
        return cls(
            n_atoms=np.array([len(z) for z in numbers], dtype=np.int32),
            atomic_numbers=join(numbers, np.uint8),
            frac_coords=join(fractional, np.float32).reshape(-1, 3),
            lattice=np.array(cells, dtype=np.float32).reshape(-1, 3, 3),
            material_id=np.array([str(i) for i in range(count)] if material_id is None else list(material_id), np.str_),
            split=np.zeros(count, dtype=np.int8) if split is None else np.asarray(split, dtype=np.int8),
            spacegroup_number=groups,
            properties=values,
            property_names=np.array(names, dtype=np.str_),
            property_units=np.array(units, dtype=np.str_),
        )

    def __len__(self) -> int:
        return len(self.n_atoms)

    def record(self, i: int) -> CrystalRecord:
        """Crystal ``i`` (negative counts from the end). Raises IndexError outside the archive."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"crystal {i} is outside an archive of {len(self)}")
        i = int(i) % len(self)
        atoms = slice(*self._atoms[i : i + 2])
        return CrystalRecord(
            numbers=self.atomic_numbers[atoms].astype(np.int64),
            fractional=self.frac_coords[atoms].astype(np.float64),
            cell=self.lattice[i].astype(np.float64),
        )

    def select(self, indices: Any) -> CrystalArchive:
        """The crystals at ``indices`` (integers, a slice or a boolean mask of length M), in that order."""
        rows = np.arange(len(self))[indices].reshape(-1)
        atoms = ranges(self._atoms, rows)
        return replace(
            self,
            n_atoms=self.n_atoms[rows],
            atomic_numbers=self.atomic_numbers[atoms],
            frac_coords=self.frac_coords[atoms],
            lattice=self.lattice[rows],
            material_id=self.material_id[rows],
            split=self.split[rows],
            spacegroup_number=self.spacegroup_number[rows],
            properties=self.properties[rows],
        )

    def subset(self, name: str) -> CrystalArchive:
        """The crystals of one split: "train", "val" or "test"."""
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}; choose one of {', '.join(SPLITS)}")
        return self.select(self.split == SPLITS.index(name))

    def column(self, name: str) -> NDArray[Any]:
        """(M,) values of one property. Raises ValueError listing the known names."""
        names = self.property_names.tolist()
        if name not in names:
            raise ValueError(f"unknown property {name!r}; this archive has: {', '.join(names) or 'none'}")
        return self.properties[:, names.index(name)]

    def _check(self) -> None:
        for name, kinds in _KINDS.items():
            array = getattr(self, name)
            # an empty list of strings becomes a float array in numpy, which is harmless
            if not isinstance(array, np.ndarray) or (array.dtype.kind not in kinds and array.size):
                found = getattr(array, "dtype", type(array).__name__)
                raise ValueError(f"array {name!r} must be {_KIND_NAMES[kinds]}, found {found}")
        if self.n_atoms.ndim != 1:
            raise ValueError(f"array 'n_atoms' must be one-dimensional, found {self.n_atoms.shape}")
        count, atoms, columns = len(self.n_atoms), int(self.n_atoms.sum()), len(self.property_names)
        if count and self.n_atoms.min() < 1:
            raise ValueError(f"array 'n_atoms' has {self.n_atoms.min()} in row {self.n_atoms.argmin()}; 1 needed")
        expected: dict[str, tuple[int, ...]] = {
            "atomic_numbers": (atoms,),
            "frac_coords": (atoms, 3),
            "lattice": (count, 3, 3),
            "material_id": (count,),
            "split": (count,),
            "spacegroup_number": (count,),
            "properties": (count, columns),
            "property_names": (columns,),
            "property_units": (columns,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"array {name!r} has shape {getattr(self, name).shape}, expected {shape} for {count} crystals of "
                    f"{atoms} atoms together"
                )
        if not count:
            return
        if int(self.atomic_numbers.min()) < 1 or int(self.atomic_numbers.max()) > 118:
            raise ValueError("array 'atomic_numbers' has values outside 1-118")
        if not np.isfinite(self.frac_coords).all() or self.frac_coords.min() < 0 or self.frac_coords.max() >= 1:
            raise ValueError("array 'frac_coords' has values that are not in [0, 1); wrap them")
        if not np.isfinite(self.lattice).all():
            raise ValueError("array 'lattice' has values that are not finite")
        volumes = np.abs(np.linalg.det(self.lattice.astype(np.float64)))
        if volumes.min() < 1e-6:
            raise ValueError(f"array 'lattice' has a cell of volume {volumes.min():g} in row {volumes.argmin()}")
        if int(self.split.min()) < 0 or int(self.split.max()) > 2:
            raise ValueError("array 'split' has values outside 0 (train), 1 (val), 2 (test)")
        if int(self.spacegroup_number.min()) < 0 or int(self.spacegroup_number.max()) > 230:
            raise ValueError("array 'spacegroup_number' has values outside 1-230 and 0 (unknown)")


def is_crystal_archive(path: str | os.PathLike[str]) -> bool:
    """Whether an npz file holds crystals, by the names of its arrays.

    Raises:
        FileNotFoundError, ValueError: as `CrystalArchive.load`.
    """
    return "lattice" in read_npz(path, "lattice".__eq__)


def _wrapped(fractional: NDArray[Any]) -> NDArray[np.float32]:
    moved = (np.asarray(fractional, np.float64) % 1.0).astype(np.float32)
    # the remainder of a tiny negative number, and what float32 rounds up
    return np.where(moved >= 1.0, np.float32(0.0), moved)


def _classes(groups: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(groups > 0, groups, np.nan).astype(np.float32)


def _columns(values: list[NDArray[Any]], count: int) -> NDArray[np.float32]:
    return np.stack(values, axis=1).astype(np.float32) if values else np.zeros((count, 0), np.float32)
