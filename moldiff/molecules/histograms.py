"""Lengths, angles and torsions of a set of molecules, binned per type so finely that distances barely notice.

Only bins that occur are stored, so that the values of ten thousand molecules fit into a few hundred kilobytes.
"""

import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from moldiff.molecules.geometry import KINDS, type_name

WIDTHS: Mapping[str, float] = MappingProxyType({"length": 0.0005, "angle": 0.05, "torsion": 0.25})
"""Width of a bin by kind: angstrom, degrees, degrees."""

_STORED = ("<i8", "<i8", "<i4")  # types, bins, counts
_FARTHEST = 2**40  # a bin number for coordinates that have run away; far beyond anything that is compared


@dataclass(frozen=True, eq=False)
class Histogram:
    """All values of one kind in a set of molecules, binned per type.

    Attributes:
        kind: one of `moldiff.molecules.geometry.KINDS`.
        codes: (e,) int64 types; entries are sorted by type, then bin, and occur once.
        bins: (e,) int64; the centre of a bin is its number times the width of the kind.
        counts: (e,) int64, at least 1.
    """

    kind: str
    codes: np.ndarray
    bins: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(kind: str, codes: np.ndarray, values: np.ndarray) -> "Histogram":
        """Bin values.

        Args:
            kind: one of the kinds.
            codes: (m,) types.
            values: (m,) angstrom or degrees.

        Raises:
            ValueError: an unknown kind, or values that are not finite.
        """
        return _gather(kind, np.asarray(codes, dtype=np.int64), _bins(kind, values), None)

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def types(self) -> dict[str, int]:
        """Name -> number of values, most frequent first."""
        codes, inverse = np.unique(self.codes, return_inverse=True)
        sums = np.bincount(inverse, self.counts, len(codes)).astype(np.int64).tolist()
        named = zip((type_name(code) for code in codes.tolist()), sums, strict=True)
        return dict(sorted(named, key=lambda pair: (-pair[1], pair[0])))

    def merge(self, other: "Histogram") -> "Histogram":
        """Both sets as one.

        Raises:
            ValueError: another kind.
        """
        if other.kind != self.kind:
            raise ValueError(f"a histogram of {other.kind}s cannot join one of {self.kind}s")
        joined = [np.concatenate(pair) for pair in zip(self._columns(), other._columns(), strict=True)]
        return _gather(self.kind, joined[0], joined[1], joined[2])

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Plain arrays for an npz file, the names beginning with the prefix."""
        names = (f"{prefix}codes", f"{prefix}bins", f"{prefix}counts")
        return {f"{prefix}kind": np.array(self.kind), **dict(zip(names, self._columns(), strict=True))}

    @staticmethod
    def from_arrays(stored: Mapping[str, np.ndarray], prefix: str) -> "Histogram":
        """Read what `arrays` wrote.

        Raises:
            ValueError: an array is missing, or the kind is unknown.
        """
        missing = [name for name in ("kind", "codes", "bins", "counts") if f"{prefix}{name}" not in stored]
        if missing:
            raise ValueError(f"no {prefix}{missing[0]} stored; write the histogram again")
        kind = _known(str(stored[f"{prefix}kind"]))
        codes, bins, counts = (stored[f"{prefix}{name}"].astype(np.int64) for name in ("codes", "bins", "counts"))
        return Histogram(kind, codes, bins, counts)

    def pack(self) -> np.ndarray:
        """Compressed bytes, (k,) uint8: a tenth or less of the plain arrays."""
        # Differences and split bytes leave mostly zeros, which compress well.
        parts = [KINDS.index(self.kind).to_bytes(4, "little"), len(self.codes).to_bytes(4, "little")]
        for column, size in zip(self._columns(), _STORED, strict=True):
            steps = column if column is self.counts else np.diff(column, prepend=0)
            parts.append(
                np.ascontiguousarray(steps.astype(size).view(np.uint8).reshape(len(column), int(size[2])).T).tobytes()
            )
        packed = lzma.compress(b"".join(parts), preset=9 | lzma.PRESET_EXTREME)
        return np.frombuffer(packed, np.uint8)

    @staticmethod
    def unpack(packed: np.ndarray) -> "Histogram":
        """Read what `pack` wrote.

        Raises:
            ValueError: other or damaged bytes.
        """
        try:
            data = lzma.decompress(np.asarray(packed, dtype=np.uint8).tobytes())
            kind, entries = KINDS[int.from_bytes(data[:4], "little")], int.from_bytes(data[4:8], "little")
            columns, start = [], 8
            for size in _STORED:
                end = start + entries * np.dtype(size).itemsize
                block = np.frombuffer(data[start:end], np.uint8).reshape(int(size[2]), entries)
                columns.append(np.ascontiguousarray(block.T).view(size).reshape(entries).astype(np.int64))
                start = end
        except (lzma.LZMAError, ValueError, IndexError) as error:
            raise ValueError(f"these bytes are no packed histogram ({error}); write it again") from error
        return Histogram(kind, np.cumsum(columns[0]), np.cumsum(columns[1]), columns[2])

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.codes, self.bins, self.counts


@dataclass(frozen=True, eq=False)
class Measured:
    """All values of one kind in a set of molecules, with the molecule each came from.

    Attributes:
        kind: one of `moldiff.molecules.geometry.KINDS`.
        owners: (m,) int64, which structure a value belongs to.
        codes: (m,) int64 types.
        values: (m,) float64, angstrom or degrees.
        structures: number of structures, those without any value included.
    """

    kind: str
    owners: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    structures: int

    @staticmethod
    def join(found: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> "dict[str, Measured]":
        """Put results of `moldiff.molecules.geometry.internals` together, one for each structure in order."""
        joined = {}
        for kind in KINDS:
            sizes = [len(one[kind][0]) for one in found]
            codes = np.concatenate([np.zeros(0, np.int64), *(one[kind][0] for one in found)])
            values = np.concatenate([np.zeros(0), *(one[kind][1] for one in found)])
            owners = np.repeat(np.arange(len(found)), sizes)
            joined[kind] = Measured(kind, owners, codes, values, len(found))
        return joined

    def histogram(self, weights: np.ndarray | None = None) -> Histogram:
        """Bin the values.

        Args:
            weights: (structures,) integers, how often each structure counts (a draw of the bootstrap); once by default.

        Raises:
            ValueError: values that are not finite, or weights of another length.
        """
        if weights is not None and len(weights) != self.structures:
            raise ValueError(f"{len(weights)} weights for {self.structures} structures; give one for each")
        counts = None if weights is None else np.asarray(weights, dtype=np.int64)[self.owners]
        return _gather(self.kind, self.codes, _bins(self.kind, self.values), counts)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}; choose one of {', '.join(KINDS)}")
    return kind


def _bins(kind: str, values: np.ndarray) -> np.ndarray:
    width = WIDTHS[_known(kind)]
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} values are not finite; leave such structures out")
    return np.rint(np.clip(values / width, -_FARTHEST, _FARTHEST)).astype(np.int64)


def _gather(kind: str, codes: np.ndarray, bins: np.ndarray, counts: np.ndarray | None) -> Histogram:
    """Sort entries by type and bin and add up equal ones; entries that count nothing go."""
    _known(kind)
    if len(codes) != len(bins):
        raise ValueError(f"{len(codes)} types for {len(bins)} values; give one for each")
    order = np.lexsort((bins, codes))
    codes, bins = codes[order], bins[order]
    first = np.ones(len(codes), dtype=bool)
    first[1:] = (codes[1:] != codes[:-1]) | (bins[1:] != bins[:-1])
    starts = np.flatnonzero(first)
    ones = np.ones(len(codes), dtype=np.int64) if counts is None else counts[order]
    sums = np.add.reduceat(ones, starts) if len(starts) else np.zeros(0, dtype=np.int64)
    keep = sums > 0
    return Histogram(kind, codes[starts][keep], bins[starts][keep], sums[keep])
