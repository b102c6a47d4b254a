"""Binned internal coordinates."""

import numpy as np
import pytest

from moldiff.molecules.geometry import type_code
from moldiff.molecules.histograms import WIDTHS, Histogram, Measured

CH, CC = type_code("C-H"), type_code("C-C")


def equal(first: Histogram, second: Histogram) -> bool:
    pairs = zip(first._columns(), second._columns(), strict=True)
    return first.kind == second.kind and all(np.array_equal(a, b) for a, b in pairs)


def test_equal_values_share_a_bin():
    found = Histogram.of("length", np.array([CH, CC, CH, CH]), np.array([1.09, 1.5, 1.09, 1.0]))
    assert found.total == 4
    assert found.types() == {"C-H": 3, "C-C": 1}
    assert sorted(zip(found.codes.tolist(), found.bins.tolist(), found.counts.tolist(), strict=True)) == sorted(
        [(CC, 3000, 1), (CH, 2000, 1), (CH, 2180, 2)]
    )
    assert (found.bins * WIDTHS["length"]).max() == pytest.approx(1.5)


def test_merge_is_the_histogram_of_all():
    rng = np.random.default_rng(0)
    codes, values = rng.choice([CH, CC], 500), rng.normal(1.3, 0.1, 500)
    parts = Histogram.of("length", codes[:200], values[:200]).merge(Histogram.of("length", codes[200:], values[200:]))
    assert equal(parts, Histogram.of("length", codes, values))
    with pytest.raises(ValueError, match="torsion"):
        parts.merge(Histogram.of("torsion", codes, values))


@pytest.mark.parametrize("size", [0, 1, 700])
def test_stored_and_read_again(size, tmp_path):
    rng = np.random.default_rng(size)
    found = Histogram.of("torsion", rng.choice([CH, CC], size), rng.uniform(-180, 180, size))
    np.savez(tmp_path / "h.npz", **found.arrays("t_"), packed=found.pack())
    with np.load(tmp_path / "h.npz", allow_pickle=False) as stored:
        assert equal(Histogram.from_arrays(stored, "t_"), found)
        assert equal(Histogram.unpack(stored["packed"]), found)
        with pytest.raises(ValueError, match="u_kind"):
            Histogram.from_arrays(stored, "u_")


def test_damaged_bytes_are_refused():
    packed = Histogram.of("length", np.array([CH]), np.array([1.09])).pack()
    for wrong in (packed[:10], np.zeros(40, np.uint8), np.zeros(0, np.uint8)):
        with pytest.raises(ValueError, match="packed"):
            Histogram.unpack(wrong)


def test_join_keeps_the_owners_and_weights_count():
    one = {kind: (np.array([CH, CH]), np.array([1.0, 2.0])) for kind in WIDTHS}
    none = {kind: (np.zeros(0, np.int64), np.zeros(0)) for kind in WIDTHS}
    joined = Measured.join([one, none, one])["length"]
    assert joined.owners.tolist() == [0, 0, 2, 2]
    assert joined.structures == 3
    assert joined.histogram().counts.tolist() == [2, 2]
    assert joined.histogram(np.array([3, 1, 0])).counts.tolist() == [3, 3]
    assert joined.histogram(np.array([0, 3, 0])).total == 0
    with pytest.raises(ValueError, match="2 weights"):
        joined.histogram(np.ones(2))
    assert Measured.join([])["angle"].histogram().total == 0


def test_bad_values():
    with pytest.raises(ValueError, match="finite"):
        Histogram.of("length", np.array([CH]), np.array([np.nan]))
    with pytest.raises(ValueError, match="kind"):
        Histogram.of("dihedral", np.array([CH]), np.array([1.0]))
    assert Histogram.of("length", np.array([CH]), np.array([1e300])).total == 1
