"""How far a set of geometries is from a reference set: Wasserstein-1, maximum mean discrepancy, total variation.

**Histograms.** Lengths, angles and torsions of a set are kept per type in fine bins (0.0005 angstrom, 0.05 and 0.25
degrees: `WIDTHS`), of which only those that occur are stored. Both sides of a comparison are binned alike, so that the
error is far below a bin, and a reference file of a few hundred kilobytes is enough to compare with.

**Wasserstein-1** (`w1`): the area between the two cumulative distributions of a type, in angstrom or degrees. Torsions
are folded to [0, 180] degrees first, since mirror images are equally likely. Types are pooled by their share of the
*reference's* values. A type that only one side has cannot be compared; it is left out and `Distance.covered` says how
much of the reference remained.

**MMD** (`mmd`): as JODO (Huang et al. 2023) does it: the squared, biased (V-statistic) maximum mean discrepancy with a
sum of five Gaussian kernels exp(-d^2 / b), b = m/4, m/2, m, 2m, 4m, where m is the mean squared difference of all pairs
of the pooled values; at most 20,000 values a type and side, drawn without replacement; fixed lists of eight types
(`JODO_TYPES`, those of its data-set files), of which the plain mean is reported; angles in degrees, torsions signed and
not periodic. Being biased, it depends on the number of values: compare at equal N with the floor of real data.
Differences to JODO's program: every angle counts once (there twice, once or not at all, depending on the order of the
atoms), and the closed "torsions" of three-membered rings are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from moldiff.molecules.geometry import type_code, type_name
from moldiff.molecules.histograms import WIDTHS, Histogram, Measured

__all__ = [
    "JODO_TYPES",
    "WIDTHS",
    "Distance",
    "Histogram",
    "Measured",
    "bootstrap",
    "bootstrap_draws",
    "interval",
    "mmd",
    "total_variation",
    "w1",
    "w1_interval",
    "wasserstein",
]

JODO_TYPES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "qm9": MappingProxyType(
            {
                "length": ("C-H", "C-C", "C-O", "C-N", "H-N", "C=O", "H-O", "C=C"),
                "angle": ("C-C-H", "C-C-C", "C-C-O", "C-C-N", "C-N-C", "C-O-C", "H-C-O", "C-C=C"),
                "torsion": (*("C-C-C-H", "C-C-C-C", "H-C-C-H", "H-C-C-O", "C-C-C-O", "C-C-N-C", "C-N-C-H", "H-C-C-N"),),
            }
        ),
        "geom": MappingProxyType(
            {
                "length": ("C-H", "C:C", "C-C", "C-N", "C:N", "C-O", "C=O", "H-N"),
                "angle": ("C:C:C", "C-C-H", "C:C-H", "C-C-N", "C-C-C", "C-C:C", "H-C-N", "C-N-C"),
                "torsion": (*("C:C:C-H", "C:C:C:C", "C-C-C-H", "H-C-C-H", "C-N-C-H", "C-C-N-C", "C:C-C-H", "H-C-C-N"),),
            }
        ),
    }
)
"""The types that JODO's MMD averages over, by data set and kind (its ``top_bond_sym`` and so on)."""

_KERNELS = (0.25, 0.5, 1.0, 2.0, 4.0)
_GRID = 2**20
_LEVEL = (0.025, 0.975)

Key = TypeVar("Key")


@dataclass(frozen=True)
class Distance:
    """A distance between two sets over several types.

    Attributes:
        value: pooled over types; NaN where no type could be compared.
        covered: share of the reference's values (for MMD: of the listed types) that was compared.
        types: name -> distance of the type.
        counts: name -> number of the sample's values of the type.
    """

    value: float
    covered: float
    types: Mapping[str, float]
    counts: Mapping[str, int]


def w1(sample: Histogram, reference: Histogram) -> Distance:
    """Wasserstein-1 distance per type, pooled by the reference's shares; see the module.

    Args:
        sample, reference: histograms of one kind.

    Raises:
        ValueError: histograms of different kinds.
    """
    plan = _Plan(sample, reference)
    distances, counts = plan.distances(sample.counts)
    return plan.result(distances, counts)


