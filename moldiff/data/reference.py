"""The reference file that lies beside shipped weights: what evaluation needs of the data set after a pip install.

It holds, in a few megabytes: the SMILES of the training and the test set; the training SMILES as the EDM protocol reads
them; the distributions of 10,000 training molecules (`moldiff.data.profile.Profile`); 10,000 test molecules with
geometry, which are judged by the same code as samples and so give the floor of every number; and the heavy atoms of
every training molecule to 0.02 angstrom, to tell copies from new conformations.

SMILES are stored as text, not as hashes: another RDKit version may write the same molecule in another way, so they are
canonicalised again once a version and kept in the cache folder. A `Reference` can also be made of any archive.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.data import profile as profiles
from moldiff.data.archive import Archive
from moldiff.data.download import cache_folder
from moldiff.data.profile import Profile
from moldiff.data.sizes import SizeTable

__all__ = ["Reference"]

PROFILED = 10_000
"""Training molecules in the profile, and test molecules kept with geometry, at most."""
FINE, COARSE = 1e-4, 0.02
"""Angstrom: grid of the kept test geometries, and of the heavy atoms of the training set."""

Run = Callable[[str, Sequence[Any], str], list[Any]]
"""``run(name, items, label)``: that function of `moldiff.data.profile` on every item, None where it fails."""


def run_here(name: str, items: Sequence[Any], label: str) -> list[Any]:
    """Work through the items in this process."""
    function = getattr(profiles, name)
    results = []
    for item in items:
        try:
            results.append(function(item))
        except (ValueError, RuntimeError):
            results.append(None)
    return results


class Reference:
    """A data set to compare with. Made by `load` or `of`; everything but the SMILES is read or computed when asked for.

    Attributes:
        data: name of the data set.
        train, test: sets of canonical SMILES (no hydrogens, no stereochemistry) in the form of the RDKit at hand.
    """

    def __init__(self, data: str, train: frozenset[str], test: frozenset[str], parts: Parts) -> None:
        self.data, self.train, self.test = data, train, test
        self._parts = parts

    @staticmethod
    def of(archive: Archive, *, data: str, run: Run = run_here) -> Reference:
        """The reference made of an archive: its train split, its test split for the floor.

        Args:
            archive: molecules whose SMILES are canonical for the RDKit at hand.
            data: its name.
            run: how to work through many molecules, e.g. by worker processes.
        """
        train, test = (frozenset(archive.subset(split).smiles.tolist()) for split in ("train", "test"))
        return Reference(data, train, test, Computed(archive, run))

    def with_training(self, train: frozenset[str]) -> Reference:
        """The same with other SMILES to be novel against."""
        return Reference(self.data, train, self.test, self._parts)

    @staticmethod
    def build(path: str | os.PathLike[str], archive: Archive, *, data: str, run: Run = run_here) -> Path:
        """Write the reference file of an archive; see `of` for the arguments. Takes minutes for 100,000 molecules."""
        from rdkit import rdBase

        path = Path(path)
        reference = Reference.of(archive, data=data, run=run)
        train = sorted(reference.train)
        stored: dict[str, NDArray[Any]] = {
            "data": np.array(data),
            "rdkit": np.array(rdBase.rdkitVersion),
            "train_smiles": pack(train),
            "test_smiles": pack(sorted(reference.test)),
            "train_edm": pack(sorted(reference.train_edm or ())),
        }
        if reference.profile is not None:
            stored |= reference.profile.arrays()
        if reference.held_out is not None:
            stored |= pack_molecules(reference.held_out)
        stored |= pack_geometries(train, reference.geometries(train))
        stored |= SizeTable.of(archive).arrays()
        with open(path, "wb") as stream:
            np.savez(stream, allow_pickle=False, **stored)
        return path

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Reference:
        """Read a reference file.

        Raises:
            ValueError: if it is no such file.
        """
        from rdkit import rdBase

        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as stored:
                data, version = str(stored["data"]), str(stored["rdkit"])
                texts = {split: unpack(stored[f"{split}_smiles"]) for split in ("train", "test")}
        except (OSError, KeyError, ValueError, lzma.LZMAError) as error:
            raise ValueError(f"{path} is not a reference file ({error}): reinstall, or build it again") from error
        again = texts
        if version != rdBase.rdkitVersion:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            again = {
                split: canonical_again(smiles, cache_folder() / f"{digest}-{rdBase.rdkitVersion}-{split}.smi")
                for split, smiles in texts.items()
            }
        parts = Stored(path, texts["train"], again["train"], version == rdBase.rdkitVersion)
        return Reference(data, frozenset(again["train"]), frozenset(again["test"]), parts)

    @cached_property
    def profile(self) -> Profile | None:
        """Distributions of the training set; None where the file is an older one without them."""
        return self._parts.profile()

    @cached_property
    def held_out(self) -> Archive | None:
        """At most 10,000 test molecules in random order; None where there are none."""
        return self._parts.held_out()

    @cached_property
    def train_edm(self) -> frozenset[str] | None:
        """SMILES (explicit hydrogens) of the training set made through EDM's distance table."""
        return self._parts.train_edm()

    def geometries(self, smiles: Iterable[str]) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
        """Training geometries of molecules.

        Args:
            smiles: SMILES as in ``train``.

        Returns:
            those that are known: SMILES -> list of (a SMILES of it, heavy atoms (k, 3) in angstrom in its order).
        """
        return self._parts.geometries(smiles)


