"""What is to be evaluated, from files or Python, as a plain list in which every structure has its place.

An entry that cannot be read, a None, a structure a generator could not make: each stays in the list as a failure with a
reason, because rates are over everything that was asked for.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moldiff.data.archive import Archive
from moldiff.data.files import read_molecules

__all__ = ["MAX_ATOMS", "Inputs", "Structure", "gather"]

MAX_ATOMS = 1000
"""Structures with more atoms are failures: bond matrices grow with the square, and no generator here makes them."""

XYZ = (".xyz", ".extxyz")
SMILES = (".smi", ".smiles")


@dataclass(frozen=True)
class Structure:
    """One structure to judge, or the reason why there is none.

    Attributes:
        source: where it came from, for the table: file and entry, or the place in a list.
        payload: ``("mol", bytes)`` an RDKit molecule, ``("arrays", (numbers, positions, charges, bonds))`` as in
            `moldiff.molecules.convert.Arrays`, ``("atoms", (numbers, positions, charge))`` without bonds; None for a
            failure.
        reason, message: code and words of a failure, empty otherwise.
        embedded: whether it has coordinates at all.
    """

    source: str
    payload: tuple[str, Any] | None = None
    reason: str = ""
    message: str = ""
    embedded: bool = True

    @property
    def has_bonds(self) -> bool:
        """Whether bonds came with it."""
        return self.payload is not None and self.payload[0] != "atoms"


@dataclass
class Inputs:
    """All structures, in order.

    Attributes:
        structures: what was found.
        name: short name of the whole for tables.
        notes: what the reader should know, one sentence each.
    """

    structures: list[Structure]
    name: str
    notes: list[str] = field(default_factory=list)

    @property
    def with_bonds(self) -> bool:
        """Whether any structure came with bonds; what decides ``protocol="auto"``."""
        return any(structure.has_bonds for structure in self.structures)


def gather(what: Any, *, hydrogens: str = "explicit") -> Inputs:
    """Everything to evaluate, in order, failures included.

    Args:
        what: a path, a pattern with ``*`` or several of them; an `Archive`; a list of `rdkit.Chem.Mol`,
            `ase.Atoms`, `moldiff.molecules.convert.Arrays` and None; or the result of ``Generator.sample``, whose
            failures count.
        hydrogens: how files are read, "explicit" or "implicit".

    Raises:
        FileNotFoundError: a path or pattern without a file.
        ValueError: an unknown suffix, files without any readable structure, or an unknown type of object.
    """
    if isinstance(what, str | os.PathLike):
        return _files([what], hydrogens)
    if isinstance(what, Archive):
        return Inputs([_record(what, i, f"molecule {i}") for i in range(len(what))], "archive")
    if not isinstance(what, Iterable):
        raise ValueError(f"cannot evaluate {type(what).__name__}: give a path, or a list of Mol or ase.Atoms")
    items = list(what)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        return _files(items, hydrogens)
    structures = [_object(item, f"{place}") for place, item in enumerate(items)]
    for failed in sorted(getattr(what, "failed", []), key=lambda failed: failed.number):
        structure = _failed(failed)
        structures.insert(min(failed.number, len(structures)), structure)
    return Inputs([replace(one, source=f"{place}") for place, one in enumerate(structures)], "list")


def _files(paths: Sequence[str | os.PathLike[str]], hydrogens: str) -> Inputs:
    found: list[Path] = []
    for path in paths:
        text = os.path.expanduser(os.fspath(path))
        matches = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
        if not matches:
            raise FileNotFoundError(f"there is no file {text}; check the path or pattern")
        found += [Path(match) for match in matches]
    structures: list[Structure] = []
    notes: list[str] = []
    errors: list[ValueError] = []
    for path in found:
        try:
            structures += _file(path, hydrogens, notes)
        except ValueError as error:
            errors.append(error)
            structures.append(Structure(str(path), reason="unreadable", message=str(error)))
    if len(errors) == len(found):
        raise errors[0]
    if errors:
        notes.append(f"{len(errors)} of {len(found)} files could not be read and count as one failure each")
    return Inputs(structures, found[0].name if len(found) == 1 else f"{len(found)} files", notes)


def _file(path: Path, hydrogens: str, notes: list[str]) -> list[Structure]:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".npz":
        archive = Archive.load(path)
        return [_record(archive, i, f"{path.name}:{i}") for i in range(len(archive))]
    bonds = suffix not in XYZ
    reading = read_molecules(path, hydrogens="implicit" if hydrogens == "implicit" else "explicit", bonds=bonds)
    rows: list[tuple[int, Structure]] = []
    for mol, entry in zip(reading, reading.indices, strict=True):
        source = f"{path.name}:{entry}"
        rows.append((entry, _mol(mol, source) if bonds else _bare(mol, source)))
    for entry, reason, _ in reading.skipped:
        rows.append((entry, Structure(f"{path.name}:{entry}", reason="unreadable", message=reason)))
    if reading.skipped:
        notes.append(
            f"{path.name}: {len(reading.skipped)} of {len(rows)} entries could not be read and count as failures"
        )
    return [structure for _, structure in sorted(rows, key=lambda row: row[0])]


def _record(archive: Archive, i: int, source: str) -> Structure:
    record = archive.record(i)
    return Structure(source, ("arrays", (record.numbers, record.positions, record.charges, record.bonds)))


def _object(item: Any, source: str) -> Structure:
    if item is None:
        return Structure(source, reason="none", message="None: no molecule was made")
    if hasattr(item, "GetNumAtoms"):
        return _mol(item, source)
    if hasattr(item, "get_atomic_numbers"):
        numbers, positions = item.get_atomic_numbers(), item.get_positions()
        if len(numbers) > MAX_ATOMS:
            return _too_large(len(numbers), source)
        charge = item.info.get("charge", item.info.get("total_charge", 0))
        return Structure(source, ("atoms", (numbers, positions, _whole(charge))))
    if all(hasattr(item, name) for name in ("numbers", "positions", "charges", "bonds")):
        return Structure(source, ("arrays", (item.numbers, item.positions, item.charges, item.bonds)))
    raise ValueError(f"item {source} is a {type(item).__name__}; give rdkit.Chem.Mol, ase.Atoms or None")


def _mol(mol: Any, source: str) -> Structure:
    if mol.GetNumAtoms() > MAX_ATOMS:
        return _too_large(mol.GetNumAtoms(), source)
    return Structure(source, ("mol", mol.ToBinary()), embedded=mol.GetNumConformers() > 0)


def _bare(mol: Any, source: str) -> Structure:
    """A molecule of an XYZ file: elements and coordinates only."""
    if mol.GetNumAtoms() > MAX_ATOMS:
        return _too_large(mol.GetNumAtoms(), source)
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    return Structure(source, ("atoms", (numbers, mol.GetConformer().GetPositions(), mol.GetIntProp("charge"))))


def _too_large(atoms: int, source: str) -> Structure:
    return Structure(source, reason="too_large", message=f"{atoms} atoms; at most {MAX_ATOMS} are evaluated")


def _failed(failed: Any) -> Structure:
    """A structure of a generator that is not valid: as drawn where it could be built."""
    source = f"{failed.number}"
    if failed.mol is not None:
        return _mol(failed.mol, source)
    return Structure(source, reason=failed.reason, message=failed.message)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
