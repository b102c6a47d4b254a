"""Wasserstein-1, MMD, total variation and their intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from moldiff.molecules import distributions as d
from moldiff.molecules.geometry import type_code, type_name

CH, CC, CN = type_code("C-H"), type_code("C-C"), type_code("C-N")


def histogram(kind: str, **values: list[float]) -> d.Histogram:
    names = {"CH": CH, "CC": CC, "CN": CN}
    codes = np.concatenate([np.full(len(v), names[k]) for k, v in values.items()]) if values else np.zeros(0, int)
    return d.Histogram.of(kind, codes, np.concatenate([*values.values(), []]))


def test_w1_by_hand():
    # C-H: all mass moves by 0.1; C-C: half of it by 0.4; three quarters of the reference are C-H
    sample = histogram("length", CH=[1.1, 1.1], CC=[1.5, 1.9])
    reference = histogram("length", CH=[1.0] * 6, CC=[1.5] * 2)
    found = d.w1(sample, reference)
    assert found.types == pytest.approx({"C-H": 0.1, "C-C": 0.2})
    assert found.value == pytest.approx(0.75 * 0.1 + 0.25 * 0.2)
    assert (found.covered, found.counts) == (1.0, {"C-H": 2, "C-C": 2})


def test_w1_leaves_out_what_one_side_lacks_and_says_so():
    sample = histogram("length", CH=[1.1], CN=[1.4, 1.6])
    reference = histogram("length", CC=[1.5, 1.7], CH=[1.0])
    found = d.w1(sample, reference)
    assert found.types == pytest.approx({"C-H": 0.1})
    assert found.covered == pytest.approx(1 / 3)
    nothing = d.w1(histogram("length"), reference)
    assert math.isnan(nothing.value) and nothing.covered == 0
    assert math.isnan(d.w1(sample, histogram("length")).value)
    with pytest.raises(ValueError, match="kind"):
        d.w1(histogram("angle"), reference)


def test_w1_folds_torsions():
    assert d.w1(histogram("torsion", CH=[60, -60]), histogram("torsion", CH=[-60, -60])).value == pytest.approx(0)
    assert d.w1(histogram("torsion", CH=[-170]), histogram("torsion", CH=[175])).value == pytest.approx(5)


def test_w1_is_scipys_within_a_bin():
    rng = np.random.default_rng(0)
    values = {"CH": rng.normal(1.09, 0.02, 900), "CC": rng.normal(1.5, 0.05, 400)}
    others = {"CH": rng.normal(1.1, 0.03, 700), "CC": rng.normal(1.52, 0.04, 600)}
    found = d.w1(histogram("length", **values), histogram("length", **others))
    expected = {key: stats.wasserstein_distance(values[key], others[key]) for key in values}
    assert found.types == pytest.approx({"C-H": expected["CH"], "C-C": expected["CC"]}, abs=5e-5)
    assert found.value == pytest.approx((700 * expected["CH"] + 600 * expected["CC"]) / 1300, abs=5e-5)


def measured(rng: np.random.Generator, shift: float, n: int = 60) -> d.Measured:
    found = []
    for _ in range(n):
        size = rng.integers(0, 6)
        found.append((rng.choice([CH, CC], size), rng.normal(1.1 + shift, 0.05, size)))
    empty = (np.zeros(0, np.int64), np.zeros(0))
    return d.Measured.join([{"length": one, "angle": empty, "torsion": empty} for one in found])["length"]


def test_w1_interval_agrees_with_the_general_one_and_holds_the_value():
    rng = np.random.default_rng(1)
    sample, reference = measured(rng, 0.03), measured(rng, 0.0).histogram()
    general = d.interval(sample, lambda h: d.w1(h, reference).value, resamples=40, seed=3)
    assert d.w1_interval(sample, reference, resamples=40, seed=3) == pytest.approx(general)
    value = d.w1(sample.histogram(), reference).value
    assert general[0] < value < general[1]
    none = measured(rng, 0.0, n=0)
    assert all(math.isnan(q) for q in d.w1_interval(none, reference, resamples=5))
    assert all(math.isnan(q) for q in d.interval(none, lambda h: d.w1(h, reference).value, resamples=5))


def direct_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, pair by pair."""
    both = np.concatenate([x, y])
    n = len(both)
    spread = ((both[:, None] - both[None]) ** 2).sum() / (n * n - n)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        square = (a[:, None] - b[None]) ** 2
        return sum(np.exp(-square / (spread * factor)).mean() for factor in (0.25, 0.5, 1, 2, 4))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


TYPES = {"length": ("C-H", "H-C", "C-N"), "torsion": ("C-H",), "angle": ("C-H",)}


def test_mmd_is_the_double_sum():
    rng = np.random.default_rng(2)
    width = d.WIDTHS["length"]
    x, y = (np.rint(rng.normal(m, 0.05, n) / width) * width for m, n in ((1.1, 90), (1.13, 150)))
    found = d.mmd(histogram("length", CH=x), histogram("length", CH=y), types={"length": ("C-H",)})
    assert found.value == pytest.approx(direct_mmd(x, y), rel=1e-6)
    assert (found.covered, found.counts) == (1.0, {"C-H": 90})


