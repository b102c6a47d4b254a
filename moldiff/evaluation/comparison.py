"""Distances of a set from the training set, each with a bootstrap interval over structures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moldiff.data.profile import COUNTED, DESCRIBED, Profile
from moldiff.evaluation.rates import Metric
from moldiff.molecules import distributions, similarity

__all__ = ["average", "compare", "median", "similar"]

RESAMPLES = 200
RESAMPLES_MMD = 20  # each is a sum over pairs
PAIRED = 3000
"""Molecules whose pairs the internal diversity averages over, at most."""
GEOMETRY = {
    "length": ("w1_bond_length", "mmd_bond"),
    "angle": ("w1_bond_angle", "mmd_angle"),
    "torsion": ("w1_torsion", "mmd_torsion"),
}
COUNTS = {
    "element": "tv_element",
    "size": "tv_size",
    "bond": "tv_bond",
    "ring_size": "tv_ring_size",
    "fragment": "fragment_similarity",
    "scaffold": "scaffold_similarity",
}

Measures = Sequence[Mapping[str, Any]]


def metric(value: float, interval: tuple[float, float], n: int, of: int) -> Metric:
    """A number that is not a rate: ``n`` structures were used, of ``of``."""
    return {"value": value, "low": interval[0], "high": interval[1], "n": n, "of": of}


def compare(
    measured: Measures, profile: Profile, of: int, *, embedded: bool = True, seed: int = 0, intervals: bool = True
) -> tuple[dict[str, Metric], dict[str, dict[str, float]]]:
    """Geometry, counts and descriptors of a set against a profile.

    Args:
        measured: results of `moldiff.data.profile.measure` for the structures that are good enough.
        profile: what to compare with.
        of: how many structures were asked for.
        embedded: whether they have coordinates at all.
        seed: of the bootstrap.
        intervals: False leaves the bootstrap out (NaN).

    Returns:
        name -> metric, and for the geometry name -> type -> distance.
    """
    table: dict[str, Metric] = {}
    types: dict[str, dict[str, float]] = {}
    geometry = [m["internals"] for m in measured if m["internals"] is not None]
    if embedded and not geometry:
        names = [name for pair in GEOMETRY.values() for name in pair]
        table |= {name: metric(math.nan, (math.nan, math.nan), 0, of) for name in names}
    if embedded and geometry and profile.histograms:
        for kind, values in distributions.Measured.join(geometry).items():
            w1_name, mmd_name = GEOMETRY[kind]
            reference, sample = profile.histograms[kind], values.histogram()
            found = distributions.w1(sample, reference)
            kernel = distributions.mmd(sample, reference)
            types |= {w1_name: dict(found.types), mmd_name: dict(kernel.types)}
            low_high, kernel_low_high = (math.nan, math.nan), (math.nan, math.nan)
            if intervals:
                low_high = distributions.w1_interval(values, reference, resamples=RESAMPLES, seed=seed)
                kernel_low_high = distributions.interval(values, _kernel(reference), resamples=RESAMPLES_MMD, seed=seed)
            table[w1_name] = metric(found.value, low_high, len(geometry), of)
            table[mmd_name] = metric(kernel.value, kernel_low_high, len(geometry), of)
    for thing in COUNTED:
        value, low_high = counted([m["counts"][thing] for m in measured], profile.counts[thing], thing, seed, intervals)
        table[COUNTS[thing]] = metric(value, low_high, len(measured), of)
    for name in DESCRIBED:
        numbers = np.array([m["descriptors"][name] for m in measured])
        value, low_high = described(numbers, profile.descriptors[name], seed, intervals)
        table[f"w1_{name}"] = metric(value, low_high, len(numbers), of)
    return table, types


def _kernel(reference: Any) -> Callable[[Any], float]:
    return lambda histogram: distributions.mmd(histogram, reference).value


def counted(
    counters: Sequence[Mapping[str, int]], reference: Mapping[str, int], thing: str, seed: int, intervals: bool
) -> tuple[float, tuple[float, float]]:
    """Total variation, or for fragments and scaffolds cosine similarity, of added-up counters from a reference."""
    keys = sorted({key for counter in counters for key in counter} | set(reference))
    place = {key: number for number, key in enumerate(keys)}
    other = np.array([reference.get(key, 0) for key in keys], dtype=np.float64)
    owners = np.repeat(np.arange(len(counters)), [len(counter) for counter in counters]).astype(np.int64)
    codes = np.array([place[key] for counter in counters for key in counter], dtype=np.int64)
    counts = np.array([n for counter in counters for n in counter.values()], dtype=np.float64)
    statistic = cosine if thing in ("fragment", "scaffold") else variation

    def value(weights: np.ndarray | None) -> float:
        heights = counts if weights is None else counts * weights[owners]
        return statistic(np.bincount(codes, heights, len(keys)), other)

    if not intervals or not len(counters):
        return value(None), (math.nan, math.nan)
    draws = distributions.bootstrap_draws(len(counters), RESAMPLES, seed=seed)
    return value(None), around(value(None), [value(weights) for weights in draws], 1.0)


def variation(first: np.ndarray, second: np.ndarray) -> float:
    """Half the sum of |share - share| over the same things (k,); NaN if either side is empty."""
    if not first.sum() or not second.sum():
        return math.nan
    return float(0.5 * np.abs(first / first.sum() - second / second.sum()).sum())


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of the angle between two sets of counts (k,); NaN if either side is empty."""
    length = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / length if length else math.nan


