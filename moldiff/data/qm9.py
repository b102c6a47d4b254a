"""QM9 from its original download: 133,885 small molecules at B3LYP/6-31G(2df,p).

Source: Ramakrishnan, Dral, Rupp and von Lilienfeld, Scientific Data 1, 140022 (2014), CC0; figshare collection
978904. The 3,054 molecules listed as uncharacterised are left out and the other 130,831 split as in EDM (Hoogeboom et
al. 2022) and Cormorant (Anderson et al. 2019).
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.data.archive import Archive, Record
from moldiff.data.download import data_root, fetch

__all__ = [
    "MOLECULES",
    "PROPERTIES",
    "SOURCES",
    "Entry",
    "archive_from_tar",
    "edm_split",
    "parse",
    "prepare",
    "uncharacterised",
]

MOLECULES = 133_885
"""Molecules in the original archive."""

SOURCES: dict[str, tuple[str, str]] = {
    "dsgdb9nsd.xyz.tar.bz2": (
        "https://ndownloader.figshare.com/files/3195389",
        "ad1ebd51ee7f5b3a6e32e974e5d54012",
    ),
    "uncharacterized.txt": (
        "https://ndownloader.figshare.com/files/3195404",
        "a361887bacb427b8a0ce7903d92a53b4",
    ),
}
"""The original files: name to (address, MD5 as figshare publishes it). The first has 86 MB."""

PROPERTIES: tuple[tuple[str, str], ...] = (
    ("rotational_a", "GHz"),
    ("rotational_b", "GHz"),
    ("rotational_c", "GHz"),
    ("dipole_b3lyp", "debye"),
    ("polarizability_b3lyp", "bohr^3"),
    ("homo_b3lyp", "hartree"),
    ("lumo_b3lyp", "hartree"),
    ("gap_b3lyp", "hartree"),
    ("r2_b3lyp", "bohr^2"),
    ("zpve_b3lyp", "hartree"),
    ("u0_b3lyp", "hartree"),
    ("u_b3lyp", "hartree"),
    ("h_b3lyp", "hartree"),
    ("g_b3lyp", "hartree"),
    ("cv_b3lyp", "cal/mol/K"),
)
"""Names and units of the properties, in the order of the original property line (table 3 of the paper)."""

_MEMBER = re.compile(r"dsgdb9nsd_(\d{6})\.xyz$")
_CHUNK = 200


@dataclass(frozen=True)
class Entry:
    """One molecule of the original archive with n atoms."""

    index: int
    """Number in dsgdb9nsd, counted from 1."""
    numbers: NDArray[np.int64]
    """(n,) atomic numbers."""
    positions: NDArray[np.float64]
    """(n, 3) coordinates in angstrom."""
    mulliken: NDArray[np.float64]
    """(n,) Mulliken charges in e."""
    properties: NDArray[np.float64]
    """(15,) values in the order and units of `PROPERTIES`."""
    frequencies: NDArray[np.float64]
    """(3n - 6 or 3n - 5,) harmonic frequencies in 1/cm."""
    smiles: tuple[str, str]
    """SMILES of GDB-17 and of the relaxed geometry."""
    inchi: tuple[str, str]
    """InChI of Corina's and of the relaxed geometry."""


def parse(text: str) -> Entry:
    """Read one file of the original format. Raises ValueError saying what is wrong.

    Line 1 is the atom count, line 2 ``gdb``, the number and 15 properties; then the atoms with Mulliken charges
    (``1.2*^-6`` is 1.2e-6), the frequencies, two SMILES and two InChI.
    """
    from ase.data import atomic_numbers

    lines = text.splitlines()
    try:
        n = int(lines[0])
        head = lines[1].split()
    except (IndexError, ValueError) as error:
        raise ValueError(f"not in the format of dsgdb9nsd: it begins {text[:40]!r}") from error
    if n < 1 or len(lines) < n + 5:
        raise ValueError(f"truncated: {n} atoms need {n + 5} lines, found {len(lines)}")
    if len(head) != 2 + len(PROPERTIES) or head[0] != "gdb":
        raise ValueError(f"property line has {len(head)} fields, expected 'gdb', a number and {len(PROPERTIES)} values")
    rows = [line.split() for line in lines[2 : 2 + n]]
    for row in rows:
        if len(row) != 5 or atomic_numbers.get(row[0], 0) == 0:
            raise ValueError(f"malformed atom line {' '.join(row)!r}")
    smiles, inchi = lines[n + 3].split(), lines[n + 4].split()
    if not smiles or not inchi:
        raise ValueError("SMILES or InChI missing")
    try:
        values = np.array([[_float(field) for field in row[1:]] for row in rows])
        return Entry(
            index=int(head[1]),
            numbers=np.array([atomic_numbers[row[0]] for row in rows]),
            positions=values[:, :3],
            mulliken=values[:, 3],
            properties=np.array([_float(field) for field in head[2:]]),
            frequencies=np.array([_float(field) for field in lines[n + 2].split()]),
            smiles=(smiles[0], smiles[-1]),
            inchi=(inchi[0], inchi[-1]),
        )
    except ValueError as error:
        raise ValueError(f"malformed number: {error}") from error


