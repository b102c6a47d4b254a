"""What crystals are compared with: a training set to be new against and a test set to resemble.

A reference file, a few megabytes, lies beside shipped weights. It holds the training and test crystals (fractional
coordinates to 1/65520 of the cell, of which halves, thirds, quarters, fifths, sixths and eighths are whole multiples,
so that symmetry survives; cells to 0.0001 angstrom, turned to a along x) and the structure fingerprints of test
crystals and of some training crystals, which take a tenth of a second each. The same object is made of any archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.crystals.matching import Crystal
from moldiff.crystals.validity import reduced_composition
from moldiff.data.archive import SPLITS
from moldiff.data.crystal_archive import CrystalArchive, is_crystal_archive
from moldiff.data.download import CRYSTAL_FILES, cache_folder, find_archive
from moldiff.data.flat import write_npz
from moldiff.data.reference import pack, pack_numbers, unpack, unpack_numbers
from moldiff.data.sizes import SizeTable
from moldiff.evaluation.workers import Workers
from moldiff.shipped import FOLDER, REFERENCE

__all__ = ["CrystalReference", "find_crystals", "fingerprints", "is_crystal_reference", "is_shipped", "of_crystals"]

GRID = 65520
LENGTH = 1e-4
FINGERPRINT = 1000
"""Fingerprints are stored in steps of 1 / 1000; the threshold of coverage is 0.4."""
COVERED = 2000
"""Test crystals that are fingerprinted where an archive comes without fingerprints, at most."""
FLOOR = 1000
"""Training crystals with a fingerprint, at most: the floor of coverage is theirs."""
_MARK = "crystal_train_n_atoms"

Composition = tuple[tuple[int, int], ...]


@dataclass
class CrystalReference:
    """Training and test crystals; what takes time is made when asked for.

    Attributes:
        data: name of the data set.
        train, test: the crystals; `subset` of an archive gives such.
        test_rows, test_fingerprints: places in ``test`` (k,) and structure fingerprints (k, 61), NaN where none exists.
        train_rows, train_fingerprints: of a random part of the training set, for the floor.
        notes: what the reader should know.
        source: where the crystals come from, and their licence.
    """

    data: str
    train: CrystalArchive
    test: CrystalArchive
    test_rows: NDArray[np.int64]
    test_fingerprints: NDArray[np.float64]
    train_rows: NDArray[np.int64]
    train_fingerprints: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)
    source: str = ""
    _by_composition: dict[Composition, list[int]] | None = None

    @staticmethod
    def of(archive: CrystalArchive, *, data: str, workers: Workers, covered: int = COVERED) -> CrystalReference:
        """The reference made of an archive; fingerprints of at most ``covered`` test crystals are computed now.

        Args:
            archive: crystals with their split.
            data: its name.
            workers: who computes.
            covered: 0 leaves coverage out.
        """
        train, test = archive.subset("train"), archive.subset("test")
        test_rows = np.random.default_rng(1).permutation(len(test))[:covered]
        # the floor needs no more than what it is compared with
        train_rows = np.random.default_rng(0).permutation(len(train))[: min(FLOOR, covered // 2, len(test_rows))]
        notes = [] if len(test_rows) in (0, len(test)) else [f"coverage is of {len(test_rows)} random test crystals"]
        return CrystalReference(
            data,
            train,
            test,
            test_rows,
            fingerprints([_crystal(test, i) for i in test_rows.tolist()], workers, label="reference"),
            train_rows,
            fingerprints([_crystal(train, i) for i in train_rows.tolist()], workers, label="floor"),
            notes,
        )

    @staticmethod
    def build(
        path: str | os.PathLike[str],
        archive: CrystalArchive,
        *,
        data: str,
        jobs: int = 2,
        source: str = "",
        known: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
    ) -> Path:
        """Write the reference file of an archive; computing all fingerprints of MP-20 takes half an hour on one core.

        Args:
            path: where to.
            archive: crystals with their split.
            data: its name.
            jobs: worker processes.
            source: where the crystals come from, and their licence.
            known: fingerprints made before, rows of the archive (k,) and (k, 61): then only those are used, and none
                is computed.

        Raises:
            ValueError: the folder does not exist, or the archive has no training crystals.
        """
        if not (archive.split == 0).any():
            raise ValueError("the archive has no training crystals, against which nothing is new; check its split")
        if known is None:
            with Workers(jobs, time_limit=120.0, progress=True) as workers:
                reference = CrystalReference.of(archive, data=data, workers=workers, covered=len(archive))
            reference.source = source
            return _with_sizes(reference.save(path), archive)
        rows, found = known
        parts = []
        for split in (2, 0):
            place = np.cumsum(archive.split == split) - 1
            own = archive.split[rows] == split
            parts.append((place[rows[own]], found[own].astype(np.float64)))
        train, test = archive.subset("train"), archive.subset("test")
        (test_rows, of_test), (train_rows, of_train) = parts
        made = CrystalReference(data, train, test, test_rows, of_test, train_rows, of_train, source=source)
        return _with_sizes(made.save(path), archive)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the reference file.

        Raises:
            ValueError: the folder does not exist.
        """
        stored: dict[str, NDArray[Any]] = {"data": np.array(self.data), "source": np.array(self.source)}
        for name, part in (("train", self.train), ("test", self.test)):
            stored |= {f"crystal_{name}_{key}": value for key, value in _pack(part).items()}
        for name, rows, found in (
            ("test", self.test_rows, self.test_fingerprints),
            ("train", self.train_rows, self.train_fingerprints),
        ):
            stored[f"crystal_{name}_rows"] = pack_numbers(rows)
            grid = np.where(np.isnan(found), -1, np.round(np.maximum(found, 0) * FINGERPRINT))
            stored[f"crystal_{name}_fingerprints"] = pack_numbers(grid.T)
        return write_npz(path, stored)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> CrystalReference:
        """Read a reference file.

        Raises:
            ValueError: if it is no such file.
        """
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as npz:
                stored = {name: npz[name] for name in npz.files}
            parts = {name: _unpack(stored, f"crystal_{name}_", SPLITS.index(name)) for name in ("train", "test")}
            rows, found = {}, {}
            for name in ("train", "test"):
                rows[name] = unpack_numbers(stored[f"crystal_{name}_rows"]).astype(np.int64)
                grid = unpack_numbers(stored[f"crystal_{name}_fingerprints"]).T.astype(np.float64)
                found[name] = np.where(grid < 0, math.nan, grid / FINGERPRINT)
        except (OSError, KeyError, ValueError, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a reference file of crystals ({error}): reinstall, or build it again"
            ) from error
        count, of = len(rows["test"]), len(parts["test"])
        notes = [] if count == of else [f"coverage is of {count} random test crystals of {of}"]
        return CrystalReference(
            str(stored["data"]),
            parts["train"],
            parts["test"],
            rows["test"],
            found["test"],
            rows["train"],
            found["train"],
            notes,
            str(stored.get("source", "")),
        )

    def training_like(self, crystals: Iterable[Crystal]) -> list[tuple[str, Crystal]]:
        """Name and crystal of every training crystal that has the reduced composition of one of these."""
        if self._by_composition is None:
            self._by_composition = {}
            atoms = np.concatenate([[0], np.cumsum(self.train.n_atoms.astype(np.int64))]).tolist()
            numbers = self.train.atomic_numbers.tolist()
            for row in range(len(self.train)):
                key = reduced_composition(numbers[atoms[row] : atoms[row + 1]])
                self._by_composition.setdefault(key, []).append(row)
        wanted = {reduced_composition(numbers) for numbers, _, _ in crystals}
        rows = sorted(row for key in wanted for row in self._by_composition.get(key, ()))
        return [(str(self.train.material_id[row]), _crystal(self.train, row)) for row in rows]

    def sample(self, split: str, count: int) -> list[Crystal]:
        """So many random crystals of "train" (those with a fingerprint, in their order) or "test", or what there is."""
        if split == "train":
            return [_crystal(self.train, i) for i in self.train_rows[:count].tolist()]
        rows = np.random.default_rng(2).permutation(len(self.test))[:count]
        return [_crystal(self.test, i) for i in rows.tolist()]

    def covered(self) -> list[Crystal]:
        """The test crystals of ``test_rows``."""
        return [_crystal(self.test, i) for i in self.test_rows.tolist()]


