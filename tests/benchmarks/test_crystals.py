"""The benchmark of crystals on an untrained network: what is given is kept, and the table has a row a number."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("pymatgen")

import common
import crystals

import moldiff
from moldiff.config import NetworkConfig
from moldiff.data.demo_crystals import demo_crystal_archive
from moldiff.networks import weights
from moldiff.training.describe import describe_model

TINY = NetworkConfig(
    scalars=16, vectors=8, pairs=8, pair_hidden=16, heads=2, products=4, blocks=1, condition=16, radial=8
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network that was never trained."""
    config = dataclasses.replace(describe_model(demo_crystal_archive(), data="demo"), network=TINY)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    weights.save(path, config, tensors=dict(weights.build(config).state_dict()))
    return path


def test_predictions_keep_their_compositions_and_their_order(model: Path) -> None:
    generator = moldiff.load(model, device="cpu")
    archive = demo_crystal_archive()
    numbers = [archive.record(row).numbers for row in range(7)]
    found = crystals.predict(generator, numbers, seed=3, steps=2, batch_size=3)
    assert [one.numbers.tolist() for one in found] == [one.tolist() for one in numbers]
    again = crystals.predict(generator, numbers, seed=3, steps=2, batch_size=3)
    assert all(np.array_equal(a.fractional, b.fractional) for a, b in zip(found, again, strict=True))


def test_both_kinds_make_a_table(model: Path, tmp_path: Path) -> None:
    archive = demo_crystal_archive()
    archive = dataclasses.replace(archive, split=np.full(len(archive), 2, np.int8)).select(np.arange(12))
    archive.save(tmp_path / "demo.npz")
    args = argparse.Namespace(data=tmp_path / "demo.npz", seed=0, batch=4, jobs=0)
    csp = crystals.run(moldiff.load(model, device="cpu"), "csp", 3, 2, args=args)
    assert csp["evaluation"]["metrics"]["same_composition"]["value"] == 1 and csp["n"] == 3
    real = moldiff.evaluate(archive.select([0, 1, 1]), reference=None, jobs=0)
    denovo = {**csp, "kind": "denovo", "evaluation": json.loads(real.to_json())}
    text = crystals.table({("csp", 2): csp, ("denovo", 2): denovo, ("denovo", 10): denovo})
    assert "| match rate, % |" in text and "| structure valid, % | 100.0 (" in text
    assert "| From nothing | 2 steps | 10 steps | real crystals |" in text


def test_the_table_is_that_of_the_results() -> None:
    assert (common.RESULTS / "crystals-mp20.md").read_text() == crystals.table(crystals.stored("mp20"))


def test_results_of_other_weights_do_not_share_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="no results crystals-toy"):
        crystals.stored("toy")
    one = {"kind": "csp", "steps": 50, "model": {"name": "toy", "facts": {"passes": "64000"}}}
    other: dict[str, Any] = copy.deepcopy(one) | {"steps": 100}
    common.write_json("crystals-toy-csp-50", one)
    common.write_json("crystals-toy-csp-100", other)
    common.write_json("crystals-toy-two-csp-50", {})  # of another name
    assert crystals.stored("toy") == {("csp", 50): one, ("csp", 100): other}
    other["model"]["facts"]["passes"] = "128000"
    common.write_json("crystals-toy-csp-100", other)
    both = r"crystals-toy-csp-100\.json after 128,000 passes, crystals-toy-csp-50\.json after 64,000 passes"
    with pytest.raises(ValueError, match=both):
        crystals.stored("toy")
