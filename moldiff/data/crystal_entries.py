"""Splitting crystal files into entries and reading each on its own, through ASE.

Every function yields for each entry ``(result, text)``: the result is an `ase.Atoms`, or the reason (str) why there is
none; the text is the entry's beginning.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["archive_entries", "cif_entries", "database_entries", "extxyz_entries", "poscar_entries"]

_COUNT = re.compile(r"\s*(\d+)\s*$")
#: Occupancies below this are partial; rounded ones such as 0.9999 are not.
_FULL = 0.999


def cif_entries(lines: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """The data blocks of a CIF. Blocks without any atom site (bibliographies) are entries too, and skipped."""
    block: list[str] = []
    quoted = False  # between lines that begin with a semicolon everything is text
    for line in lines:
        if line.startswith(";"):
            quoted = not quoted
        if not quoted and line[:5].lower() == "data_" and any(row.strip() for row in block):
            if any(row[:5].lower() == "data_" for row in block):
                yield _cif_entry(block)
            block = []
        block.append(line)
    if any(row.strip() and not row.lstrip().startswith("#") for row in block):
        yield _cif_entry(block)


def _cif_entry(block: list[str]) -> tuple[Any, str]:
    from ase.io.cif import parse_cif

    head = "\n".join(block[:5])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = list(parse_cif(io.StringIO("\n".join([*block, ""]))))
            if not found:
                return "no data block", head
            part = found[0]
            fault = _cif_fault(part)
            if fault:
                return fault, head
            # in P 1 nothing is expanded and sites that coincide are kept, to be judged by whoever asked
            plain = part.get_spacegroup(True).no == 1
            atoms = part.get_unsymmetrized_structure() if plain else part.get_atoms()
    except Exception as error:  # ASE raises many kinds for malformed text, and one entry must not cost the rest
        second = _by_pymatgen(block)
        if second is None:
            return f"malformed CIF: {type(error).__name__}: {_line(error)}", head
        atoms = second
    name = next((line[5:].strip() for line in block if line[:5].lower() == "data_"), "")
    atoms.set_pbc(True)
    atoms.info = {"name": name} if name else {}
    return atoms, head


def _by_pymatgen(block: list[str]) -> Any:
    """An `ase.Atoms` of a block that ASE cannot read, as for unusual settings of a space group, else None."""
    try:
        from pymatgen.io.cif import CifParser
    except ImportError:
        return None
    from moldiff.crystals.convert import from_structure, to_atoms

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = CifParser.from_str("\n".join([*block, ""])).parse_structures(primitive=False)
            return to_atoms(from_structure(found[0]))
    except Exception:  # as for ASE
        return None


def _cif_fault(part: Any) -> str:
    """Why a block is no ordered crystal, or an empty string."""
    symbols = part.get("_atom_site_type_symbol") or part.get("_atom_site_label")
    placed = part.get("_atom_site_fract_x") or part.get("_atom_site_cartn_x")
    if not symbols or not placed:
        return "no atom sites"
    occupancies = part.get("_atom_site_occupancy") or []
    for site, value in enumerate(occupancies):
        if isinstance(value, int | float) and value < _FULL:
            return f"disordered: site {site + 1} ({symbols[site]}) has the occupancy {value:g}"
    return ""


def extxyz_entries(lines: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """The frames of an extended XYZ file; after a bad one reading goes on at the next line that is a lone number."""
    from ase.io import read

    rows = list(lines)
    while rows and not rows[-1].strip():
        rows.pop()
    at = 0
    while at < len(rows):
        head = "\n".join(rows[at : at + 5])
        match = _COUNT.match(rows[at])
        count = int(match.group(1)) if match else 0
        block = rows[at : at + 2 + count]
        if match is None:
            result: Any = f"line {at + 1}: an atom count expected, found {rows[at].strip()[:40]!r}"
        elif count == 0:
            result = f"line {at + 1}: no atoms"
        elif len(block) < count + 2:
            result = f"truncated: {count} atoms promised, {len(block) - 2} found"
        else:
            try:
                result = read(io.StringIO("\n".join([*block, ""])), format="extxyz")
            except Exception as error:  # as for a CIF
                result = f"malformed extended XYZ: {type(error).__name__}: {_line(error)}"
        yield result, head
        if isinstance(result, str) and not result.endswith("no atoms"):
            at = next((i for i in range(at + 1, len(rows)) if _COUNT.match(rows[i])), len(rows))
        else:
            at += 2 + count


def poscar_entries(lines: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """The one crystal of a POSCAR file."""
    from ase.io import read

    rows = list(lines)
    if not any(row.strip() for row in rows):
        return
    head = "\n".join(rows[:5])
    try:
        atoms = read(io.StringIO("\n".join([*rows, ""])), format="vasp")
        atoms.info.setdefault("name", rows[0].strip())
        yield atoms, head
    except Exception as error:  # as for a CIF
        yield f"malformed POSCAR: {type(error).__name__}: {_line(error)}", head


def database_entries(path: str | os.PathLike[str]) -> Iterator[tuple[Any, str]]:
    """The rows of an ASE database (``.db``), with their key-value pairs, or the frames of a ``.traj`` file.

    Raises ValueError if the file cannot be opened as one.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".traj":
            from ase.io.trajectory import Trajectory

            with Trajectory(str(path)) as frames:
                for number in range(len(frames)):
                    yield frames[number], f"frame {number}"
            return
        from ase.db import connect

        for row in connect(str(path)).select():
            try:
                atoms = row.toatoms()
                atoms.info |= dict(row.key_value_pairs)
                atoms.info.setdefault("name", str(row.key_value_pairs.get("name", row.id)))
                yield atoms, f"row {row.id}"
            except (KeyError, AttributeError, ValueError) as error:
                yield f"malformed row: {type(error).__name__}: {_line(error)}", f"row {row.id}"
    except Exception as error:  # sqlite3, ULM and operating system errors alike
        raise ValueError(
            f"cannot read {path} as an ASE {path.suffix.lower()} file: {type(error).__name__}: {_line(error)}"
        ) from error


def archive_entries(path: str | os.PathLike[str]) -> Iterator[tuple[Any, str]]:
    """The crystals of an archive, with their properties in ``info``."""
    from moldiff.crystals.convert import to_atoms
    from moldiff.data.crystal_archive import CrystalArchive

    archive = CrystalArchive.load(path)
    names = archive.property_names.tolist()
    for i in range(len(archive)):
        atoms = to_atoms(archive.record(i))
        values = zip(names, archive.properties[i].tolist(), strict=True)
        atoms.info = {"name": str(archive.material_id[i])} | {name: value for name, value in values if value == value}
        yield atoms, str(archive.material_id[i])


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:120]
