"""Distances of sets worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from moldiff.crystals import distributions


def test_coverage_takes_the_nearest_by_structure_and_by_composition_apart() -> None:
    structures, compositions = np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [30.0], [60.0]])
    # the first: near by both; the second: near by structure only; the third by neither
    test_structures, test_compositions = np.array([[0.3], [1.3], [9.0]]), np.array([[8.0], [15.0], [0.0]])
    found = distributions.coverage(structures, compositions, test_structures, test_compositions)
    assert found.precise.tolist() == [True, False, False]
    # the second test crystal is near the second by structure; by composition it is 15 off; the third is far
    assert found.recalled.tolist() == [True, False, False]
    wider = distributions.coverage(structures, compositions, test_structures, test_compositions, composition_cut=15)
    assert wider.recalled.tolist() == [True, True, False] and wider.precise.tolist() == [True, True, False]


def test_coverage_of_nothing_and_by_nothing() -> None:
    none, some = np.zeros((0, 2)), np.zeros((3, 2))
    assert distributions.coverage(none, none, some, some).recalled.tolist() == [False] * 3
    assert distributions.coverage(some, some, none, none).precise.tolist() == [False] * 3
    with pytest.raises(ValueError, match="one of each kind"):
        distributions.coverage(none, some, some, some)


def test_coverage_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(size, 3)) for size in (50, 50, 40, 40)]
    whole = distributions.coverage(*sets, structure_cut=0.8, composition_cut=0.8)
    monkeypatch.setattr(distributions, "BLOCK", 7)
    parts = distributions.coverage(*sets, structure_cut=0.8, composition_cut=0.8)
    assert (whole.precise == parts.precise).all() and (whole.recalled == parts.recalled).all()
    assert 0 < whole.precise.sum() < 50


def test_density_of_rocksalt() -> None:
    cell = 2.82 * (np.ones((3, 3)) - np.eye(3))
    assert distributions.density([11, 17], cell) == pytest.approx(2.164, abs=0.002)
    with pytest.raises(ValueError, match="volume"):
        distributions.density([11], np.zeros((3, 3)))


def test_wasserstein() -> None:
    assert distributions.wasserstein([0, 1, 2], [0.5, 1.5, 2.5]) == pytest.approx(0.5)
    assert distributions.wasserstein([3.0], [1.0, 2.0]) == pytest.approx(1.5)
    assert math.isnan(distributions.wasserstein([], [1.0]))
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=37), rng.normal(0.3, 2, size=91)
    assert distributions.wasserstein(one, other) == pytest.approx(wasserstein_distance(one, other))


def test_the_interval_surrounds_the_distance_and_narrows() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=2000)
    widths = []
    for size in (50, 800):
        values = rng.normal(1.0, 1.0, size)
        low, high = distributions.bootstrap(values, reference, seed=1)
        assert low <= distributions.wasserstein(values, reference) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert all(math.isnan(end) for end in distributions.bootstrap([], reference))
