"""How a generator runs its network: compiled where it pays, and never at the price of a sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import moldiff
from moldiff.generator import Generator, execution
from moldiff.generator.execution import PAYS, Execution, halved
from moldiff.networks.compilation import choose, eager, unlocked
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

    def example(sizes: list[int]) -> Any:
        raise NotImplementedError

    assert not Execution(network, example=example, compile="on").pays(PAYS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("precision", "int8"), ("compile", "yes")])
def test_an_unknown_choice_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be auto, .* not '{value}'"):
        make(**{name: value})


def test_without_a_compiler_the_sample_is_the_uncompiled_one(broken_compiler: None) -> None:
    generator = make(compile="on")
    with pytest.warns(UserWarning, match="runs uncompiled, since torch.compile failed"):
        drawn = generator.draw(6, seed=3)
    again = generator.draw(6, seed=3)  # is not tried twice
    plain = make(compile="off").draw(6, seed=3)
    assert torch.equal(drawn.positions, plain.positions) and torch.equal(drawn.elements, plain.elements)
    assert torch.equal(again.positions, plain.positions)


def test_parts_run_compiled_while_drawing_and_not_after(recorded_compiler: list[str]) -> None:
    generator = make(compile="on")
    drawn = generator.draw(6, seed=3)
    assert set(recorded_compiler) == {"Block.forward", "PairFeatures.forward", "SymbolHeads.forward"}
    with torch.no_grad():
        assert choose(generator.network.compiled, torch.ones(8, 8, dtype=torch.bool)) is eager
    assert torch.equal(drawn.positions, make(compile="off").draw(6, seed=3).positions)


def test_what_runs_within_another_context_does_not_end_it() -> None:
    generator = make(compile="on")
    generator.execution._works = {torch.get_num_threads(): True}
    mask = torch.ones(8, 8, dtype=torch.bool)
    with torch.no_grad():
        with generator.execution.running():
            generator.execution.compile = "off"
            with generator.execution.running():  # a reward that asks the same model
                assert choose(generator.network.compiled, mask) is eager
            assert choose(generator.network.compiled, mask) is unlocked
        assert choose(generator.network.compiled, mask) is eager


def test_steering_by_gradients_compiles_nothing(recorded_compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "PAYS", 1)
    generator = moldiff.load("qm9", device="cpu")
    generator.draw(2, seed=0, steps=1, target={"gap": 5.0}, gradient=5.0)
    assert not recorded_compiler
    generator.draw(2, seed=0, steps=1, target={"gap": 5.0})
    assert recorded_compiler


@pytest.mark.parametrize("name", ["qm9", "mp20"])
def test_weights_held_in_half_precision_change_no_bit(name: str) -> None:
    ours, plain = moldiff.load(name, device="cpu", precision="bf16"), moldiff.load(name, device="cpu", precision="fp32")
    assert all(p.dtype == torch.float32 for p in plain.network.parameters())
    kinds = {p.dtype for p in ours.network.parameters()}
    assert kinds == {torch.bfloat16, torch.float32}  # norms stay as they are
    drawn = ours.draw(5, seed=1, steps=4)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain.draw(5, seed=1, steps=4)
    for field in drawn.present:
        assert torch.equal(drawn.field(field), expected.field(field)), field
    network = plain.network
    assert halved(network) is not network and next(network.parameters()).dtype == torch.float32
