"""One crystal alone: whatever the arrays hold, there is a line with a reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pymatgen")

from moldiff.crystals.matching import STRICT
from moldiff.crystals.validity import REASONS
from moldiff.evaluation import crystal_analyse

NUMBER = st.floats(-1e3, 1e3) | st.sampled_from([math.nan, math.inf, 0.0, 1e-9, 0.5, 1e30])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 120), NUMBER, NUMBER, NUMBER), max_size=5),
    st.lists(NUMBER, min_size=9, max_size=9),
)
def test_anything_gets_a_verdict(atoms: list[tuple[int, float, float, float]], cell: list[float]) -> None:
    numbers = np.array([atom[0] for atom in atoms], dtype=np.int64)
    places = np.array([atom[1:] for atom in atoms], dtype=np.float64).reshape(-1, 3)
    with np.errstate(all="ignore"):
        row = crystal_analyse.judge((numbers, places, np.array(cell).reshape(3, 3)))
    assert row["reason"] in REASONS
    assert row["valid"] is False and row["atoms"] == len(atoms)
    assert row["reason"] == "ok" or row["message"]
    if row["structure_valid"]:
        assert math.isfinite(row["density"]) and row["volume"] >= 0.1


def test_formulas_are_reduced() -> None:
    assert crystal_analyse.formula([8, 8, 8, 8, 22, 22]) == "O2Ti"
    assert crystal_analyse.formula([]) == ""
    assert crystal_analyse.formula([119, 8]) == "Z8:1 Z119:1"


def test_pairs() -> None:
    salt = (np.array([11, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), 4.0 * np.eye(3))
    small = crystal_analyse.reduced(salt)
    assert crystal_analyse.match((small, small), tolerances=STRICT) is True
    assert crystal_analyse.rms((salt, salt)) == pytest.approx(0)
    copper = (np.array([29]), np.zeros((1, 3)), 3.0 * np.eye(3))
    assert crystal_analyse.rms((salt, copper)) is None


def test_fingerprints_are_finite_float32() -> None:
    pytest.importorskip("matminer")
    salt = (np.array([55, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), 4.12 * np.eye(3))
    found = crystal_analyse.fingerprint(salt)
    assert found.shape == (61,) and found.dtype == np.float32 and np.isfinite(found).all()
    for name in ("judge", "fingerprint", "match"):
        crystal_analyse.warm(name)
