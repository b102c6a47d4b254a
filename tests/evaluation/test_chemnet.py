"""Frechet distance by hand and by a general matrix root; ChemNet against fcd_torch's own loop."""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moldiff.data.archive import Archive
from moldiff.evaluation import cache, chemnet, evaluate
from moldiff.evaluation.chemnet import Gaussian, distance, frechet


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the tests lands in the user's cache."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "own")


needs_fcd = pytest.mark.skipif(importlib.util.find_spec("fcd_torch") is None, reason="fcd_torch is not installed")


def test_distance_by_hand() -> None:
    # diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2 over the deviations s
    first = Gaussian(np.array([0.0, 0.0]), np.diag([4.0, 9.0]), count=9)
    second = Gaussian(np.array([3.0, 4.0]), np.diag([1.0, 25.0]), count=9)
    assert distance(first, second) == pytest.approx(25 + 1 + 4)
    assert distance(first, first) == pytest.approx(0, abs=1e-12)


def test_distance_is_that_of_the_general_matrix_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) + 1
    c1, c2 = np.cov(one.T), np.cov(two.T)
    expected = ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real)
    assert distance(Gaussian.of(one), Gaussian.of(two)) == pytest.approx(expected)


def test_weights_are_repetitions() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3))
    weights = np.array([0, 2, 1, 3, 0])
    drawn, repeated = Gaussian.of(values, weights), Gaussian.of(np.repeat(values, weights, 0))
    assert drawn.count == repeated.count == 6
    np.testing.assert_allclose(drawn.mean, repeated.mean)
    np.testing.assert_allclose(drawn.covariance, np.cov(np.repeat(values, weights, 0), rowvar=False))


def test_interval_and_too_few() -> None:
    rng = np.random.default_rng(0)
    reference, values = Gaussian.of(rng.normal(size=(200, 3))), rng.normal(size=(100, 3)) + 0.5
    found = frechet(values, reference, 120)["fcd"]
    assert found["low"] < found["value"] < found["high"] and (found["n"], found["of"]) == (100, 120)
    assert math.isnan(frechet(values, reference, 120, intervals=False)["fcd"]["low"])
    assert math.isnan(frechet(values[:1], reference, 120)["fcd"]["value"])
    assert math.isnan(frechet(values, Gaussian.of(values[:1]), 120)["fcd"]["value"])


@needs_fcd
def test_activations_are_those_of_fcd_torch() -> None:
    smiles = ["CCO", "c1ccncc1", "CCO", "no molecule", "CC(=O)C"]
    found = chemnet.activations(smiles)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module("fcd_torch").FCD(device="cpu", n_jobs=1)
        expected = theirs.get_predictions(["CCO", "c1ccncc1", "CCO", "CC(=O)C"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert chemnet.activations([]).shape == (0, 512)


@needs_fcd
def test_a_reference_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    smiles = ["CCO", "c1ccncc1", "CC(=O)C"]
    expected = Gaussian.of(chemnet.activations(smiles))
    first = chemnet.known(smiles)
    (path,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(chemnet, "activations", lambda smiles, progress: pytest.fail("computed again"))
        second = chemnet.known(smiles)
    for found in (first, second):
        np.testing.assert_array_equal(found.mean, expected.mean)
        np.testing.assert_array_equal(found.covariance, expected.covariance)
        assert found.count == 3
    assert chemnet.known(smiles[:2]).count == 2, "other molecules are another reference"
    path.write_bytes(b"no archive")
    assert chemnet.known(smiles).count == 3
    monkeypatch.setattr(cache, "cache_folder", lambda: path / "below a file")
    assert chemnet.known(smiles).count == 3, "nowhere to keep it"


@needs_fcd
def test_evaluation_gives_it_with_a_floor(archive: Archive, embedded: Callable[..., Any]) -> None:
    metric = evaluate([embedded("CCO"), embedded("CCC"), None], reference=archive, jobs=0).metrics["fcd"]
    assert (metric["n"], metric["of"]) == (2, 3)
    assert metric["value"] > 0 and metric["floor"] > 0


def test_without_fcd_torch_it_is_left_out(
    archive: Archive, embedded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chemnet, "installed", lambda: False)
    assert "fcd" not in evaluate([embedded("CCO"), embedded("CCC")], reference=archive, jobs=0).metrics