class Parts:
    """Where the large parts of a reference come from; this one has none."""

    def profile(self) -> Profile | None:
        """See `Reference.profile`."""
        return None

    def held_out(self) -> Archive | None:
        """See `Reference.held_out`."""
        return None

    def train_edm(self) -> frozenset[str] | None:
        """See `Reference.train_edm`."""
        return None

    def geometries(self, smiles: Iterable[str]) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
        """See `Reference.geometries`."""
        return {}


class Computed(Parts):
    """Parts computed from an archive."""

    def __init__(self, archive: Archive, run: Run) -> None:
        self.archive, self.run = archive, run
        self.rows = {split: np.flatnonzero(archive.split == number) for number, split in ((0, "train"), (2, "test"))}

    def profile(self) -> Profile | None:
        """See `Reference.profile`."""
        rows = np.random.default_rng(0).permutation(self.rows["train"])[:PROFILED]
        found = self.run("measure_arrays", [self._fields(i) for i in rows.tolist()], "reference")
        kept = [(m, s) for m, s in zip(found, self.archive.smiles[rows].tolist(), strict=True) if m is not None]
        return Profile.of([m for m, _ in kept], [s for _, s in kept]) if kept else None

    def held_out(self) -> Archive | None:
        """See `Reference.held_out`."""
        rows = np.random.default_rng(1).permutation(self.rows["test"])[:PROFILED]
        return self.archive.select(rows) if len(rows) else None

    def train_edm(self) -> frozenset[str] | None:
        """See `Reference.train_edm`."""
        records = [self._fields(i)[:2] for i in self.rows["train"].tolist()]
        found = self.run("edm_smiles", records, "training set by the EDM table")
        return frozenset(smiles for smiles in found if smiles is not None)

    def geometries(self, smiles: Iterable[str]) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
        """See `Reference.geometries`."""
        wanted = frozenset(smiles)
        rows = [i for i in self.rows["train"].tolist() if str(self.archive.smiles[i]) in wanted]
        found: dict[str, list[tuple[str, NDArray[np.float64]]]] = defaultdict(list)
        done = self.run("heavy_geometry", [self._fields(i) for i in rows], "training geometries")
        for i, result in zip(rows, done, strict=True):
            if result is not None:
                found[str(self.archive.smiles[i])].append(result)
        return dict(found)

    def _fields(self, i: int) -> tuple[Any, ...]:
        return tuple(self.archive.record(i)[:4])


class Stored(Parts):
    """Parts read from a reference file."""

    def __init__(self, path: Path, texts: list[str], smiles: list[str], same_rdkit: bool) -> None:
        self.path, self.texts, self.smiles, self.same_rdkit = path, texts, smiles, same_rdkit

    def _read(self, prefix: str) -> dict[str, NDArray[Any]]:
        with np.load(self.path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if name.startswith(prefix)}

    def profile(self) -> Profile | None:
        """See `Reference.profile`."""
        stored = self._read("profile_")
        return Profile.from_arrays(stored, same_rdkit=self.same_rdkit) if stored else None

    def held_out(self) -> Archive | None:
        """See `Reference.held_out`."""
        stored = self._read("held_")
        return unpack_molecules(stored) if stored else None

    def train_edm(self) -> frozenset[str] | None:
        """See `Reference.train_edm`; with another RDKit they are unknown, since EDM's SMILES cannot be parsed back."""
        stored = self._read("train_edm")
        return frozenset(unpack(stored["train_edm"])) if stored and self.same_rdkit else None

    def geometries(self, smiles: Iterable[str]) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
        """See `Reference.geometries`."""
        stored = self._read("heavy_")
        if not stored:
            return {}
        owners, atoms, positions = unpack_geometries(stored)
        starts = np.concatenate([[0], np.cumsum(atoms)])
        rows: dict[int, list[int]] = defaultdict(list)
        for row, owner in enumerate(owners.tolist()):
            rows[owner].append(row)
        place = {text: number for number, text in enumerate(self.smiles)}
        found = {}
        for name in smiles:
            number = place.get(name)
            if number is not None and rows[number]:
                text = self.texts[number]
                found[name] = [(text, positions[starts[row] : starts[row + 1]]) for row in rows[number]]
        return found


