"""How many atoms go with a property: a small table kept in the reference file, for sampling towards targets.

p(N | y) is proportional to p(N) times a normal density of each asked property y_k with the mean and deviation that it
has among training molecules of N atoms. The properties are taken as independent at fixed N, which is crude where two
nearly repeat one another (gap and LUMO): the sizes then come out too narrow, never impossible.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.data.archive import Archive

__all__ = ["SizeTable"]

PRIOR = 10.0
"""Molecules that the overall deviation at fixed size counts as, when that of a rare size is estimated."""
SMALLEST = 0.05
"""Smallest deviation, in deviations over all sizes: the heavy atoms of the smallest molecules do not vary at all."""
PREFIX = "sizes_"


@dataclass(frozen=True)
class SizeTable:
    """Means and deviations of P properties among the training molecules of each of S atom counts.

    Attributes:
        names: the properties.
        atoms, counts: (S,) atom counts, rising, and molecules of each.
        mean, deviation: (S, P) in the units of the archive; NaN where no molecule of a size has the property.
    """

    names: tuple[str, ...]
    atoms: NDArray[np.int64]
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @staticmethod
    def of(archive: Archive) -> SizeTable:
        """The table of the train split of an archive."""
        rows = archive.split == 0
        sizes = np.asarray(archive.n_atoms)[rows].astype(np.int64)
        values = np.asarray(archive.properties)[rows].astype(np.float64)
        atoms, which, counts = np.unique(sizes, return_inverse=True, return_counts=True)
        shape = (len(atoms), values.shape[1])
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        n, total = np.zeros(shape), np.zeros(shape)
        np.add.at(n, which, known)
        np.add.at(total, which, filled)
        mean = np.divide(total, n, out=np.full(shape, np.nan), where=n > 0)
        error = np.where(known, values - mean[which], 0.0) ** 2
        squares = np.zeros(shape)
        np.add.at(squares, which, error)
        within = squares.sum(0) / np.maximum(n.sum(0), 1)
        overall = filled.sum(0) / np.maximum(n.sum(0), 1)
        spread = np.sqrt((np.where(known, values - overall, 0.0) ** 2).sum(0) / np.maximum(n.sum(0), 1))
        deviation = np.sqrt((squares + PRIOR * within) / (n + PRIOR))
        deviation = np.maximum(deviation, np.maximum(SMALLEST * spread, 1e-9))
        names = tuple(str(name) for name in archive.property_names)
        return SizeTable(names, atoms, counts.astype(np.int64), mean, np.where(n > 0, deviation, np.nan))

    def probabilities(self, target: Mapping[str, float]) -> NDArray[np.float64]:
        """(S,) probability of each atom count given values of some properties.

        Args:
            target: property -> value; properties that the table lacks are left out.
        """
        log = np.log(np.maximum(self.counts, 1e-9).astype(np.float64))
        for name, value in target.items():
            if name in self.names:
                column = self.names.index(name)
                mean, deviation = self.mean[:, column], self.deviation[:, column]
                density = -0.5 * ((value - mean) / deviation) ** 2 - np.log(deviation)
                log = log + np.where(np.isfinite(density), density, -np.inf)
        if not np.isfinite(log).any():
            log = np.log(self.counts.astype(np.float64))
        p = np.exp(log - log.max())
        return p / p.sum()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays of a reference file."""
        return {
            f"{PREFIX}names": np.array(self.names, dtype=np.str_),
            f"{PREFIX}atoms": self.atoms.astype(np.int32),
            f"{PREFIX}counts": self.counts.astype(np.int32),
            f"{PREFIX}mean": self.mean.astype(np.float32),
            f"{PREFIX}deviation": self.deviation.astype(np.float32),
        }

    @staticmethod
    def load(path: str | os.PathLike[str]) -> SizeTable | None:
        """Read the table from a reference file; None where there is no file, or an older one without it."""
        if not Path(path).is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                if f"{PREFIX}names" not in stored.files:
                    return None
                part = {name: stored[PREFIX + name] for name in ("names", "atoms", "counts", "mean", "deviation")}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a reference file ({error}): reinstall, or build it again") from error
        return SizeTable(
            tuple(part["names"].tolist()),
            part["atoms"].astype(np.int64),
            part["counts"].astype(np.int64),
            part["mean"].astype(np.float64),
            part["deviation"].astype(np.float64),
        )

    def add_to(self, path: str | os.PathLike[str]) -> Path:
        """Add the table to a reference file that was built without it, or replace the one it has."""
        path = Path(path)
        with np.load(path, allow_pickle=False) as stored:
            kept = {name: stored[name] for name in stored.files if not name.startswith(PREFIX)}
        partial = path.with_name(path.name + ".part")
        with open(partial, "wb") as stream:
            np.savez(stream, allow_pickle=False, **kept, **self.arrays())
        os.replace(partial, path)
        return path