def test_mmd_by_hand():
    # x = {0}, y = {a}: the mean squared difference of all pairs is a^2, so k(x, y) = sum over exp(-1 / factor)
    expected = 2 * 5 - 2 * sum(math.exp(-1 / factor) for factor in (0.25, 0.5, 1, 2, 4))
    found = d.mmd(histogram("angle", CH=[100]), histogram("angle", CH=[110]), types=TYPES)
    assert found.value == pytest.approx(expected)


def test_mmd_averages_over_the_listed_types_that_occur():
    sample = histogram("length", CH=[1.0, 1.1], CC=[1.5])
    reference = histogram("length", CH=[1.0, 1.2], CN=[1.4])
    found = d.mmd(sample, reference, types={"length": ("C-H", "C-C", "C-N")})
    assert found.covered == pytest.approx(1 / 3)
    assert set(found.types) == {"C-H"}
    assert found.counts == {"C-H": 2, "C-C": 1, "C-N": 0}
    assert d.mmd(reference, reference, types={"length": ("C-N",)}).value == 0
    assert math.isnan(d.mmd(histogram("length"), reference).value)
    with pytest.raises(ValueError, match="n = 0"):
        d.mmd(sample, reference, n=0)


def test_mmd_draws_n_without_replacement_and_repeatably():
    rng = np.random.default_rng(3)
    x, y = histogram("length", CH=rng.normal(1, 0.1, 4000)), histogram("length", CH=rng.normal(1, 0.1, 4000))
    few = d.mmd(x, y, types={"length": ("C-H",)}, n=200)
    assert few.counts == {"C-H": 200}
    assert few.value == d.mmd(x, y, types={"length": ("C-H",)}, n=200).value
    # the bias of the V-statistic falls as 1 / n
    assert few.value > 3 * d.mmd(x, y, types={"length": ("C-H",)}).value
    # equal sets are drawn independently
    assert d.mmd(x, x, types={"length": ("C-H",)}, n=200).value > 0


def test_mmd_of_runaway_values_stays_affordable():
    x = histogram("length", CH=[1.0] * 50 + [1e6])
    y = histogram("length", CH=[1.1] * 50 + [2.0])
    expected = direct_mmd(np.array([1.0] * 50 + [1e6]), np.array([1.1] * 50 + [2.0]))
    assert d.mmd(x, y, types={"length": ("C-H",)}).value == pytest.approx(expected, rel=1e-2, abs=1e-5)


def test_jodo_lists():
    for lists in d.JODO_TYPES.values():
        for names in lists.values():
            assert len(set(names)) == 8
            assert [type_name(type_code(name)) for name in names] == list(names)
    # as JODO writes them: H1C-C1C-C1O, C1N-N1C-C1C, O1C-C1H, C2C-C1C
    assert "H-C-C-O" in d.JODO_TYPES["qm9"]["torsion"]
    assert type_name(type_code("C-N-C-C")) in d.JODO_TYPES["qm9"]["torsion"]
    assert type_name(type_code("O-C-H")) in d.JODO_TYPES["qm9"]["angle"]
    assert type_name(type_code("C=C-C")) in d.JODO_TYPES["qm9"]["angle"]


def test_wasserstein_is_scipys():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=70), rng.exponential(size=41).round(1)
    assert d.wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second))
    assert d.wasserstein([0, 0, 1], [3]) == pytest.approx(8 / 3)
    assert math.isnan(d.wasserstein([], [1.0]))
    with pytest.raises(ValueError, match="finite"):
        d.wasserstein([math.inf], [1.0])


def test_total_variation_by_hand():
    assert d.total_variation({"C": 3, "H": 1}, {"C": 1, "O": 1}) == pytest.approx((0.25 + 0.25 + 0.5) / 2)
    assert d.total_variation({6: 2}, {6: 5}) == 0
    assert d.total_variation({5: 2}, {6: 5}) == 1
    assert math.isnan(d.total_variation({}, {6: 5}))


def test_bootstrap_of_a_mean_is_the_textbook_interval():
    values = np.random.default_rng(5).normal(3, 2, 2000)
    low, high = d.bootstrap(values, resamples=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_bootstrap_of_another_statistic():
    values = np.arange(101.0)
    low, high = d.bootstrap(values, statistic=np.median, resamples=300)
    assert low < 50 < high
    assert d.bootstrap(values, statistic=np.max, resamples=300)[1] == 100
    assert d.bootstrap(np.full(7, 2.5)) == (2.5, 2.5)
    assert all(math.isnan(q) for q in d.bootstrap(np.zeros(0)))
    assert d.bootstrap(np.ones((5, 2)), resamples=10) == (1.0, 1.0)
    with pytest.raises(ValueError, match="resamples"):
        d.bootstrap(values, resamples=0)


def test_draws_have_n_each_and_repeat():
    draws = list(d.bootstrap_draws(10, 4, seed=1))
    assert [draw.sum() for draw in draws] == [10] * 4
    assert all((a == b).all() for a, b in zip(draws, d.bootstrap_draws(10, 4, seed=1), strict=True))
    assert not (draws[0] == draws[1]).all()