def described(
    values: np.ndarray, reference: np.ndarray, seed: int, intervals: bool
) -> tuple[float, tuple[float, float]]:
    """Wasserstein-1 distance of plain numbers (n,) from a reference (m,)."""
    if not len(values) or not len(reference):
        return math.nan, (math.nan, math.nan)
    value = distributions.wasserstein(values, reference)
    if not intervals:
        return value, (math.nan, math.nan)
    draws = distributions.bootstrap_draws(len(values), RESAMPLES, seed=seed)
    return value, around(
        value, [distributions.wasserstein(np.repeat(values, draw), reference) for draw in draws], math.inf
    )


def similar(packed: np.ndarray, reference: np.ndarray, of: int, *, seed: int = 0) -> dict[str, Metric]:
    """Similarity to the nearest training molecule, and diversity within the set.

    Args:
        packed: (M, 128) uint8 fingerprints of the set, in random order or any other.
        reference: (K, 128) of the training sample.
        of: how many structures were asked for.
        seed: which molecules are paired where there are too many, and of the bootstrap.
    """
    table = {}
    if len(packed) and len(reference):
        nearest = similarity.nearest(packed, reference)
        table["snn"] = average(nearest, of, seed=seed)
    if len(packed):
        chosen = np.random.default_rng(seed).permutation(len(packed))[:PAIRED]
        alike = tanimoto(packed[chosen])
        value = 1 - float(alike.mean(dtype=np.float64))
        draws = distributions.bootstrap_draws(len(chosen), RESAMPLES, seed=seed)
        weights = np.stack([draw for draw in draws]).astype(np.float32) / len(chosen)
        low_high = around(value, (1 - ((weights @ alike) * weights).sum(1)).tolist(), 1.0)
        table["internal_diversity"] = metric(value, low_high, len(chosen), of)
    return table


def tanimoto(packed: np.ndarray) -> np.ndarray:
    """Similarity of every pair of fingerprints (M, 128) uint8: (M, M) float32."""
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    common = bits @ bits.T
    sizes = bits.sum(1)
    union = sizes[:, None] + sizes[None] - common
    # two molecules without any bit set are alike
    return np.where(union > 0, common / np.maximum(union, 1), np.float32(1))


def average(values: np.ndarray, of: int, *, seed: int = 0) -> Metric:
    """Mean of numbers (n,) with its bootstrap interval."""
    if not len(values):
        return metric(math.nan, (math.nan, math.nan), 0, of)
    low_high = distributions.bootstrap(values, statistic=np.mean, seed=seed)
    return metric(float(np.mean(values)), low_high, len(values), of)


def median(values: np.ndarray, of: int, *, seed: int = 0) -> Metric:
    """Median of numbers (n,), which may be infinite, with its bootstrap interval."""
    if not len(values):
        return metric(math.nan, (math.nan, math.nan), 0, of)
    rng = np.random.default_rng(seed)
    ordered = np.sort(values)
    # the median of a resample sits at the median of its sorted places: no resample needs sorting by value
    places = np.sort(rng.integers(0, len(values), (RESAMPLES, len(values))), axis=1)[:, len(values) // 2]
    low, high = (float(q) for q in np.quantile(ordered[places], (0.025, 0.975), method="nearest"))
    return metric(float(np.median(ordered)), (low, high), len(values), of)


def around(value: float, drawn: Sequence[float], most: float) -> tuple[float, float]:
    """The 95 % interval of bootstrap draws of a number in [0, most]; NaN where none is a number.

    Drawing with replacement repeats molecules, which moves a distance or a similarity: the interval is shifted back by
    the difference of the draws' mean to the value.
    """
    known = np.array([draw for draw in drawn if not math.isnan(draw)])
    if not len(known) or math.isnan(value):
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975)) - known.mean() + value
    return float(max(low, 0.0)), float(min(high, most))
