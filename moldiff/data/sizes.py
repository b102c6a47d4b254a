"""How many atoms go with a property: a small table kept in the reference file, for sampling towards targets.

p(N | y) is proportional to p(N) times, for each asked property, the share of the molecules of N atoms whose value lies
in the same of 24 equally filled bins. Several properties are taken as independent at fixed N, which counts twice what
two of them repeat (gap and LUMO); so the product of m shares is raised to the power 1 / sqrt(m).
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
from moldiff.data.crystal_archive import CrystalArchive

__all__ = ["SizeTable"]

BINS = 24
"""Bins of a property, each with as many training molecules."""
PRIOR = 20.0
"""Molecules of any size that are added to those of each size, so that a rare size has no empty bins."""
PREFIX = "sizes_"


@dataclass(frozen=True)
class SizeTable:
    """Histograms of P properties among the training molecules of each of S atom counts.

    Attributes:
        names: the properties.
        atoms, counts: (S,) atom counts, rising, and molecules of each.
        edges: (P, Q - 1) borders of the bins, rising, in the units of the archive.
        histograms: (S, P, Q) molecules.
    """

    names: tuple[str, ...]
    atoms: NDArray[np.int64]
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    histograms: NDArray[np.int64]

    @staticmethod
    def of(archive: Archive | CrystalArchive) -> SizeTable:
        """The table of the train split of an archive; values that are not finite are left out."""
        rows = archive.split == 0
        sizes = np.asarray(archive.n_atoms)[rows].astype(np.int64)
        values = np.asarray(archive.properties)[rows].astype(np.float64)
        atoms, which, counts = np.unique(sizes, return_inverse=True, return_counts=True)
        names = tuple(str(name) for name in archive.property_names)
        edges = np.zeros((len(names), BINS - 1))
        histograms = np.zeros((len(atoms), len(names), BINS), np.int64)
        for column in range(len(names)):
            known = np.isfinite(values[:, column])
            if known.any():
                edges[column] = np.quantile(values[known, column], np.arange(1, BINS) / BINS)
            bins = np.searchsorted(edges[column], values[known, column], side="right")
            np.add.at(histograms, (which[known], column, bins), 1)
        return SizeTable(names, atoms, counts.astype(np.int64), edges, histograms)

    def probabilities(self, target: Mapping[str, float]) -> NDArray[np.float64]:
        """(S,) probability of each atom count given values of some properties.

        Args:
            target: property -> value; properties that the table lacks are left out, and a value beyond the training
                set's counts as its outermost bin.
        """
        log = np.log(self.counts.astype(np.float64))
        asked = [name for name in target if name in self.names]
        for name in asked:
            column = self.names.index(name)
            here = self.histograms[:, column].astype(np.float64)
            share = here.sum(0) / max(here.sum(), 1.0)
            place = int(np.searchsorted(self.edges[column], target[name], side="right"))
            # 1e-9 for a bin that no molecule is in, as happens with whole numbers
            likely = (here[:, place] + PRIOR * share[place] + 1e-9) / (here.sum(1) + PRIOR)
            log = log + np.log(likely) / np.sqrt(len(asked))
        p = np.exp(log - log.max())
        return p / p.sum()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays of a reference file."""
        return {
            f"{PREFIX}names": np.array(self.names, dtype=np.str_),
            f"{PREFIX}atoms": self.atoms.astype(np.int32),
            f"{PREFIX}counts": self.counts.astype(np.int32),
            f"{PREFIX}edges": self.edges,
            f"{PREFIX}histograms": self.histograms.astype(np.int32),
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
                part = {name: stored[PREFIX + name] for name in ("names", "atoms", "counts", "edges", "histograms")}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a reference file ({error}): reinstall, or build it again") from error
        return SizeTable(
            tuple(part["names"].tolist()),
            part["atoms"].astype(np.int64),
            part["counts"].astype(np.int64),
            part["edges"].astype(np.float64),
            part["histograms"].astype(np.int64),
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