def uncharacterised(path: str | os.PathLike[str]) -> frozenset[int]:
    """Numbers (from 1) of the molecules in ``uncharacterized.txt``, whose rows begin with one.

    Raises ValueError for a file without any.
    """
    rows = [line.split() for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines()]
    found = frozenset(int(row[0]) for row in rows if row and row[0].isdigit())
    if not found:
        raise ValueError(f"{path}: no row begins with the number of a molecule; put the file of figshare there again")
    return found


def edm_split(excluded: Collection[int], *, total: int = MOLECULES, train: int = 100_000) -> NDArray[np.int8]:
    """The split (total,) of EDM and Cormorant: 0 train, 1 validation, 2 test, -1 left out; row i is molecule i + 1.

    The ``total`` molecules less the ``excluded`` (numbers from 1) are permuted with numpy's seed 0: the first
    ``train`` are training, the last tenth (rounded down) test, the rest validation. For QM9: 100,000 / 17,748 /
    13,083.
    """
    outside = [i for i in excluded if not 1 <= i <= total]
    if outside:
        raise ValueError(f"excluded molecule {outside[0]} is outside 1 to {total}")
    included = np.setdiff1d(np.arange(total), np.array(sorted(excluded), dtype=np.int64) - 1)
    count = len(included)
    test = count // 10
    if train + test > count:
        raise ValueError(f"{train} training and {test} test molecules are more than the {count} there are; lower train")
    order = np.random.RandomState(0).permutation(count)
    split = np.full(total, -1, dtype=np.int8)
    split[included[order[:train]]] = 0
    split[included[order[train : count - test]]] = 1
    split[included[order[count - test :]]] = 2
    return split


