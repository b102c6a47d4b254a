"""Which inputs are crystals, and the crystals to be evaluated as a plain list in which each has its place."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.data.crystal_archive import CrystalArchive
from moldiff.evaluation.inputs import Inputs, Structure

__all__ = ["MAX_ATOMS", "are_crystals", "gather_crystals"]

MAX_ATOMS = 500
"""Crystals with more atoms a cell are failures: comparing them takes hours, and no generator here makes them."""


def are_crystals(what: Any) -> bool | None:
    """Whether an input holds crystals, by content: structures with three periodic directions and a cell.

    Args:
        what: as for `gather_crystals`, or molecules.

    Returns:
        None where nothing tells, as in an empty list.
    """
    if isinstance(what, CrystalArchive):
        return True
    if isinstance(what, str | os.PathLike):
        return any(_holds(path) for path in _found(what))
    if not isinstance(what, Iterable):
        return False
    items = list(what)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        return any(_holds(path) for item in items for path in _found(item))
    items += [_made(failed) for failed in getattr(what, "failed", [])]
    known = [item for item in items if item is not None]
    return any(_periodic(item) for item in known) if known else None


def gather_crystals(what: Any) -> Inputs:
    """Everything to evaluate, in order, failures included.

    Args:
        what: a path, a pattern with ``*``, a folder or several of them; a `CrystalArchive`; a list of `ase.Atoms`,
            pymatgen structures, `moldiff.crystals.convert.CrystalArrays` and None; or what ``Generator.sample``
            returned, whose failures count.

    Raises:
        FileNotFoundError: a path or pattern without a file.
        ValueError: an unknown suffix, files without any readable crystal, or an unknown type of object.
    """
    if isinstance(what, CrystalArchive):
        records = [what.record(i) for i in range(len(what))]
        return Inputs([_arrays(r, f"{name}") for r, name in zip(records, what.material_id, strict=True)], "archive")
    if isinstance(what, str | os.PathLike):
        return _files([what])
    if not isinstance(what, Iterable):
        raise ValueError(f"cannot evaluate {type(what).__name__}: give a path, or a list of ase.Atoms")
    items = list(what)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        return _files(items)
    structures = [_object(item, "") for item in items]
    for failed in sorted(getattr(what, "failed", []), key=lambda one: one.number):
        atoms = _made(failed)
        one = _object(atoms, "") if atoms is not None else Structure("", reason=failed.reason, message=failed.message)
        structures.insert(min(failed.number, len(structures)), one)
    numbered = [
        Structure(f"{place}", one.payload, one.reason, one.message, one.embedded)
        for place, one in enumerate(structures)
    ]
    return Inputs(numbered, "list")


def _found(path: str | os.PathLike[str]) -> list[Path]:
    text = os.path.expanduser(os.fspath(path))
    if os.path.exists(text):
        return [Path(text)]
    matches = sorted(glob.glob(text, recursive=True))
    if not matches:
        raise FileNotFoundError(f"there is no file {text}; check the path or pattern")
    return [Path(match) for match in matches]


def _holds(path: Path) -> bool:
    from moldiff.data.crystal_files import holds_crystals

    try:
        return holds_crystals(path)
    except ValueError:
        # a damaged file is for the reader of molecules to complain about
        return False


def _periodic(item: Any) -> bool:
    if hasattr(item, "get_scaled_positions"):
        return bool(all(item.pbc)) and abs(float(np.linalg.det(np.array(item.cell)))) > 0
    return all(hasattr(item, name) for name in ("numbers", "fractional", "cell")) or hasattr(item, "frac_coords")


def _made(failed: Any) -> Any:
    """The crystal of a failed structure as far as it was made, or None."""
    atoms = getattr(failed, "mol", None)
    return atoms if hasattr(atoms, "get_scaled_positions") else None


def _files(paths: Sequence[str | os.PathLike[str]]) -> Inputs:
    from moldiff.data.crystal_files import read_crystals

    found = [path for item in paths for path in _found(item)]
    structures: list[Structure] = []
    notes: list[str] = []
    errors: list[ValueError] = []
    for path in found:
        try:
            reading = read_crystals(path)
        except ValueError as error:
            errors.append(error)
            structures.append(Structure(str(path), reason="unreadable", message=str(error)))
            continue
        rows = [(i, _object(atoms, f"{path.name}:{i}")) for atoms, i in zip(reading, reading.indices, strict=True)]
        rows += [
            (entry, Structure(f"{path.name}:{entry}", reason="unreadable", message=reason))
            for entry, reason, _ in reading.skipped
        ]
        if reading.skipped:
            notes.append(
                f"{path.name}: {len(reading.skipped)} of {len(rows)} entries could not be read and count as failures"
            )
        structures += [one for _, one in sorted(rows, key=lambda row: row[0])]
    if len(errors) == len(found):
        raise errors[0]
    if errors:
        notes.append(f"{len(errors)} of {len(found)} files could not be read and count as one failure each")
    return Inputs(structures, found[0].name if len(found) == 1 else f"{len(found)} files", notes)


def _object(item: Any, source: str) -> Structure:
    if item is None:
        return Structure(source, reason="none", message="None: no crystal was made")
    if hasattr(item, "get_scaled_positions"):
        return _atoms(item, source)
    if all(hasattr(item, name) for name in ("numbers", "fractional", "cell")):
        return _arrays(item, source)
    if hasattr(item, "frac_coords") and hasattr(item, "lattice"):
        from moldiff.crystals.convert import from_structure

        try:
            return _arrays(from_structure(item), source)
        except ValueError as error:
            return Structure(source, reason="unreadable", message=str(error))
    raise ValueError(f"a {type(item).__name__} in the list; give periodic ase.Atoms, pymatgen structures or None")


def _atoms(atoms: Any, source: str) -> Structure:
    cell, positions = np.array(atoms.cell, dtype=np.float64), np.asarray(atoms.positions, dtype=np.float64)
    if not all(atoms.pbc):
        return Structure(source, reason="not_periodic", message=f"pbc = {list(map(bool, atoms.pbc))}: no crystal")
    try:
        places = np.linalg.solve(cell.T, positions.T).T
    except np.linalg.LinAlgError:
        return Structure(source, reason="volume", message="the cell has no volume")
    return _crystal(np.asarray(atoms.numbers), places, cell, source)


def _arrays(arrays: Any, source: str) -> Structure:
    return _crystal(np.asarray(arrays.numbers), np.asarray(arrays.fractional), np.asarray(arrays.cell), source)


def _crystal(numbers: Any, fractional: Any, cell: Any, source: str) -> Structure:
    if len(numbers) > MAX_ATOMS:
        message = f"{len(numbers)} atoms; at most {MAX_ATOMS} are evaluated"
        return Structure(source, reason="too_large", message=message)
    # places far outside [0, 1) lose digits in the cell they belong to, so they are wrapped here, once
    places = np.where(np.isfinite(fractional), np.asarray(fractional, dtype=np.float64) % 1.0, np.nan)
    payload = (numbers.astype(np.int64), places, np.asarray(cell, dtype=np.float64))
    return Structure(source, ("crystal", payload))
