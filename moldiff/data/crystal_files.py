"""Reading files of crystals: CIF, extended XYZ, POSCAR, ASE databases, archives, folders and globs, through ASE.

One bad entry never costs another: it is skipped and reported by its number and reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.data.archive import split_by_smiles
from moldiff.data.crystal_archive import SPACEGROUP, CrystalArchive, is_crystal_archive
from moldiff.data.crystal_entries import (
    archive_entries,
    cif_entries,
    database_entries,
    extxyz_entries,
    poscar_entries,
)
from moldiff.data.reading import Reading, Skipped, text_lines

__all__ = ["holds_crystals", "read_crystal_archive", "read_crystals"]

_TEXT = {
    ".cif": cif_entries,
    ".mcif": cif_entries,
    ".extxyz": extxyz_entries,
    ".xyz": extxyz_entries,
    ".vasp": poscar_entries,
    ".poscar": poscar_entries,
}
_BINARY = {".db": database_entries, ".traj": database_entries, ".npz": archive_entries}
#: Beginnings of the names of files without a suffix.
_NAMES = ("poscar", "contcar")
#: Suffixes that mean something else, whatever the name begins with.
_OTHERS = (".sdf", ".mol", ".smi", ".smiles", ".txt", ".csv", ".json", ".md", ".py")
#: What a folder is searched for.
_IN_FOLDERS = (".cif", ".mcif", ".extxyz", ".vasp", ".poscar")


def holds_crystals(path: str | os.PathLike[str]) -> bool:
    """Whether `read_crystals` is the one to read a path, by its name; for .xyz, .extxyz and .npz by a look inside.

    A frame of (extended) XYZ is a crystal if its comment has a ``Lattice=`` and not ``pbc="F F F"``.
    """
    path = Path(path)
    if path.is_dir():
        return any(_format(entry) in _IN_FOLDERS for entry in path.iterdir())
    kind = _format(path)
    if kind in (".xyz", ".extxyz"):
        files = _files(path)
        if not files:
            return False
        rows = text_lines(files[0], [])
        comment = next((line for number, line in enumerate(rows) if number == 1), "").replace("'", '"')
        return "lattice=" in comment.lower() and 'pbc="f f f"' not in comment.lower()
    if kind == ".npz":
        return path.is_file() and is_crystal_archive(path)
    return kind in _TEXT or kind in _BINARY


def read_crystals(path: str | os.PathLike[str], *, max_atoms: int | None = None) -> Reading:
    """Read all crystals of a ``.cif``, ``.extxyz``, ``.vasp``/``POSCAR``, ``.db``, ``.traj`` or ``.npz`` file.

    Text files also with ``.gz``. A folder stands for the files of crystals in it, and a name with ``*`` or ``?`` for
    those that match; entries are then numbered through all files in the order of their names. Positions are moved into
    the cell; cells are not reduced. Skipped are disordered sites, entries without atoms or cell, cells of zero
    volume, coordinates that are not finite, and those of more than ``max_atoms`` atoms.

    Returns:
        The crystals, a list of `ase.Atoms` whose ``info`` has their name and numbers of the file, with ``skipped``.

    Raises:
        FileNotFoundError: without such a file.
        ValueError: for an unknown suffix, or without a readable entry, with the first reasons.
    """
    from moldiff.crystals.convert import from_atoms

    path = Path(path)
    files = _files(path)
    if not files:
        raise FileNotFoundError(f"there is no file {path}; check the path")
    kept: list[Any] = []
    stems: list[str] = []
    indices: list[int] = []
    skipped: list[Skipped] = []
    count = 0
    for file in files:
        prefix = f"{file.name}: " if len(files) > 1 else ""
        damage: list[Skipped] = []
        empty = True
        for result, text in _entries(file, damage):
            empty = False
            try:
                if isinstance(result, str):
                    raise ValueError(result)
                from_atoms(result)
                if max_atoms is not None and len(result) > max_atoms:
                    raise ValueError(f"too many atoms: {len(result)} are more than {max_atoms}")
                result.set_pbc(True)
                result.wrap()
                kept.append(result)
                stems.append(file.name.split(".")[0])
                indices.append(count)
            except ValueError as error:
                skipped.append(Skipped(count, prefix + str(error), text[:200]))
            count += 1
        if empty:
            damage.append(Skipped(-1, "no entry: the file is empty", ""))
        for fault in damage:
            if len(files) > 1 or not empty or fault.reason.startswith("gzip"):
                skipped.append(Skipped(count, prefix + fault.reason, ""))
                count += 1
    if not kept:
        reasons = "; ".join(f"entry {index}: {reason}" for index, reason, _ in skipped[:3])
        raise ValueError(f"{path}: no readable crystal ({reasons or 'the file is empty'}); check format and suffix")
    for atoms, stem, index in zip(kept, stems, indices, strict=True):
        atoms.info.setdefault("name", stem if len(files) > 1 or count == 1 else f"{stem}-{index}")
    return Reading(kept, path=path, skipped=skipped, indices=indices, noun="crystals")


def read_crystal_archive(
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    max_atoms: int | None = None,
    duplicates: bool = True,
) -> tuple[CrystalArchive, Reading]:
    """Read files as `read_crystals` does and make an archive of primitive, Niggli-reduced cells.

    Numbers in ``info`` (extended XYZ, databases) that at least half of the crystals have become properties, with
    unknown units; the space group (spglib, 0.1 angstrom) is one more. The split is random, equal compositions
    together. ``max_atoms`` counts the primitive cell. With ``duplicates=False`` of equal crystals (pymatgen's matcher)
    the first is kept.

    Raises as `read_crystals`, and ValueError if spglib is not installed or no crystal is left.
    """
    from moldiff.crystals.convert import from_atoms
    from moldiff.crystals.reduction import reduced, space_group

    reading = read_crystals(path)
    records, kept, indices, skipped = [], [], [], list(reading.skipped)
    for atoms, index in zip(reading, reading.indices, strict=True):
        try:
            record = reduced(from_atoms(atoms))
            if max_atoms is not None and len(record.numbers) > max_atoms:
                raise ValueError(f"too many atoms: {len(record.numbers)} are more than {max_atoms}")
        except ValueError as error:
            skipped.append(Skipped(index, str(error), ""))
            continue
        records.append(record)
        kept.append(atoms)
        indices.append(index)
    if not duplicates:
        first = _first(records)
        skipped += [
            Skipped(indices[row], f"duplicate of entry {indices[same]}", "")
            for row, same in enumerate(first)
            if same != row
        ]
        rows = [row for row, same in enumerate(first) if same == row]
        records, kept = [records[row] for row in rows], [kept[row] for row in rows]
        indices = [indices[row] for row in rows]
    skipped.sort(key=lambda entry: entry.entry)
    if not records:
        reasons = "; ".join(f"entry {index}: {reason}" for index, reason, _ in skipped[:3])
        raise ValueError(f"{path}: no crystal for an archive ({reasons})")
    names, values = _numbers(kept)
    formulas = [atoms.symbols.formula.reduce()[0].format("hill") for atoms in kept]
    archive = CrystalArchive.build(
        records,
        material_id=[str(atoms.info["name"]) for atoms in kept],
        split=split_by_smiles(formulas, fractions=fractions, seed=seed),
        spacegroup_number=[space_group(record) for record in records],
        properties=values,
        property_names=names,
        property_units=[""] * len(names),
    )
    return archive, Reading(kept, path=reading.path, skipped=skipped, indices=indices, noun="crystals")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(entry for entry in path.iterdir() if entry.is_file() and _format(entry) in _IN_FOLDERS)
    if not path.exists() and has_magic(str(path)):
        return [Path(name) for name in sorted(glob(str(path), recursive=True)) if Path(name).is_file()]
    return [path] if path.is_file() else []


def _format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if suffix not in (*_TEXT, *_BINARY, *_OTHERS) and path.name.lower().startswith(_NAMES):
        return ".poscar"
    return suffix


def _entries(path: Path, damage: list[Skipped]) -> Iterator[tuple[Any, str]]:
    kind = _format(path)
    if kind in _BINARY:
        return _BINARY[kind](path)
    if kind not in _TEXT:
        known = ", ".join([*_TEXT, *_BINARY])
        raise ValueError(f"cannot read {path}: unknown suffix {kind!r}; for crystals known are {known}, and POSCAR")
    return _TEXT[kind](text_lines(path, damage))


def _first(records: Sequence[Any]) -> list[int]:
    """For each crystal the row of the first one that is the same."""
    from moldiff.crystals.convert import to_structure

    try:
        from pymatgen.analysis.structure_matcher import StructureMatcher
    except ImportError as error:
        raise ValueError("finding duplicates needs pymatgen: pip install 'moldiff[crystal]'") from error
    matcher = StructureMatcher()
    seen: dict[Any, list[tuple[int, Any]]] = {}
    first = []
    for row, record in enumerate(records):
        structure = to_structure(record)
        group = seen.setdefault(tuple(np.bincount(record.numbers, minlength=119)), [])
        same = next((other for other, known in group if matcher.fit(structure, known)), row)
        if same == row:
            group.append((row, structure))
        first.append(same)
    return first


def _numbers(crystals: Iterable[Any]) -> tuple[list[str], Any]:
    """Names and (M, P) values of what is a number in ``info`` of at least half of the crystals, NaN elsewhere."""
    rows = [
        {
            name: float(value)
            for name, value in atoms.info.items()
            if isinstance(value, int | float | np.number) and not isinstance(value, bool) and name != SPACEGROUP
        }
        for atoms in crystals
    ]
    counts = Counter(name for row in rows for name in row)
    names = [name for name, count in counts.items() if 2 * count >= len(rows)]
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float32)
    return names, values.reshape(len(rows), len(names))