def fingerprints(crystals: Sequence[Crystal], workers: Workers, *, label: str) -> NDArray[np.float64]:
    """Structure fingerprints (n, 61), NaN where one fails or takes too long."""
    outcomes = workers.run("moldiff.evaluation.crystal_analyse:fingerprint", crystals, label=label)
    found = [one.result if one.status == "ok" else np.full(61, math.nan) for one in outcomes]
    return np.array(found, dtype=np.float64).reshape(len(found), 61)


def is_crystal_reference(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a reference file of crystals."""
    try:
        with np.load(Path(path), allow_pickle=False) as stored:
            return _MARK in stored.files
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        return False


def is_shipped(name: str) -> bool:
    """Whether a reference of crystals lies in the package under this name."""
    return is_crystal_reference(FOLDER / name / REFERENCE)


def of_crystals(what: Any) -> bool:
    """Whether what is named as a reference is one of crystals, as far as can be told without reading it."""
    if isinstance(what, CrystalReference | CrystalArchive):
        return True
    return isinstance(what, str) and (what in CRYSTAL_FILES or is_shipped(what))


def find_crystals(what: Any, workers: Workers) -> CrystalReference:
    """The reference of a name or path.

    Args:
        what: a `CrystalReference` or `CrystalArchive`; a shipped model ("mp20"), a folder with ``reference.npz``, a
            reference file, an archive of crystals, the name of a prepared one, or a file of crystals.
        workers: who computes fingerprints where there are none.

    Raises:
        ValueError: none of these, listing the shipped names; or the file cannot be read.
    """
    if isinstance(what, CrystalReference):
        return what
    if isinstance(what, CrystalArchive):
        return CrystalReference.of(what, data="archive", workers=workers)
    text = os.path.expanduser(os.fspath(what))
    for path in (FOLDER / text / REFERENCE, Path(text) / REFERENCE, Path(text)):
        if path.is_file() and is_crystal_reference(path):
            return CrystalReference.load(path)
    try:
        path = find_archive(text)
    except FileNotFoundError:
        path = Path(text)
    if path.is_file() and path.suffix.lower() == ".npz" and is_crystal_archive(path):
        return _cached(path, workers)
    if path.exists() and path.suffix.lower() != ".npz":
        return _of_file(path, workers)
    shipped = [folder.name for folder in sorted(FOLDER.glob("*")) if is_crystal_reference(folder / REFERENCE)]
    raise ValueError(
        f"{text!r} is no reference of crystals: shipped are {', '.join(shipped) or 'none'}; or give an archive of "
        "crystals (.npz), a file of crystals, or None"
    )


def _cached(path: Path, workers: Workers) -> CrystalReference:
    """The reference of an archive file; its fingerprints take minutes and are kept in the cache folder."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    place = cache_folder() / f"reference-crystals-{digest}.npz"
    if is_crystal_reference(place):
        with contextlib.suppress(ValueError):
            return CrystalReference.load(place)
    found = CrystalReference.of(CrystalArchive.load(path), data=path.stem, workers=workers)
    # a read-only home only costs the time again
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        found.save(place)
    return found


def _of_file(path: Path, workers: Workers) -> CrystalReference:
    from moldiff.data.crystal_files import read_crystal_archive

    archive, reading = read_crystal_archive(path, fractions=(0.8, 0.0, 0.2))
    found = CrystalReference.of(archive, data=path.name, workers=workers)
    found.train = archive
    found.notes.append(f"{path.name} has no split: distances are from 1/5 of it, novelty is against all of it")
    if reading.skipped:
        found.notes.append(f"{len(reading.skipped)} of its entries could not be used")
    return found


def _with_sizes(path: Path, archive: CrystalArchive) -> Path:
    """The file with the table of atom counts by property, which sampling towards targets reads."""
    if len(archive.property_names):
        SizeTable.of(archive).add_to(path)
    return path


def _crystal(archive: CrystalArchive, row: int) -> Crystal:
    record = archive.record(row)
    return record.numbers, record.fractional, record.cell


def _pack(archive: CrystalArchive) -> dict[str, NDArray[Any]]:
    cells = archive.lattice.astype(np.float64)
    # lower triangular rows: a along x, b in the xy plane
    turned = np.linalg.cholesky(cells @ cells.transpose(0, 2, 1)) if len(cells) else cells
    i, j = np.tril_indices(3)
    return {
        "n_atoms": pack_numbers(archive.n_atoms),
        "numbers": pack_numbers(archive.atomic_numbers),
        "places": pack_numbers((np.round(archive.frac_coords.astype(np.float64) * GRID) % GRID).T),
        "cells": pack_numbers(np.round(turned[:, i, j] / LENGTH).T),
        "names": pack(archive.material_id.tolist()),
    }


def _unpack(stored: dict[str, NDArray[Any]], prefix: str, split: int) -> CrystalArchive:
    counts = unpack_numbers(stored[f"{prefix}n_atoms"])
    cells = np.zeros((len(counts), 3, 3))
    i, j = np.tril_indices(3)
    cells[:, i, j] = unpack_numbers(stored[f"{prefix}cells"]).T * LENGTH
    return CrystalArchive(
        n_atoms=counts,
        atomic_numbers=unpack_numbers(stored[f"{prefix}numbers"]).astype(np.uint8),
        frac_coords=np.ascontiguousarray(unpack_numbers(stored[f"{prefix}places"]).T) / GRID,
        lattice=cells,
        material_id=np.array(unpack(stored[f"{prefix}names"]), dtype=np.str_),
        split=np.full(len(counts), split, np.int8),
        spacegroup_number=np.zeros(len(counts), np.uint8),
        properties=np.zeros((len(counts), 0), np.float32),
        property_names=np.array([], np.str_),
        property_units=np.array([], np.str_),
    )