def archive_from_tar(
    path: str | os.PathLike[str],
    excluded: Collection[int],
    *,
    split: NDArray[Any] | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> tuple[Archive, list[tuple[int, str]]]:
    """Read the original ``dsgdb9nsd.xyz.tar.bz2`` into an archive without the ``excluded`` numbers.

    Bonds, charges and aromaticity are perceived from the geometry (`moldiff.molecules.bonds.perceive`, neutral).
    ``split`` as `edm_split` returns it, which is the default. ``jobs`` processes. Returns the archive, ordered by
    number, and the skipped molecules as (number, reason); the excluded are not among them. Raises ValueError for a
    damaged tar file or none readable.
    """
    from tqdm import tqdm

    excluded = frozenset(excluded)
    labels = edm_split(excluded) if split is None else np.asarray(split)
    found: list[tuple[Entry, Record, str]] = []
    skipped: list[tuple[int, str]] = []
    with tqdm(total=len(labels), desc="QM9", unit="mol", disable=not progress) as bar:
        for results in _run(_chunks(Path(path), excluded), jobs):
            for number, result in results:
                if isinstance(result, str):
                    skipped.append((number, result))
                else:
                    found.append(result)
            bar.update(len(results))
            bar.set_postfix(skipped=len(skipped))
    outside = [item[0].index for item in found if not 1 <= item[0].index <= len(labels)]
    if outside:
        raise ValueError(f"{path}: molecule {outside[0]} is outside the split of {len(labels)} molecules")
    if not found:
        reasons = "; ".join(f"molecule {number}: {reason}" for number, reason in skipped[:3])
        raise ValueError(f"{path}: no readable molecule ({reasons or 'no file dsgdb9nsd_*.xyz in it'})")
    found.sort(key=lambda item: item[0].index)
    index = np.array([entry.index for entry, _, _ in found])
    archive = Archive.build(
        [record for _, record, _ in found],
        smiles=[smiles for _, _, smiles in found],
        split=labels[index - 1],
        properties=np.stack([entry.properties for entry, _, _ in found]),
        property_names=[name for name, _ in PROPERTIES],
        property_units=[unit for _, unit in PROPERTIES],
        index=index,
    )
    return archive, sorted(skipped)


def prepare(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, jobs: int = 2, progress: bool = True
) -> Path:
    """Make ``<root>/qm9/qm9.npz`` from the original files and return its path; an existing archive is kept.

    The files of `SOURCES` are looked for in ``<root>/qm9/raw`` and downloaded there if missing. ``root`` defaults to
    `moldiff.data.download.data_root`. Skipped molecules are listed in ``skipped.csv`` beside the archive. Descriptor
    columns of `moldiff.data.describe` are added. Raises FileNotFoundError (``download=False``) or ConnectionError
    saying which file to put where, and ValueError for a wrong checksum.
    """
    from moldiff.data.describe import describe

    folder = (data_root() if root is None else Path(root)) / "qm9"
    target = folder / "qm9.npz"
    if target.is_file():
        return target
    raw = folder / "raw"
    for name, (url, checksum) in SOURCES.items():
        if not download and not (raw / name).is_file():
            raise FileNotFoundError(f"{raw / name} is missing; download {url} and put it there (md5 {checksum})")
        fetch(url, raw / name, checksum=checksum, progress=progress)
    excluded = uncharacterised(raw / "uncharacterized.txt")
    archive, skipped = archive_from_tar(raw / "dsgdb9nsd.xyz.tar.bz2", excluded, jobs=jobs, progress=progress)
    archive = describe(archive, jobs=jobs, progress=progress)
    rows = [f"{number},{reason}" for number, reason in skipped]
    (folder / "skipped.csv").write_text("\n".join(["index,reason", *rows, ""]), encoding="utf-8")
    if progress:
        reasons = Counter(reason.split(":")[0] for _, reason in skipped)
        text = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"
        print(f"QM9: {len(archive)} molecules kept, {len(excluded)} uncharacterised left out, skipped: {text}")
    return archive.save(target)


def _float(text: str) -> float:
    return float(text.replace("*^", "e"))


def _chunks(path: Path, excluded: frozenset[int]) -> Iterator[list[tuple[int, str]]]:
    """Numbers and texts of the wanted molecules, some at a time: the archive is read once, front to back."""
    try:
        with tarfile.open(path, mode="r|bz2") as tar:
            wanted = _texts(tar, excluded)
            while chunk := list(islice(wanted, _CHUNK)):
                yield chunk
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable tar.bz2 archive ({error}); delete it and fetch it again") from error


def _texts(tar: tarfile.TarFile, excluded: frozenset[int]) -> Iterator[tuple[int, str]]:
    for member in tar:
        match = _MEMBER.search(member.name)
        if match is None or int(match.group(1)) in excluded:
            continue
        stream = tar.extractfile(member)
        if stream is not None:
            yield int(match.group(1)), stream.read().decode("utf-8", errors="replace")


def _chunk(texts: Sequence[tuple[int, str]]) -> list[tuple[int, tuple[Entry, Record, str] | str]]:
    return [(number, _molecule(number, text)) for number, text in texts]


def _molecule(number: int, text: str) -> tuple[Entry, Record, str] | str:
    """The entry, its arrays and its canonical SMILES, or the reason why the molecule is skipped."""
    from moldiff.molecules.bonds import perceive
    from moldiff.molecules.convert import AROMATIC, canonical_smiles, perceive_aromatic, to_mol

    try:
        entry = parse(text)
        if entry.index != number:
            return f"malformed: file {number} holds molecule {entry.index}"
        found = perceive(entry.numbers, entry.positions, aromatic=False)
        if found.arrays is None:
            return f"no bonds: {found.reason}"
        smiles = canonical_smiles(to_mol(found.arrays))
    except (ValueError, RuntimeError) as error:
        return f"malformed: {error}".replace(",", ";").replace("\n", " ")
    arrays = found.arrays
    bonds = perceive_aromatic(arrays.numbers, arrays.charges, arrays.bonds)
    return entry, Record(arrays.numbers, arrays.positions, arrays.charges, arrays.bonds, bonds == AROMATIC), smiles


def _run(
    chunks: Iterator[list[tuple[int, str]]], jobs: int
) -> Iterator[list[tuple[int, tuple[Entry, Record, str] | str]]]:
    if jobs < 1:
        raise ValueError(f"jobs={jobs} processes cannot work; use 1 or more")
    if jobs == 1:
        yield from map(_chunk, chunks)
        return
    # spawn, not fork: the caller may hold torch threads
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while batch := list(islice(chunks, 8 * jobs)):  # a few at a time keeps memory small and the bar alive
            yield from pool.map(_chunk, batch)
