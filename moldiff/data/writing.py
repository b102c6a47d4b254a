"""Writing molecules and crystals to files, one after another as they are made."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from moldiff.data.crystal_writing import SEVERAL_BLOCKS, block_name, cif_text, extxyz_text, poscar_text, symmetric

__all__ = ["Writer", "write"]


def write(structures: Iterable[Any], path: str | os.PathLike[str], *, symmetrise: bool = False) -> int:
    """Write RDKit molecules or ASE crystals to a file whose suffix says the format; returns their number.

    See `Writer`. Several crystals in one CIF give a warning, since many programs read only the first.
    """
    remaining = iter(structures)
    first = list(islice(remaining, 1))
    crystals = hasattr(first[0], "cell") if first else Path(path).suffix.lower() not in _MOLECULES
    with Writer(path, crystals=crystals, symmetrise=symmetrise) as writer:
        for structure in chain(first, remaining):
            writer.write(structure)
        if writer.warning:
            warnings.warn(writer.warning, stacklevel=2)
    return writer.count


class Writer:
    """Write structures one at a time; whenever it stops, the file holds every structure written so far.

    The suffix chooses the format. Molecules (`rdkit.Chem.Mol`): ``.sdf`` (kekulised, V2000, V3000 above 999 atoms or
    bonds, properties of the Mol kept), ``.xyz`` and ``.extxyz`` (SMILES and total charge in the comment), ``.smi``
    (canonical SMILES without hydrogens, and the name). With ``crystals`` (periodic `ase.Atoms`): ``.cif`` (one named
    block a structure), ``.extxyz`` and ``.xyz`` (with ``Lattice=``), ``.vasp`` (one only); a path without a suffix,
    or of a folder, is a folder that gets one CIF a crystal. Coordinates in angstrom. ``symmetrise`` moves crystals to
    their exact symmetry (spglib, 0.1 angstrom) before: CIF then have the conventional cell and its operations, other
    formats the primitive cell.

    The constructor raises ValueError for an unknown suffix, a missing folder or a path that cannot be written, so that
    nothing is computed in vain. An existing file is replaced when the first structure comes, not before.
    """

    def __init__(self, path: str | os.PathLike[str], *, crystals: bool = False, symmetrise: bool = False) -> None:
        self.path = Path(path)
        self.count = 0
        self.crystals, self.symmetrise = crystals, symmetrise
        self._stream: IO[str] | None = None
        self._names: set[str] = set()
        self._new = not self.path.exists()
        self._suffix = self.path.suffix.lower()
        self._folder = crystals and (self.path.is_dir() or (self._suffix == "" and self._new))
        formats = _CRYSTALS if crystals else _MOLECULES
        if self._suffix not in formats and not self._folder:
            known = ", ".join(formats) + (", or name a folder" if crystals else "")
            what = "crystals" if crystals else "molecules"
            raise ValueError(
                f"cannot write {what} to {self.path}: unknown suffix {self._suffix!r}; end the name in one of {known}"
            )
        folder = self.path.parent
        if not folder.is_dir():
            raise ValueError(f"cannot write {self.path}: there is no folder {folder}; create it or choose another path")
        if self._folder:
            return
        if self.path.is_dir():
            raise ValueError(f"cannot write {self.path}: it is a folder; add a file name")
        try:
            self._stream = open(self.path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
        except OSError as error:
            raise ValueError(
                f"cannot write {self.path}: {error.strerror}; check its permissions or choose another path"
            ) from error

    @property
    def warning(self) -> str:
        """What to say about the file as it is, an empty string for nothing."""
        if self.count < 2 or self._folder or self._suffix != ".cif":
            return ""
        return f"{self.path} holds {self.count} structures: {SEVERAL_BLOCKS}"

    def write(self, structure: Any) -> None:
        """Append one structure and flush.

        Raises ValueError if the format needs coordinates and a molecule has none, for a structure of the other kind,
        and for what is no crystal, such as Atoms without a cell.
        """
        if hasattr(structure, "cell") != self.crystals:
            kinds = ("molecules", "crystals") if self.crystals else ("crystals", "molecules")
            raise ValueError(
                f"cannot write {kinds[0]} to {self.path}, which was opened for {kinds[1]}: use another file"
            )
        if not self.crystals:
            self._append(_MOLECULES[self._suffix](structure))
            return
        from moldiff.crystals.convert import from_atoms

        from_atoms(structure)
        if self._suffix == ".vasp" and self.count and not self._folder:
            raise ValueError(f"{self.path} holds one crystal already: write the others to a .cif, .extxyz or folder")
        name = block_name(structure, self.count)
        if name in self._names:
            name = f"{name}-{self.count}"
        self._names.add(name)
        if self.symmetrise:
            structure = symmetric(structure)
        if not self._folder and self._suffix != ".cif":
            self._append(_CRYSTALS[self._suffix](structure, name))
            return
        text = cif_text(structure, name, symmetry=self.symmetrise)
        if not self._folder:
            self._append(text)
            return
        try:
            self.path.mkdir(exist_ok=True)
            (self.path / f"{name}.cif").write_text(text, encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot write to the folder {self.path}: {error.strerror}; choose another") from error
        self.count += 1

    def _append(self, text: str) -> None:
        if self._stream is None:
            raise ValueError(f"{self.path} is closed")
        if self.count == 0:
            self._stream.truncate(0)
        self._stream.write(text)
        self._stream.flush()
        self.count += 1

    def close(self) -> None:
        """Close the file. A file that did not exist before and got no molecule is removed again."""
        if self._stream is None or self._stream.closed:
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


_MOLECULES: dict[str, Callable[[Any], str]] = {".sdf": _sdf, ".xyz": _xyz, ".extxyz": _extxyz, ".smi": _smi}
_CRYSTALS: dict[str, Callable[[Any, str], str]] = {
    ".cif": cif_text,
    ".extxyz": extxyz_text,
    ".xyz": extxyz_text,
    ".vasp": poscar_text,
}


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