def mmd(
    sample: Histogram,
    reference: Histogram,
    *,
    types: Mapping[str, Sequence[str]] = JODO_TYPES["qm9"],
    n: int = 20_000,
    seed: int = 0,
) -> Distance:
    """JODO's Gaussian-kernel discrepancy of the listed types, and its plain mean over them; see the module.

    Args:
        sample, reference: histograms of one kind.
        types: kind -> names of types.
        n: most values of a type on either side; where there are more, so many are drawn.
        seed: of that draw.

    Raises:
        ValueError: histograms of different kinds, or n below 1.
    """
    _same_kind(sample, reference)
    if n < 1:
        raise ValueError(f"n = {n}; at least one value a type is needed")
    names = [type_name(type_code(name)) for name in types[sample.kind]]
    found: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name in names:
        code = type_code(name)
        (x, p), (y, q) = (
            _thin(*_entries(side, code), n, (seed, code, which)) for which, side in enumerate((sample, reference))
        )
        counts[name] = int(p.sum())
        if len(x) and len(y):
            found[name] = _discrepancy(x, p, y, q)
    value = float(np.mean(list(found.values()))) if found else float("nan")
    return Distance(value, len(found) / len(names) if names else 0.0, found, counts)


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1 distance of two sets of numbers, in their unit; NaN if either is empty.

    Raises:
        ValueError: values that are not finite.
    """
    first, second = np.sort(np.asarray(first, dtype=np.float64)), np.sort(np.asarray(second, dtype=np.float64))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values that are not finite have no distance; leave them out and count them as failures")
    if not len(first) or not len(second):
        return float("nan")
    both = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(side, both[:-1], side="right") / len(side) for side in (first, second)]
    return float((np.abs(below[0] - below[1]) * np.diff(both)).sum())


def total_variation(first: Mapping[Key, float], second: Mapping[Key, float]) -> float:
    """Total variation distance of two histograms over categories: half the sum of |p - q|, from 0 to 1.

    Args:
        first, second: category -> count or share; each is normalised.

    Returns:
        NaN where one of them is empty.
    """
    sums = sum(first.values()), sum(second.values())
    if not sums[0] or not sums[1]:
        return float("nan")
    keys = set(first) | set(second)
    return float(sum(abs(first.get(key, 0) / sums[0] - second.get(key, 0) / sums[1]) for key in keys) / 2)


def bootstrap_draws(n: int, resamples: int, *, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of n structures occurs in draws of n with replacement: ``resamples`` arrays (n,) int64.

    Raises:
        ValueError: fewer than one resample.
    """
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; at least 1 is needed, some hundreds for an interval")
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, max(n, 1), n), minlength=n)


def bootstrap(
    values: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles; Efron 1979) of a statistic over structures.

    Args:
        values: (n, ...) a row a structure.
        statistic: of such an array; the mean by default.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        ``(low, high)``; NaN without structures.
    """
    values = np.asarray(values)
    if not len(values):
        return float("nan"), float("nan")
    draws = bootstrap_draws(len(values), resamples, seed=seed)
    if statistic is np.mean and values.ndim == 1:
        return _quantiles([float(weights @ values) / len(values) for weights in draws])
    rows = np.arange(len(values))
    return _quantiles([float(statistic(values[np.repeat(rows, weights)])) for weights in draws])


def interval(
    measured: Measured, statistic: Callable[[Histogram], float], *, resamples: int = 100, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval over structures of any statistic of a histogram, e.g. ``lambda h: mmd(h, ref).value``.

    Resampling adds noise of its own and so raises every draw of a distance; the percentiles are therefore shifted by
    the difference of the draws' mean to the value itself, and not below 0.

    Returns:
        ``(low, high)``; NaN without structures.
    """
    whole = measured.histogram()
    cells = _cells(whole, measured)
    drawn = []
    for weights in bootstrap_draws(measured.structures, resamples, seed=seed):
        counts = np.bincount(cells, weights[measured.owners], len(whole.codes)).astype(np.int64)
        keep = counts > 0
        drawn.append(statistic(Histogram(whole.kind, whole.codes[keep], whole.bins[keep], counts[keep])))
    return _around(statistic(whole), drawn)


