"""Add to an archive what RDKit perceives: aromatic bonds and descriptor columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from moldiff.data.archive import Archive, Record

__all__ = ["describe", "aromatic_and_descriptors"]

_CHUNK = 500


def describe(archive: Archive, *, jobs: int = 2, progress: bool | None = None) -> Archive:
    """Return a copy with the ``aromatic`` array and the columns of `moldiff.molecules.descriptors`.

    Aromaticity is RDKit's perception on the kekulised bonds of the archive. Columns of the same name are replaced, all
    others kept. A molecule that RDKit refuses has no aromatic bond and NaN in the new columns, and the number of those
    is shown with the progress (on a terminal only, unless asked for). ``jobs`` is the number of processes; with more
    than one, a script must call this under ``if __name__ == "__main__"``.
    """
    from tqdm import tqdm

    from moldiff.molecules.descriptors import NAMES, UNITS

    if jobs < 1:
        raise ValueError(f"jobs={jobs} processes cannot work; use 1 or more")
    count = len(archive)
    chunks = [archive.select(slice(start, start + _CHUNK)) for start in range(0, count, _CHUNK)]
    aromatic: list[NDArray[np.bool_]] = []
    values: list[NDArray[np.float32]] = []
    failed = 0
    with tqdm(total=count, desc="describe", unit="mol", disable=None if progress is None else not progress) as bar:
        for flags, rows in _run(chunks, jobs):
            aromatic.append(flags)
            values.append(rows)
            failed += int(np.isnan(rows).all(axis=1).sum())
            bar.set_postfix(failed=failed)
            bar.update(len(rows))
    names = list(NAMES)
    kept = [i for i, name in enumerate(archive.property_names.tolist()) if name not in names]
    added = np.concatenate(values) if values else np.zeros((0, len(names)), np.float32)
    return replace(
        archive,
        aromatic=np.concatenate(aromatic) if aromatic else np.zeros(0, np.bool_),
        properties=np.concatenate([archive.properties[:, kept], added], axis=1),
        property_names=np.array([*archive.property_names[kept].tolist(), *names], dtype=np.str_),
        property_units=np.array(
            [*archive.property_units[kept].tolist(), *(UNITS[name] for name in names)], dtype=np.str_
        ),
    )


def aromatic_and_descriptors(record: Record) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Aromatic flags (n(n-1)/2,) of the upper triangle and the descriptor values (P,) of one molecule.

    A molecule RDKit refuses gives no aromatic bond and NaN.
    """
    from moldiff.molecules.convert import AROMATIC, Arrays, perceive_aromatic, to_mol
    from moldiff.molecules.descriptors import NAMES
    from moldiff.molecules.descriptors import describe as describe_molecule

    upper = np.triu_indices(len(record.numbers), 1)
    try:
        values = describe_molecule(to_mol(Arrays(*record[:4])))
    except (ValueError, RuntimeError):
        return np.zeros(len(upper[0]), np.bool_), np.full(len(NAMES), math.nan, np.float32)
    aromatic = perceive_aromatic(record.numbers, record.charges, record.bonds) == AROMATIC
    return aromatic[upper], np.array([float(values[name]) for name in NAMES], np.float32)


def _chunk(archive: Archive) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    from rdkit import rdBase

    with rdBase.BlockLogs():
        pairs = [aromatic_and_descriptors(archive.record(i)) for i in range(len(archive))]
    return np.concatenate([flags for flags, _ in pairs]), np.stack([row for _, row in pairs])


def _run(chunks: list[Archive], jobs: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
    if jobs == 1 or len(chunks) < 2:
        yield from map(_chunk, chunks)
        return
    # spawn, not fork: the caller may hold torch threads
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_chunk, chunks)
