"""Splitting molecule files into entries and reading each on its own.

Every function takes the lines of a file and whether bonds are wanted, and yields for each entry ``(result, text)``:
the result is an RDKit molecule, not sanitised, or the reason (str) why there is none; the text is the entry's
beginning.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

__all__ = ["sdf_entries", "smiles_entries", "xyz_entries"]

_COUNT = re.compile(r"\s*(\d+)\s*$")
_MOST_CHARGE = 999
_MAX_ITERATIONS = 100_000  # a geometry without sense could otherwise be searched for ever, deaf to Ctrl-C
_CHARGE = re.compile(r"\b(?:total_)?charge\s*=\s*\"?([-+]?\d{1,3})(?![\d.])", re.IGNORECASE)


def sdf_entries(lines: Iterable[str], bonds: bool = True) -> Iterator[tuple[Any, str]]:
    """Entries of an SDF, which end with ``$$$$``; a last one without it counts if it is complete."""
    block: list[str] = []
    for line in lines:
        if line.startswith("$$$$"):
            yield _sdf_entry(block, bonds)
            block = []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield _sdf_entry(block, bonds)


def _sdf_entry(block: list[str], bonds: bool) -> tuple[Any, str]:
    from rdkit import Chem, rdBase

    head = "\n".join(block[:5])
    if not any(line.strip() for line in block):
        return "empty entry", head
    if not any(line.startswith("M  END") for line in block):
        return f"truncated: no 'M  END' among its {len(block)} lines", head
    with rdBase.BlockLogs():
        supplier = Chem.SDMolSupplier()
        supplier.SetData("\n".join([*block, "$$$$", ""]), sanitize=False, removeHs=False, strictParsing=False)
        mol = next(iter(supplier), None)
        if mol is None:
            return _sdf_fault(block), head
        if mol.GetNumAtoms() == 0:
            return "no atoms", head
        if mol.GetNumConformers() and not np.isfinite(mol.GetConformer().GetPositions()).all():
            return "coordinates are not finite", head
        if not bonds:
            bare = Chem.RWMol(mol)
            for bond in list(mol.GetBonds()):
                bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
            mol = bare.GetMol()
        if any(bond.GetIsAromatic() for bond in mol.GetBonds()):
            _kekulise(mol)
    return mol, head


def _kekulise(mol: Any) -> None:
    """Replace aromatic by single and double bonds where RDKit finds such a form; otherwise leave the molecule alone."""
    from rdkit import Chem

    try:
        copy = Chem.Mol(mol)
        copy.UpdatePropertyCache(strict=False)
        Chem.Kekulize(copy, clearAromaticFlags=True)
    except (ValueError, RuntimeError):
        return
    for bond, done in zip(mol.GetBonds(), copy.GetBonds(), strict=True):
        bond.SetBondType(done.GetBondType())
        bond.SetIsAromatic(False)
    for atom in mol.GetAtoms():
        atom.SetIsAromatic(False)


def _sdf_fault(block: list[str]) -> str:
    """Why RDKit could not read a block that has an ``M  END``."""
    counts = block[3] if len(block) > 3 else ""
    if "V3000" in counts:
        return "malformed V3000 block"
    try:
        atoms, links = int(counts[:3]), int(counts[3:6])
    except ValueError:
        return f"malformed counts line {counts!r}"
    end = next(i for i, line in enumerate(block) if line.startswith("M  END"))
    if end < 4 + atoms + links:
        return f"counts line promises {atoms} atoms and {links} bonds, but only {end - 4} lines follow"
    for i, line in enumerate(block[4 : 4 + atoms]):
        try:
            [float(line[start : start + 10]) for start in (0, 10, 20)]
        except ValueError:
            return f"malformed atom {i + 1}: {line!r}"
    return "malformed atom, bond or property lines"


def xyz_entries(lines: Iterable[str], bonds: bool = True) -> Iterator[tuple[Any, str]]:
    """Entries of an XYZ or extended XYZ file.

    After a bad entry reading goes on at the next line that is a lone number, where the next entry should begin.
    """
    rows = list(lines)
    while rows and not rows[-1].strip():
        rows.pop()
    at = 0
    while at < len(rows):
        if not rows[at].strip() and _next_count(rows, at + 1) == at + 1:
            at += 1  # an empty line between entries
            continue
        head = "\n".join(rows[at : at + 5])
        match = _COUNT.match(rows[at])
        if not match:
            yield f"line {at + 1}: an atom count expected, found {rows[at].strip()[:40]!r}", head
            at = _next_count(rows, at + 1)
            continue
        count = int(match.group(1))
        body = rows[at + 2 : at + 2 + count]
        if count == 0:
            yield f"line {at + 1}: no atoms", head
            at += 2
            continue
        extended = at + 1 < len(rows) and "properties=" in rows[at + 1].lower()
        bad = next((i for i, row in enumerate(body) if not _atom_line(row, extended)), None)
        if bad is not None:
            line = at + 3 + bad
            yield f"line {line}: atom {bad + 1} of {count} malformed: {body[bad].strip()[:60]!r}", head
            # an entry that lost all but its count takes the next count for its comment: look there too
            at = _next_count(rows, at + 1 if bad == 0 else at + 2)
            continue
        if len(body) < count:
            yield f"truncated: {count} atoms promised, {len(body)} found", head
            return
        yield _xyz_entry(rows[at : at + 2 + count], extended, bonds), head
        at += 2 + count


def _next_count(rows: list[str], start: int) -> int:
    return next((i for i in range(start, len(rows)) if _COUNT.match(rows[i])), len(rows))


def _atom_line(row: str, extended: bool) -> bool:
    parts = row.split()
    if len(parts) < 4:
        return False
    if extended:
        return True  # the columns are where its Properties say; ASE reads them
    try:
        return _number(parts[0]) > 0 and all(_float(part) is not None for part in parts[1:4])
    except ValueError:
        return False


def _xyz_entry(block: list[str], extended: bool, bonds: bool) -> Any:
    comment = block[1]
    name = ""
    charge = 0
    if extended:
        from ase.io import read as read_atoms

        try:
            atoms = read_atoms(io.StringIO("\n".join(block) + "\n"), format="extxyz")
            charge = int(atoms.info.get("charge", atoms.info.get("total_charge", 0)))
        except Exception as error:  # ASE raises many kinds for malformed text, and one entry must not cost the rest
            return f"malformed extended XYZ: {type(error).__name__}: {error}"
        numbers, positions = atoms.numbers, atoms.positions
        name = str(atoms.info.get("name", ""))
    else:
        fields = [line.split() for line in block[2:]]
        numbers = np.array([_number(field[0]) for field in fields])
        positions = np.array([[_float(part) for part in field[1:4]] for field in fields])
        match = _CHARGE.search(comment)
        charge = int(match.group(1)) if match else 0
    if not np.isfinite(positions).all():
        return "coordinates are not finite"
    if abs(charge) > _MOST_CHARGE:
        return f"a total charge beyond {_MOST_CHARGE}"
    mol = _from_geometry(numbers, positions, charge, bonds)
    if not isinstance(mol, str):
        mol.SetProp("_Name", name or comment.strip())
        if not bonds:
            mol.SetIntProp("charge", charge)  # there are no formal charges to tell it
    return mol


def _from_geometry(numbers: Any, positions: Any, charge: int, bonds: bool) -> Any:
    """An RDKit molecule, or the reason why no bonds were found."""
    from moldiff.molecules.bonds import perceive
    from moldiff.molecules.convert import Arrays, build

    if not bonds:
        n = len(numbers)
        empty = np.zeros((n, n), np.int64)
        return build(Arrays(numbers, positions, np.zeros(n, np.int64), empty), empty).GetMol()
    found = perceive(numbers, positions, charge=charge, aromatic=False, max_iterations=_MAX_ITERATIONS)
    if found.arrays is None:
        return f"no bonds found for total charge {charge}: {found.reason}"
    return build(found.arrays, found.arrays.bonds).GetMol()


def _number(symbol: str) -> int:
    """Atomic number of a symbol or of a number as text; ValueError otherwise."""
    from ase.data import atomic_numbers

    if symbol.isdigit():
        if not 1 <= int(symbol) <= 118:
            raise ValueError(f"atomic number {symbol} is outside 1-118")
        return int(symbol)
    number = atomic_numbers.get(symbol.capitalize(), 0)
    if number == 0:
        raise ValueError(f"unknown element {symbol!r}")
    return int(number)


def _float(text: str) -> float:
    """A number, also in the notations of Fortran (1.0D-3) and Mathematica (1.0*^-3)."""
    return float(text.replace("*^", "e").replace("D", "e").replace("d", "e"))


def smiles_entries(lines: Iterable[str], bonds: bool = True) -> Iterator[tuple[Any, str]]:
    """Entries of a SMILES file: one a line, then the name; a header line "smiles ..." is left out."""
    from rdkit import Chem, rdBase

    first = True
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        smiles, _, name = text.replace("\t", " ").partition(" ")
        header, first = first and smiles.lower() in ("smiles", "smi", "canonical_smiles"), False
        if header:
            continue
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            yield f"RDKit cannot read the SMILES {smiles[:60]!r}", text
            continue
        if name.strip():
            mol.SetProp("_Name", name.strip())
        yield mol, text
