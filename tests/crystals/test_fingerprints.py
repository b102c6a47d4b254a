"""Fingerprints against matminer's own, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("matminer")

from ase.build import bulk
from matminer.featurizers.composition.composite import ElementProperty
from matminer.featurizers.site.fingerprint import CrystalNNFingerprint
from pymatgen.core import Composition, Structure

from moldiff.crystals import fingerprints
from moldiff.crystals.scaler import DEVIATIONS, MEANS

SALT = bulk("NaCl", "rocksalt", a=5.64)


def test_the_structure_fingerprint_is_matminers_averaged_over_sites() -> None:
    rng = np.random.default_rng(0)
    numbers, places, cell = np.array([22, 8, 8, 38]), rng.random((4, 3)), np.diag([3.9, 4.2, 5.5]) + 0.3
    structure = Structure(cell, numbers, places)
    maker = CrystalNNFingerprint.from_preset("ops")
    expected = np.mean([maker.featurize(structure, site) for site in range(4)], axis=0)
    found = fingerprints.structure_fingerprint(numbers, places, cell)
    assert found.shape == (fingerprints.STRUCTURE_SIZE,)
    np.testing.assert_allclose(found, expected, atol=2 * fingerprints.NEGLIGIBLE)


def test_equivalent_sites_are_counted_as_often_as_they_occur() -> None:
    cubic = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    one, eight = (
        fingerprints.structure_fingerprint(atoms.numbers, atoms.get_scaled_positions(), np.array(atoms.cell))
        for atoms in (SALT, cubic)
    )
    np.testing.assert_allclose(one, eight, atol=1e-6)
    maker = CrystalNNFingerprint.from_preset("ops")
    octahedral = maker.feature_labels().index("octahedral CN_6")
    assert one[octahedral] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("formula", ["NaCl", "LiFePO4", "Cu", "Xe2O", "U3O8", "CsPbI3"])
def test_the_composition_fingerprint_is_magpie_standardised(formula: str) -> None:
    composition = Composition(formula)
    numbers = [element.Z for element, count in composition.items() for _ in range(int(count))]
    raw = np.array(ElementProperty.from_preset("magpie").featurize(composition))
    expected = np.nan_to_num((raw - np.array(MEANS)) / np.array(DEVIATIONS))
    np.testing.assert_allclose(fingerprints.composition_fingerprint(numbers), expected, atol=1e-9)
    np.testing.assert_allclose(fingerprints.composition_fingerprint(numbers * 3), expected, atol=1e-9)


def test_compositions_without_data_are_refused() -> None:
    for numbers in ([], [0, 8], [118]):
        with pytest.raises(ValueError, match="no Magpie data"):
            fingerprints.composition_fingerprint(numbers)


def test_the_scaler_is_whole() -> None:
    assert len(MEANS) == len(DEVIATIONS) == fingerprints.COMPOSITION_SIZE
    assert min(DEVIATIONS) > 0 and all(math.isfinite(mean) for mean in MEANS)
