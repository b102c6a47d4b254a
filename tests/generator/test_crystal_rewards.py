"""Rewards of crystals by name against known crystals."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
from ase.build import bulk

from moldiff.config import ModelConfig, PropertyConfig
from moldiff.data.demo_crystals import demo_crystal_archive
from moldiff.generator.crystal_rewards import BALANCED, NAMED, named, operations
from moldiff.training.describe import describe_model


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return describe_model(demo_crystal_archive(), data="demo")


def test_density_in_grams_or_in_deviations_of_training(config: ModelConfig) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    assert named("density", config)([salt]) == pytest.approx([2.163], abs=0.01)
    trained = dataclasses.replace(config, properties=(PropertyConfig("density", "g/cm^3", 4.0, 2.0, 0.5, 20.0),))
    assert named("density", trained)([salt]) == pytest.approx([2.163 / 2], abs=0.01)


def test_charges_that_can_balance(config: ModelConfig) -> None:
    pytest.importorskip("smact")
    crystals = [bulk("NaCl", "rocksalt", a=5.64), bulk("NaCl2", "fluorite", a=6.0), bulk("LiF", "rocksalt", a=4.0)]
    assert named("smact", config)(crystals) == [BALANCED, 0, BALANCED]


def test_symmetry_counts_doublings(config: ModelConfig) -> None:
    pytest.importorskip("spglib")
    salt = bulk("NaCl", "rocksalt", a=5.64)
    strained = salt.copy()
    strained.set_cell(np.array(salt.cell) + 0.3 * np.arange(9).reshape(3, 3) ** 0.5, scale_atoms=True)
    high, low = named("symmetry", config)([salt, strained])
    assert high == pytest.approx(np.log2(48)) and 0 <= low < high


def test_operations_are_those_of_the_point_group() -> None:
    groups = pytest.importorskip("pymatgen.symmetry.groups")
    for number in range(1, 231):
        space = groups.SpaceGroup.from_int_number(number)
        assert operations(number) == len({op.rotation_matrix.round().tobytes() for op in space.symmetry_ops}), number
    with pytest.raises(ValueError, match="space group 231: choose a number from 1 to 230"):
        operations(231)


def test_unknown_names_and_missing_packages(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown reward 'qed': choose from density, smact, symmetry, or give a func"):
        named("qed", config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in set(NAMED) - {"density"}:
        with pytest.raises(ImportError, match=r"pip install 'moldiff\[crystal\]'"):
            named(name, config)
