"""Targets reach the network, decide the atom counts, and are refused or warned about where they make no sense."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.config import PropertyConfig
from moldiff.data.sizes import SizeTable
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.generator import Generator
from moldiff.state import State

from .conftest import Oracle, config

GAP = PropertyConfig("gap", "eV", 5.0, 2.0, 0.2, 16.9)
LOGP = PropertyConfig("logp", "", 0.3, 1.0, -4.6, 3.8)


class Told(Oracle):
    """Remembers what it was told, and answers methane."""

    def __init__(self) -> None:
        super().__init__(lambda b: torch.ones(b, dtype=torch.bool))
        self.conditions: list[Condition | None] = []

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        self.conditions.append(condition)
        guess = super().__call__(state, clocks, condition, previous, preconditioning)
        return dataclasses.replace(
            guess, properties=state.field("positions").square().sum((1, 2))[:, None].expand(-1, 2)
        )


def generator(
    sizes: dict[str, int] | None = None, *, data: str = "qm9", path: Path | None = None
) -> tuple[Generator, Told]:
    settings = dataclasses.replace(config(sizes), data=data, properties=(GAP, LOGP))
    network = Told()
    return Generator(network, settings, path=path, precision="fp32", device="cpu"), network


def test_properties_name_unit_level_and_range() -> None:
    gap, logp = generator()[0].properties
    assert (gap.name, gap.unit, gap.level, gap.low, gap.high, gap.mean) == ("gap", "eV", "GFN2-xTB", 0.2, 16.9, 5.0)
    assert (logp.level, logp.unit) == ("RDKit", "")
    assert "mine" in generator(data="mine")[0].properties[0].level


@pytest.mark.parametrize(("guidance", "evaluations"), [(1.0, 1), (1.5, 2), (0.0, 1)])
def test_targets_reach_the_network_and_evaluations_are_counted(guidance: float, evaluations: int) -> None:
    gen, network = generator()
    mols = gen.sample(4, target={"gap": 5.5}, guidance=guidance, steps=3, progress=False)
    assert mols.report.evaluations == 3 * evaluations == network.calls
    shown = [c for c in network.conditions if c is not None]
    assert len(shown) == (0 if guidance == 0 else 3)
    for c in shown:
        assert c.values.shape == c.shown.shape == (4, 2)
        assert c.shown.tolist() == [[True, False]] * 4 and c.values[0, 0] == 5.5
    assert f"target: gap 5.5 eV; guidance {guidance:g}" in str(mols.report)


@pytest.mark.parametrize(("guidance", "calls", "evaluations"), [(0.0, 1, 3), (1.0, 2, 4), (2.0, 2, 4)])
def test_the_slope_of_the_head_is_followed_and_counted(guidance: float, calls: int, evaluations: int) -> None:
    gen, network = generator()
    mols = gen.sample(4, target={"gap": 5.5}, guidance=guidance, gradient=20, steps=3, progress=False)
    assert mols.report.evaluations == 3 * evaluations and network.calls == 3 * calls
    assert f"target: gap 5.5 eV; guidance {guidance:g}, gradient 20" in str(mols.report)
    assert len(mols) == 4
    with pytest.raises(ValueError, match="needs a target"):
        gen.stream(2, gradient=5.0)
    with pytest.raises(ValueError, match="gradient must be"):
        gen.stream(2, target={"gap": 5.5}, gradient=-5.0)


def test_without_a_target_nothing_changes() -> None:
    gen, network = generator()
    first = gen.draw(4, steps=3)
    again = gen.draw(4, steps=3, guidance=3.0)
    assert torch.equal(first.field("positions"), again.field("positions"))
    assert network.conditions == [None] * 6


def test_an_unknown_name_lists_the_known_ones() -> None:
    gen, _ = generator()
    with pytest.raises(ValueError, match=r"unknown property 'bandgap': this model knows gap, logp"):
        gen.sample(2, target={"bandgap": 1.0})
    with pytest.raises(ValueError, match="trained without properties"):
        Generator(Told(), config(), device="cpu").sample(2, target={"gap": 1.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, "5", True, None])
def test_a_target_must_be_a_finite_number(value: object) -> None:
    with pytest.raises(ValueError, match="target of gap must be a finite number"):
        generator()[0].draw(2, target={"gap": value})  # type: ignore[dict-item]


def test_other_wishes_are_refused_at_once() -> None:
    gen, _ = generator()
    with pytest.raises(ValueError, match="guidance must be"):
        gen.stream(2, target={"gap": 5.0}, guidance=-1.0)
    with pytest.raises(ValueError, match=r"unknown option 'targets': choose from target, guidance"):
        gen.stream(2, targets={"gap": 5.0})  # type: ignore[call-arg]


def test_a_target_outside_the_range_warns_with_the_range() -> None:
    gen, _ = generator()
    with pytest.warns(UserWarning, match=r"target gap = 20 eV is outside the 0.2 to 16.9 eV of the training set"):
        gen.draw(1, target={"gap": 20}, steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gen.draw(1, target={"gap": 16.9, "logp": -4.6}, steps=1)


def test_atom_counts_follow_the_target_where_the_table_is_at_hand(tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", data=np.array("toy"))
    histograms = np.array([[[1000, 50, 0]], [[0, 50, 1000]]])
    table = SizeTable(("gap",), np.array([3, 5]), np.array([1050, 1050]), np.array([[3.0, 5.0]]), histograms)
    table.add_to(tmp_path / "reference.npz")
    sizes = {"3": 100, "5": 100}
    gen, _ = generator(sizes, path=tmp_path / "model.safetensors")
    # 1 % are of the other size, since the table holds every bin open
    assert gen.draw(60, target={"gap": 6.0}, steps=1).n_atoms.tolist().count(5) > 52
    assert gen.draw(60, target={"gap": 2.0}, steps=1).n_atoms.tolist().count(3) > 52
    assert gen.draw(3, target={"gap": 2.0}, n_atoms=5, steps=1).n_atoms.tolist() == [5] * 3
    # half way, and without the table, both sizes come
    assert set(gen.draw(60, target={"gap": 4.0}, steps=1).n_atoms.tolist()) == {3, 5}
    assert set(generator(sizes)[0].draw(60, target={"gap": 6.0}, steps=1).n_atoms.tolist()) == {3, 5}
