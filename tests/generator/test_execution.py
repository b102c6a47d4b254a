"""How a generator runs its network: compiled where it pays, and never at the price of a sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moldiff.generator import Generator
from moldiff.generator.execution import PAYS, Execution
from moldiff.networks import compilation
from moldiff.networks.weights import build

from .conftest import config


def make(**choices: str) -> Generator:
    model = config({"4": 1, "5": 1})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(build(model), model, **{"device": "cpu", "precision": "fp32", **choices})


def test_large_samples_are_compiled_on_a_cpu_unless_told_otherwise() -> None:
    assert not make().execution.pays(PAYS - 1)
    assert make().execution.pays(PAYS)
    assert make(compile="on").execution.pays(1)
    assert not make(compile="off").execution.pays(PAYS)


def test_a_network_of_ones_own_is_left_alone() -> None:
    def network(*arguments: Any) -> Any:
        raise NotImplementedError

    assert not Execution(network, compile="on").pays(PAYS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("precision", "int8"), ("compile", "yes")])
def test_an_unknown_choice_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be auto, .* not '{value}'"):
        make(**{name: value})


def test_without_a_compiler_the_sample_is_the_uncompiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(compilation, "_compiled", broken)
    generator = make(compile="on")
    with pytest.warns(UserWarning, match="runs uncompiled, since torch.compile failed"):
        drawn = generator.draw(6, seed=3)
    again = generator.draw(6, seed=3)  # is not tried twice
    plain = make(compile="off").draw(6, seed=3)
    assert torch.equal(drawn.positions, plain.positions) and torch.equal(drawn.elements, plain.elements)
    assert torch.equal(again.positions, plain.positions)


def test_parts_run_compiled_while_drawing_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def recorded(function: Any) -> Any:
        called.append(function.__qualname__)
        return function

    monkeypatch.setattr(compilation, "_compiled", recorded)
    generator = make(compile="on")
    drawn = generator.draw(6, seed=3)
    assert set(called) == {"Block.forward", "PairFeatures.forward", "SymbolHeads.forward"}
    assert generator.network.compiled == "never"
    assert torch.equal(drawn.positions, make(compile="off").draw(6, seed=3).positions)
