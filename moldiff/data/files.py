"""Reading and writing files: SDF, XYZ, extended XYZ and SMILES, also gzipped, for molecules; crystals by their module.

Foreign files are taken as they are: nothing is sanitised, no hydrogen is removed, formal charges and radicals stay.
One bad entry never costs another: it is skipped and reported by its number and reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from moldiff.data.archive import Archive, Record, split_by_smiles
from moldiff.data.crystal_files import holds_crystals, read_crystals
from moldiff.data.embed import embed
from moldiff.data.entries import sdf_entries, smiles_entries, xyz_entries
from moldiff.data.reading import Reading, Skipped, text_lines
from moldiff.data.writing import Writer, write

__all__ = ["Hydrogens", "Reading", "Skipped", "Writer", "read", "read_archive", "read_molecules", "write"]

Hydrogens = Literal["explicit", "implicit", "add"]
"""How hydrogens are taken.

``explicit``: exactly the atoms of the file, a missing hydrogen is a radical (SMILES get theirs, which are implied).
``implicit``: missing hydrogens are understood, not shown. ``add``: missing hydrogens are added, with coordinates.
"""


def read_molecules(
    path: str | os.PathLike[str], *, hydrogens: Hydrogens = "explicit", seed: int = 0, bonds: bool = True
) -> Reading:
    """Read all molecules of a ``.sdf``, ``.mol``, ``.xyz``, ``.extxyz``, ``.smi`` or ``.smiles`` file, also with
    ``.gz``.

    SDF: aromatic bonds (type 4) are kekulised where possible; fields of the entry become properties of the Mol. XYZ:
    bonds and charges are perceived from the geometry, for the total charge given as ``charge=`` in the comment, else
    0; ``bonds=False`` leaves that out and gives atoms only, with the total charge as property ``charge``. SMILES: no
    coordinates. ``hydrogens`` see `Hydrogens`. ``seed`` is for `read_archive`; reading itself draws nothing.

    Raises FileNotFoundError without such a file and ValueError for an unknown suffix or a file without a readable
    entry, with the first reasons.
    """
    path = Path(path)
    if hydrogens not in ("explicit", "implicit", "add"):
        raise ValueError(f"hydrogens={hydrogens!r} is unknown; use 'explicit', 'implicit' or 'add'")
    parse = _parser(path)
    mols: list[Any] = []
    indices: list[int] = []
    skipped: list[Skipped] = []
    for index, (result, text) in enumerate(parse(text_lines(path, skipped), bonds)):
        try:
            if isinstance(result, str):
                raise ValueError(result)
            mols.append(_with_hydrogens(result, hydrogens, smiles=parse is smiles_entries))
            indices.append(index)
        except (ValueError, RuntimeError) as error:
            skipped.append(Skipped(index, str(error).strip().splitlines()[0], text[:200]))
    # a damaged end of a gzip file is noticed while reading and counts as the entry after the last
    skipped = [Skipped(len(mols) + len(skipped) - 1, *entry[1:]) if entry.entry < 0 else entry for entry in skipped]
    skipped.sort(key=lambda entry: entry.entry)
    if not mols:
        reasons = "; ".join(f"entry {index}: {reason}" for index, reason, _ in skipped[:3])
        raise ValueError(f"{path}: no readable molecule ({reasons or 'the file is empty'}); check format and suffix")
    return Reading(mols, path=path, skipped=skipped, indices=indices)


def read(path: str | os.PathLike[str], *, hydrogens: Hydrogens = "explicit", seed: int = 0) -> Reading:
    """Read the structures of a file: molecules as `read_molecules`, crystals as `read_crystals` of
    `moldiff.data.crystal_files`, told apart by the suffix, and by a look inside for .xyz, .extxyz and .npz.
    """
    if holds_crystals(path):
        return read_crystals(path)
    return read_molecules(path, hydrogens=hydrogens, seed=seed)


def read_archive(
    path: str | os.PathLike[str],
    *,
    hydrogens: Hydrogens = "explicit",
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> tuple[Archive, Reading]:
    """Read a file as `read_molecules` does and make an archive of it.

    Molecules without coordinates get them from ETKDG and MMFF94 with ``seed``; they then have all hydrogens. Fields
    of an SDF that are numbers in at least half of the molecules become properties, with unknown units. The split is
    random, equal molecules together. Entries that do not fit an archive (valences RDKit refuses, radicals, dummy
    atoms, no Kekule form, missing hydrogens) are moved to ``skipped`` of the reading.

    Raises as `read_molecules`, and ValueError if no molecule fits.
    """
    reading = read_molecules(path, hydrogens=hydrogens, seed=seed)
    records: list[Record] = []
    smiles: list[str] = []
    kept: list[Any] = []
    indices: list[int] = []
    skipped = list(reading.skipped)
    for mol, index in zip(reading, reading.indices, strict=True):
        try:
            record, name = record_of(mol if mol.GetNumConformers() else embed(mol, seed=seed))
        except (ValueError, RuntimeError) as error:
            skipped.append(Skipped(index, str(error).strip().splitlines()[0], ""))
            continue
        records.append(record)
        smiles.append(name)
        kept.append(mol)
        indices.append(index)
    skipped.sort(key=lambda entry: entry.entry)
    if not records:
        reasons = "; ".join(f"entry {index}: {reason}" for index, reason, _ in skipped[:3])
        raise ValueError(
            f"{path}: no molecule for an archive ({reasons}); missing hydrogens are added by hydrogens='add', or by "
            f"moldiff data {path} -o with-hydrogens.npz --hydrogens add"
        )
    names, values = _numeric_fields(kept)
    archive = Archive.build(
        records,
        smiles=smiles,
        split=split_by_smiles(smiles, fractions=fractions, seed=seed),
        properties=values,
        property_names=names,
        property_units=[""] * len(names),
        index=indices,
    )
    return archive, Reading(kept, path=reading.path, skipped=skipped, indices=indices)


def record_of(mol: Any) -> tuple[Record, str]:
    """The arrays and the canonical SMILES of an RDKit molecule with explicit hydrogens and a conformer.

    Raises ValueError (`moldiff.molecules.convert.MoleculeError` among them) if RDKit refuses its valences, or for
    radicals, implicit hydrogens, dummy atoms, coordinates that are not finite or aromatic bonds without a Kekule
    form.
    """
    from moldiff.molecules.convert import AROMATIC, canonical_smiles, from_mol, kekule_orders, to_mol

    arrays = from_mol(mol)
    if not np.isfinite(arrays.positions).all():
        raise ValueError("coordinates are not finite")
    checked = to_mol(arrays)
    if any(atom.GetNumRadicalElectrons() for atom in checked.GetAtoms()):
        raise ValueError("has radicals: hydrogens or charges are missing")
    record = Record(
        numbers=arrays.numbers,
        positions=arrays.positions,
        charges=arrays.charges,
        bonds=kekule_orders(mol),
        aromatic=arrays.bonds == AROMATIC,
    )
    return record, canonical_smiles(checked)


_Parser = Callable[[Iterable[str], bool], Iterator[tuple[Any, str]]]

_PARSERS: dict[str, _Parser] = {
    ".sdf": sdf_entries,
    ".mol": sdf_entries,
    ".xyz": xyz_entries,
    ".extxyz": xyz_entries,
    ".smi": smiles_entries,
    ".smiles": smiles_entries,
}


def _parser(path: Path) -> _Parser:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if suffix not in _PARSERS:
        known = ", ".join(_PARSERS)
        raise ValueError(
            f"cannot read {path}: unknown suffix {suffix!r}; known are {known}, each also with .gz, for molecules, and "
            ".cif, .extxyz, .vasp, POSCAR, .db, .traj and .npz for crystals"
        )
    return _PARSERS[suffix]


def _with_hydrogens(mol: Any, hydrogens: Hydrogens, *, smiles: bool) -> Any:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        if hydrogens == "add" or (smiles and hydrogens == "explicit"):
            mol.UpdatePropertyCache(strict=False)
            return Chem.AddHs(mol, addCoords=mol.GetNumConformers() > 0)
        if hydrogens == "explicit":
            for atom in mol.GetAtoms():
                atom.SetNoImplicit(True)
        mol.UpdatePropertyCache(strict=False)
    return mol


def _numeric_fields(mols: Sequence[Any]) -> tuple[list[str], Any]:
    """Names and (M, P) values of the fields that are numbers in at least half of the molecules, NaN elsewhere."""
    counts: Counter[str] = Counter()
    rows: list[dict[str, float]] = []
    for mol in mols:
        row = {}
        for name in mol.GetPropNames(includePrivate=False, includeComputed=False):
            try:
                row[name] = float(mol.GetProp(name))
            except (ValueError, RuntimeError):
                continue
        counts.update(row)
        rows.append(row)
    names = [name for name, count in counts.items() if 2 * count >= len(mols)]
    values = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=np.float32)
    return names, values.reshape(len(mols), len(names))