def w1_interval(
    measured: Measured, reference: Histogram, *, resamples: int = 200, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval over structures of the pooled `w1`, faster than `interval`."""
    whole = measured.histogram()
    plan, cells = _Plan(whole, reference), _cells(whole, measured)
    drawn = []
    for weights in bootstrap_draws(measured.structures, resamples, seed=seed):
        drawn.append(plan.result(*plan.distances(np.bincount(cells, weights[measured.owners], len(whole.codes)))).value)
    return _around(plan.result(*plan.distances(whole.counts)).value, drawn)


class _Plan:
    """The cells (type, bin) of two histograms laid out once, for many draws of the sample's counts."""

    def __init__(self, sample: Histogram, reference: Histogram) -> None:
        _same_kind(sample, reference)
        sides = (sample, reference)
        fold = sample.kind == "torsion"
        codes = np.concatenate([side.codes for side in sides])
        bins = np.concatenate([np.abs(side.bins) if fold else side.bins for side in sides])
        self.codes, types = np.unique(codes, return_inverse=True)
        order = np.lexsort((bins, types))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(types[order]) != 0) | (np.diff(bins[order]) != 0)
        cells = np.empty(len(order), dtype=np.int64)
        cells[order] = np.cumsum(first) - 1
        self._types = types[order][first]
        places = bins[order][first]
        self._gaps = np.zeros(len(places))
        self._gaps[:-1] = np.where(np.diff(self._types) == 0, np.diff(places), 0) * WIDTHS[sample.kind]
        self._cells = cells[: len(sample.codes)]
        reference_cells = np.bincount(cells[len(sample.codes) :], reference.counts, len(places))
        self.reference = np.bincount(self._types, reference_cells, len(self.codes))
        self._target = reference_cells / np.maximum(self.reference, 1)[self._types]

    def distances(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of each type (meaningless where one side has none of it) and the sample's number of values."""
        found = np.bincount(self._cells, counts, len(self._types))
        sums = np.bincount(self._types, found, len(self.codes))
        ahead = np.cumsum(found / np.maximum(sums, 1)[self._types] - self._target)
        # A type that one side lacks leaves +-1 in the running sum: take it out before the next type begins.
        ends = np.searchsorted(self._types, np.arange(len(self.codes)), side="right") - 1
        ahead -= np.concatenate([[0.0], ahead[ends[:-1]]])[self._types] if len(ends) else 0
        return np.bincount(self._types, np.abs(ahead) * self._gaps, len(self.codes)), sums

    def result(self, distances: np.ndarray, counts: np.ndarray) -> Distance:
        """Pool by the reference's shares."""
        both = (counts > 0) & (self.reference > 0)
        weight = self.reference[both].sum()
        value = float((distances[both] * self.reference[both]).sum() / weight) if weight else float("nan")
        names = [type_name(code) for code in self.codes[both].tolist()]
        return Distance(
            value,
            float(weight / self.reference.sum()) if self.reference.sum() else 0.0,
            dict(zip(names, distances[both].tolist(), strict=True)),
            dict(zip(names, counts[both].astype(np.int64).tolist(), strict=True)),
        )


def _same_kind(sample: Histogram, reference: Histogram) -> None:
    if sample.kind != reference.kind:
        raise ValueError(f"{sample.kind}s cannot be compared with {reference.kind}s; give two histograms of one kind")


def _cells(whole: Histogram, measured: Measured) -> np.ndarray:
    """Which entry of its own histogram each value belongs to."""
    _, codes = np.unique(measured.codes, return_inverse=True)
    bins = np.rint(measured.values / WIDTHS[measured.kind]).astype(np.int64)
    order = np.lexsort((bins, codes))
    return np.repeat(np.arange(len(whole.counts)), whole.counts)[np.argsort(order)]


def _around(value: float, drawn: Sequence[float]) -> tuple[float, float]:
    known = [one for one in drawn if not np.isnan(one)]
    if not known or np.isnan(value):
        return float("nan"), float("nan")
    low, high = _quantiles(known)
    shift = value - float(np.mean(known))
    return max(0.0, low + shift), max(0.0, high + shift)


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.quantile(known, _LEVEL)
    return float(low), float(high)


def _entries(histogram: Histogram, code: int) -> tuple[np.ndarray, np.ndarray]:
    start, end = np.searchsorted(histogram.codes, (code, code + 1))
    return histogram.bins[start:end], histogram.counts[start:end]


def _thin(bins: np.ndarray, counts: np.ndarray, n: int, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """At most n of the values, drawn without replacement."""
    if counts.sum() <= n:
        return bins, counts
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(counts, n, method="marginals")
    return bins[drawn > 0], drawn[drawn > 0]


def _discrepancy(x: np.ndarray, p: np.ndarray, y: np.ndarray, q: np.ndarray) -> float:
    """Squared MMD of two lists of bins with counts; the kernel's width follows the values, so bins need no unit."""
    n = int(p.sum() + q.sum())
    places = np.concatenate([x, y]) - min(x[0], y[0])
    span = int(places.max()) + 1
    coarse = -(-span // _GRID)  # runaway values: the kernels are then wide enough for wider bins
    counts = np.concatenate([p, q])
    mean = (places * counts).sum() / n
    spread = 2 * float((counts * (places - mean) ** 2).sum()) / (n - 1) / coarse**2 if n > 1 else 0.0
    if spread == 0:
        return 0.0
    places = places // coarse
    span = int(places.max()) + 1
    shares = np.concatenate([p / p.sum(), -q / q.sum()])
    difference = np.bincount(places, shares, span)
    size = 1 << (2 * span - 1).bit_length()
    lags = np.fft.irfft(np.abs(np.fft.rfft(difference, size)) ** 2, size)[:span]
    square = np.arange(span, dtype=np.float64) ** 2
    kernel = sum(np.exp(-square / (factor * spread)) for factor in _KERNELS)
    return max(0.0, float(2 * (lags * kernel).sum() - lags[0] * len(_KERNELS)))
