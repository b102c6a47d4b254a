"""The numbers of the conditional benchmark on cases worked out by hand, and a file that goes on where it stopped."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import conditional
import numpy as np
import pytest
import torch

from moldiff.config import SamplerConfig, to_dict
from moldiff.data.archive import Archive
from moldiff.denoiser import Prediction
from moldiff.molecules.convert import Arrays


def archive(values: list[float], atoms: list[int], split: list[int]) -> Archive:
    records = [Arrays(np.ones(n), np.zeros((n, 3)), np.zeros(n), np.zeros((n, n))) for n in atoms]
    return Archive.build(
        records,
        smiles=["[H]"] * len(atoms),
        split=np.array(split),
        properties=np.array(values)[:, None],
        property_names=["gap"],
        property_units=["eV"],
        index=np.arange(len(atoms)),
    )


def test_the_random_baseline_is_the_mean_difference_of_two_targets() -> None:
    assert conditional.random_error(np.array([1.0, 2.0, 4.0])) == pytest.approx((1 + 3 + 2) / 3)


def test_baselines_look_at_training_molecules_of_the_same_size_only() -> None:
    data = archive([1.0, 3.0, 10.0, 5.0, 0.0], [4, 4, 4, 6, 4], [0, 0, 0, 0, 2])
    values = conditional.column(data, "gap")
    found = conditional.baselines(data, values, np.array([2.0, 4.5]), np.array([4, 6]))
    assert found["right_atom_count"] == pytest.approx(((1 + 1 + 8) / 3 + 0.5) / 2)
    assert found["nearest_training_molecule"] == pytest.approx((1 + 0.5) / 2)
    # no training molecule of that size: any
    assert conditional.baselines(data, values, np.array([5.0]), np.array([9]))["nearest_training_molecule"] == 0


def test_what_cannot_be_calculated_counts_as_the_random_baseline() -> None:
    found = np.array([1.0, np.nan, 2.0, 7.0])
    table = conditional.errors(found, np.array([1.5, 1.0, 2.0, 2.0]), np.array([True, True, False, True]), 3.0)
    assert table["mae"]["value"] == pytest.approx((0.5 + 3 + 0 + 5) / 4) and table["mae"]["n"] == 4
    assert table["share"] == pytest.approx(8.5 / 12)
    assert table["mae_valid"]["value"] == pytest.approx(2.75) and table["mae_valid"]["n"] == 2
    assert table["not_calculated"] == 1
    nothing = conditional.errors(np.array([np.nan]), np.array([1.0]), np.array([True]), 3.0)
    assert nothing["share"] == 1 and nothing["share_valid"] is None


def test_a_run_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[Any] = []
    monkeypatch.setattr(conditional, "RESULTS", tmp_path)

    def write(name: str, content: dict[str, Any]) -> None:
        written.append(name)
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    monkeypatch.setattr(conditional, "write_json", write)
    content = {"model": {"name": "toy"}, "settings": {"n": 3}, "seconds": 0.0}
    results = conditional.Results.__new__(conditional.Results)
    results.name, results.content = "conditional-toy", content
    results.run(("properties", "gap", "guidance 1"), lambda: {"mae": {"value": float("nan")}})
    results.run(("properties", "gap", "guidance 1"), lambda: pytest.fail("it is known"))
    stored = json.loads((tmp_path / "conditional-toy.json").read_text())
    assert stored["properties"]["gap"]["guidance 1"]["mae"]["value"] is None and written == ["conditional-toy"]
    assert conditional.setting(1.5, 0, 1) == "guidance 1.5"
    assert conditional.setting(0, 20, 4) == "guidance 0, gradient 20, 4 particles"


def test_a_run_goes_on_with_the_same_sampler_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(conditional, "RESULTS", tmp_path)
    shipped = SamplerConfig(steps=50, churn=0.4, temperature=0.7, bond_shares=(0.8, 0.1, 0.05, 0.05))
    generator: Any = SimpleNamespace(name="toy", config=SimpleNamespace(facts={"passes": "1"}), sampler=shipped)

    def started(steps: int | None) -> dict[str, Any]:
        args = argparse.Namespace(n=3, seed=0, steps=steps, data=Path("toy.npz"), batch_size=64, fresh=False)
        return conditional.Results("toy", generator, args).content

    first = started(20)
    assert first["settings"]["sampler"] == to_dict(shipped.in_steps(20))
    (tmp_path / "conditional-toy.json").write_text(json.dumps(first | {"seconds": 5.0}))
    assert started(20)["seconds"] == 5 and started(None)["seconds"] == 0
    generator.sampler = dataclasses.replace(shipped, churn=0.3)
    assert started(20)["seconds"] == 0


def test_evaluations_are_counted_with_their_backward_passes() -> None:
    cost = conditional.Cost()
    plain = cost.counted(lambda *_: Prediction())
    state: Any = [None] * 5  # a batch of five
    with torch.no_grad():
        plain(state, None)
    with torch.enable_grad():
        plain(state, None)
    assert cost.structures == 5 * 1 + 5 * 3
