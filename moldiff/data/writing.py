"""Writing molecules to SDF, XYZ, extended XYZ and SMILES files, one after another as they are made."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

__all__ = ["Writer", "write"]


def write(mols: Iterable[Any], path: str | os.PathLike[str]) -> int:
    """Write RDKit molecules to a file whose suffix says the format; returns their number. See `Writer`."""
    with Writer(path) as writer:
        for mol in mols:
            writer.write(mol)
    return writer.count


class Writer:
    """Write molecules one at a time; whenever it stops, the file holds every molecule written so far.

    The suffix chooses the format: ``.sdf`` (kekulised, V2000, V3000 above 999 atoms or bonds, properties of the Mol
    kept), ``.xyz`` and ``.extxyz`` (SMILES and total charge in the comment), ``.smi`` (canonical SMILES without
    hydrogens, and the name). Coordinates in angstrom.

    The constructor raises ValueError for an unknown suffix, a missing folder or a path that cannot be written, so that
    nothing is computed in vain. An existing file is replaced when the first molecule comes, not before.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.count = 0
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise ValueError(f"cannot write {self.path}: unknown suffix {suffix!r}; end the name in one of {known}")
        folder = self.path.parent
        if not folder.is_dir():
            raise ValueError(f"cannot write {self.path}: there is no folder {folder}; create it or choose another path")
        if self.path.is_dir():
            raise ValueError(f"cannot write {self.path}: it is a folder; add a file name")
        self._format = _FORMATS[suffix]
        self._new = not self.path.exists()
        try:
            self._stream: IO[str] = open(self.path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
        except OSError as error:
            raise ValueError(
                f"cannot write {self.path}: {error.strerror}; check its permissions or choose another path"
            ) from error

    def write(self, mol: Any) -> None:
        """Append one molecule and flush. Raises ValueError if the format needs coordinates and it has no conformer."""
        text = self._format(mol)
        if self.count == 0:
            self._stream.truncate(0)
        self._stream.write(text)
        self._stream.flush()
        self.count += 1

    def close(self) -> None:
        """Close the file. A file that did not exist before and got no molecule is removed again."""
        if self._stream.closed:
            return
        self._stream.close()
        if self._new and self.count == 0:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sdf(mol: Any) -> str:
    from rdkit import Chem, rdBase

    _positions(mol)
    large = max(mol.GetNumAtoms(), mol.GetNumBonds()) > 999
    with rdBase.BlockLogs():
        try:
            return Chem.SDWriter.GetText(mol, kekulize=True, force_v3000=large)
        except ValueError:
            # no Kekule form: keep what there is, so that an invalid molecule can be looked at
            return Chem.SDWriter.GetText(mol, kekulize=False, force_v3000=large)


def _xyz(mol: Any) -> str:
    positions = _positions(mol)
    comment = f"smiles={_smiles(mol)} charge={_charge(mol)}"
    lines = [
        f"{atom.GetSymbol():<2s} {x:14.8f} {y:14.8f} {z:14.8f}"
        for atom, (x, y, z) in zip(mol.GetAtoms(), positions, strict=True)
    ]
    return "\n".join([str(len(lines)), comment, *lines]) + "\n"


def _extxyz(mol: Any) -> str:
    from ase import Atoms
    from ase.io import write as write_atoms

    atoms = Atoms(numbers=[atom.GetAtomicNum() for atom in mol.GetAtoms()], positions=_positions(mol))
    atoms.info = {"smiles": _smiles(mol), "charge": _charge(mol)}
    formal = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int64)
    if formal.any():
        atoms.arrays["formal_charges"] = formal
    stream = io.StringIO()
    write_atoms(stream, atoms, format="extxyz")
    return stream.getvalue()


def _smi(mol: Any) -> str:
    name = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
    return f"{_smiles(mol)} {name}".rstrip() + "\n"


_FORMATS: dict[str, Callable[[Any], str]] = {".sdf": _sdf, ".xyz": _xyz, ".extxyz": _extxyz, ".smi": _smi}


def _positions(mol: Any) -> Any:
    if mol.GetNumConformers() == 0:
        raise ValueError(f"{_smiles(mol)!r} has no 3D coordinates; embed it first, or write SMILES to a .smi file")
    return mol.GetConformer().GetPositions()


def _charge(mol: Any) -> int:
    return sum(atom.GetFormalCharge() for atom in mol.GetAtoms())


def _smiles(mol: Any) -> str:
    """Canonical SMILES without hydrogens; as it stands if the molecule cannot be sanitised."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        try:
            plain = Chem.Mol(mol)
            Chem.SanitizeMol(plain)
            return str(Chem.MolToSmiles(Chem.RemoveHs(plain)))
        except ValueError:
            return str(Chem.MolToSmiles(mol))
