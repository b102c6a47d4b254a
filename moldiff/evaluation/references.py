"""Find what to compare with: a shipped model's reference file, an archive, or a file of molecules."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.data.archive import Archive
from moldiff.data.download import find_archive
from moldiff.data.files import read_archive, read_molecules
from moldiff.data.profile import Profile
from moldiff.data.reference import Computed, Parts, Reference, Run, pack, unpack
from moldiff.evaluation.cache import keep, recall
from moldiff.evaluation.crystal_reference import is_crystal_reference
from moldiff.evaluation.inputs import SMILES
from moldiff.evaluation.workers import Workers
from moldiff.shipped import FOLDER, REFERENCE

__all__ = ["find", "spread"]


def spread(workers: Workers) -> Run:
    """Let worker processes compute the parts of a reference."""

    def run(name: str, items: Any, label: str) -> list[Any]:
        outcomes = workers.run(f"moldiff.data.profile:{name}", items, label=label)
        return [outcome.result if outcome.status == "ok" else None for outcome in outcomes]

    return run


def find(what: Any, workers: Workers) -> tuple[Reference, list[str]]:
    """The reference of a name or path, and notes on it.

    Args:
        what: a `Reference` or `Archive`; a shipped model ("qm9"), a folder with ``reference.npz``, a reference file, an
            archive, the name of a prepared archive, or a file of molecules.
        workers: who computes what an archive does not have ready.

    Raises:
        ValueError: none of these, listing the shipped names; or the file cannot be read.
    """
    if isinstance(what, Reference):
        return what, []
    if isinstance(what, Archive):
        return Reference.of(what, data="archive", run=spread(workers)), []
    text = os.path.expanduser(os.fspath(what))
    found = [folder for folder in FOLDER.glob("*") if (folder / REFERENCE).is_file()]
    shipped = {folder.name: folder / REFERENCE for folder in found if not is_crystal_reference(folder / REFERENCE)}
    if text in shipped:
        return Reference.load(shipped[text]), []
    path = Path(text)
    if path.is_dir() and (path / REFERENCE).is_file():
        return Reference.load(path / REFERENCE), []
    if not path.is_file():
        try:
            path = find_archive(text)
        except FileNotFoundError:
            known = ", ".join(sorted(shipped)) or "none"
            raise ValueError(
                f"unknown reference {text!r}: shipped are {known}; or give an archive (.npz) or a file of molecules"
            ) from None
    if path.suffix.lower() == ".npz":
        if _is_reference(path):
            return Reference.load(path), []
        archive = Archive.load(path)
        split = Reference.of(archive, data=path.stem, run=spread(workers))
        return Reference(path.stem, split.train, split.test, Cached(archive, spread(workers), path)), []
    return _of_file(path, workers)


class Cached(Computed):
    """Parts computed from an archive file; the slow ones are kept in the cache folder."""

    def __init__(self, archive: Archive, run: Run, path: Path) -> None:
        from rdkit import rdBase

        super().__init__(archive, run)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        self.stem = f"reference-{digest}-{rdBase.rdkitVersion}"

    def profile(self) -> Profile | None:
        """See `Reference.profile`."""
        stored = recall(f"{self.stem}-profile")
        if stored is not None:
            return Profile.from_arrays(stored, same_rdkit=True)
        found = super().profile()
        if found is not None:
            keep(f"{self.stem}-profile", found.arrays())
        return found

    def train_edm(self) -> frozenset[str] | None:
        """See `Reference.train_edm`."""
        stored = recall(f"{self.stem}-edm")
        if stored is not None:
            return frozenset(unpack(stored["smiles"]))
        found = super().train_edm()
        if found is not None:
            keep(f"{self.stem}-edm", {"smiles": pack(sorted(found))})
        return found


def _is_reference(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return "train_smiles" in stored.files
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return False


def _of_file(path: Path, workers: Workers) -> tuple[Reference, list[str]]:
    """A file has no split: a fifth of its molecules gives the floor, and new means in none of them."""
    from moldiff.molecules.convert import canonical_smiles

    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in SMILES:
        reading = read_molecules(path)
        smiles = frozenset(canonical_smiles(mol) for mol in reading)
        notes = [f"{path.name} has no geometry: it serves for novelty only, so there is no floor"]
        return Reference(path.name, smiles, frozenset(), Parts()), notes
    archive, reading = read_archive(path, fractions=(0.8, 0.0, 0.2))
    split = Reference.of(archive, data=path.name, run=spread(workers))
    notes = [f"{path.name} has no split: distances are from 4/5 of it, the floor is 1/5, novelty is against all of it"]
    if reading.skipped:
        notes.append(f"{len(reading.skipped)} of its entries could not be used")
    return split.with_training(split.train | split.test), notes