def pack(smiles: Iterable[str]) -> NDArray[np.uint8]:
    """Lines as LZMA-compressed bytes, uint8."""
    return squeeze("\n".join(smiles).encode())


def unpack(packed: NDArray[Any]) -> list[str]:
    """The lines again."""
    text = lzma.decompress(packed.tobytes()).decode()
    return text.split("\n") if text else []


def squeeze(data: bytes) -> NDArray[np.uint8]:
    """Bytes compressed as hard as LZMA can."""
    return np.frombuffer(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), np.uint8)


def pack_numbers(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Whole numbers, compressed with their shape: low bytes first, then the next, which compresses best."""
    planes = np.ascontiguousarray(array.astype("<i4")).view(np.uint8).reshape(-1, 4).T
    return squeeze(json.dumps(array.shape).encode() + b"\n" + np.ascontiguousarray(planes).tobytes())


def unpack_numbers(packed: NDArray[Any]) -> NDArray[np.int32]:
    """The numbers again, int32."""
    head, _, body = lzma.decompress(packed.tobytes()).partition(b"\n")
    planes = np.frombuffer(body, np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<i4").reshape(json.loads(head))


def pack_molecules(archive: Archive) -> dict[str, NDArray[Any]]:
    """Molecules as arrays of a reference file, coordinates to 0.0001 angstrom."""
    grid = np.round(archive.positions.astype(np.float64) / FINE).T
    names = ("n_atoms", "numbers", "charges", "bonds")
    stored = {f"held_{name}": pack_numbers(getattr(archive, name)) for name in names}
    return {**stored, "held_positions": pack_numbers(grid), "held_smiles": pack(archive.smiles.tolist())}


def unpack_molecules(stored: dict[str, NDArray[Any]]) -> Archive:
    """The molecules again, all in the test split; without properties and aromatic flags."""
    smiles = np.array(unpack(stored["held_smiles"]), dtype=np.str_)
    count = len(smiles)
    return Archive(
        index=np.arange(count, dtype=np.int32),
        n_atoms=unpack_numbers(stored["held_n_atoms"]),
        numbers=unpack_numbers(stored["held_numbers"]).astype(np.uint8),
        positions=np.ascontiguousarray(unpack_numbers(stored["held_positions"]).T) * FINE,
        charges=unpack_numbers(stored["held_charges"]).astype(np.int8),
        bonds=unpack_numbers(stored["held_bonds"]).astype(np.uint8),
        smiles=smiles,
        split=np.full(count, 2, np.int8),
        properties=np.zeros((count, 0), np.float32),
        property_names=np.array([], np.str_),
        property_units=np.array([], np.str_),
    )


def pack_geometries(
    smiles: Sequence[str], geometries: dict[str, list[tuple[str, NDArray[np.float64]]]]
) -> dict[str, NDArray[Any]]:
    """Heavy atoms to 0.02 angstrom; those whose text is not the given SMILES (order of atoms unknown) are left out."""

    def rows() -> Iterator[tuple[int, NDArray[np.float64]]]:
        for number, name in enumerate(smiles):
            for text, positions in geometries.get(name, []):
                if text == name:
                    yield number, positions - positions.mean(0)

    kept = list(rows())
    positions = np.concatenate([x for _, x in kept]) if kept else np.zeros((0, 3))
    owners = np.array([number for number, _ in kept], dtype=np.int64)
    return {
        "heavy_owners": pack_numbers(np.diff(owners, prepend=0)),
        "heavy_atoms": pack_numbers(np.array([len(x) for _, x in kept], dtype=np.int64)),
        "heavy_positions": squeeze(np.round(positions / COARSE).astype("<i2").T.tobytes()),
    }


def unpack_geometries(
    stored: dict[str, NDArray[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Number of the SMILES (M,), heavy atoms (M,) and coordinates (sum, 3) in angstrom of M training molecules."""
    grid = np.frombuffer(lzma.decompress(stored["heavy_positions"].tobytes()), "<i2").reshape(3, -1).T
    owners = np.cumsum(unpack_numbers(stored["heavy_owners"]).astype(np.int64))
    return owners, unpack_numbers(stored["heavy_atoms"]), np.ascontiguousarray(grid) * COARSE


def canonical_again(smiles: list[str], cached: Path) -> list[str]:
    """SMILES in the form of the RDKit at hand, from the cache file if it is there."""
    if cached.is_file():
        return cached.read_text().split("\n")
    from rdkit import Chem

    from moldiff.molecules.convert import canonical_smiles

    fresh = []
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        fresh.append(text if mol is None else canonical_smiles(mol))
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text("\n".join(fresh))
        os.replace(temporary, cached)
    except OSError:
        # a read-only home only costs the time again
        pass
    return fresh
