"""Parts of a trunk compiled: chosen where it helps, the same numbers, and no harm where it does not work."""

from __future__ import annotations

import functools
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters

from moldiff.config import DiffusionConfig, LatticeConfig, NetworkConfig
from moldiff.data.batching import blank_crystals
from moldiff.denoiser import Clocks
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.networks import compilation
from moldiff.networks.compilation import choose, compiled, eager, running, unlocked, works
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State


def test_what_runs_compiled_is_chosen_by_gradients_and_sizes() -> None:
    mask = torch.ones(8, 8, dtype=torch.bool)
    assert choose("never", mask) is eager
    assert choose("sampling", mask) is eager  # a gradient would be recorded
    assert choose("always", mask) is compiled
    with torch.no_grad():
        assert choose("sampling", mask) is unlocked
        assert choose("sampling", mask.to("meta")) is compiled  # a device of its own has no threads to unlock
        assert choose("sampling", mask[:1]) is eager
        assert choose("always", mask[:, :1]) is eager


def test_a_context_counts_before_the_network_and_in_its_thread_alone() -> None:
    mask = torch.ones(8, 8, dtype=torch.bool)
    with running("always"), ThreadPoolExecutor(1) as pool:
        assert choose("never", mask) is compiled
        with running("never"):  # a reward that asks the same model
            assert choose("always", mask) is eager
        assert choose("never", mask) is compiled
        assert pool.submit(choose, "never", mask).result() is eager
    assert choose("never", mask) is eager


def test_a_compiler_that_fails_is_told_of_and_nothing_breaks() -> None:
    def fail() -> None:
        raise RuntimeError("\nno compiler here\nmore of it")

    with pytest.warns(UserWarning, match="no compiler here"):
        assert not works(fail)
    assert works(lambda: None)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_waits_for_a_compiled_call_but_not_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's guards swallow a KeyboardInterrupt as they do any error."""

    def swallow(function: Any, **options: Any) -> Any:
        def call(part: Any, *arguments: Any) -> str:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return "swallowed"
            done.append("whole")
            return "not yet"

        return call

    done: list[str] = []
    monkeypatch.setattr(compilation, "_compiled", swallow)
    for run in (compiled, unlocked):
        with pytest.raises(KeyboardInterrupt):
            run(torch.nn.Identity())
    assert done == ["whole", "whole"]
    answers: list[str] = []
    assert works(lambda: answers.append(compiled(torch.nn.Identity())))
    assert answers == ["swallowed"]  # it was raised at once


def test_more_graphs_are_kept_than_torch_would(monkeypatch: pytest.MonkeyPatch) -> None:
    class Part(torch.nn.Module):
        def forward(self, x: torch.Tensor, name: str) -> torch.Tensor:
            return x + len(name)  # a graph for each name

    made: list[object] = []

    def backend(graph: Any, _: Any) -> Any:
        made.append(graph)
        return graph.forward

    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    compilation._compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    part, x = Part(), torch.zeros(2, 3)
    with torch._dynamo.config.patch({limit: 8}):
        for length in range(1, 13):
            assert compiled(part, x, "a" * length)[0, 0] == length
        assert len(made) == 12
        compilation.allow_graphs(2)
        assert getattr(torch._dynamo.config, limit) == compilation.GRAPHS  # never lowered
    compilation._compiled.cache_clear()  # so that the limit is raised again


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Nothing is compiled yet; the number of graphs made since."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        # torch traces and guards as it would, and leaves the code to its eager kernels
        @functools.cache
        def traced(function: Any, **options: Any) -> Any:
            return torch.compile(function, dynamic=True, backend="aot_eager")

        monkeypatch.setattr(compilation, "_compiled", traced)
    torch._dynamo.reset()
    counters.clear()
    return lambda: counters["stats"]["unique_graphs"]


@torch.no_grad()
def same_numbers(network: Trunk, process: JointProcess, state: State, fields: Sequence[str]) -> None:
    """Without a guess and with one, compiled parts give what they give as they are."""
    model, clocks = denoiser(network, process), Clocks.shared(state, 0.5)
    with running("never"):
        first = model(state, clocks, None, None)
        exact = model(state, clocks, None, first)
    with running("sampling"):
        found = model(state, clocks, None, model(state, clocks, None, None))
    for name in fields:
        assert torch.allclose(getattr(found, name), getattr(exact, name), rtol=1e-3, atol=1e-3), name


def test_compiled_parts_give_the_same_numbers_in_one_graph_for_all_sizes(
    graphs: Callable[[], int],
    make_trunk: Callable[..., Trunk],
    random_state: Callable[..., State],
    alphabets: dict[str, Alphabet],
) -> None:
    network, process = make_trunk(), JointProcess.for_molecules(DiffusionConfig(), alphabets)
    # the first sizes are unlike one another and any width of the network
    for sizes in ((13, 7, 5, 13, 11, 2, 13), (9, 9, 4), (6,) * 8, (4, 16, 16, 3)):
        same_numbers(network, process, random_state(sizes), ("positions", "elements", "charges", "bonds"))
    # blocks, first features of pairs, heads
    assert graphs() == 3


def test_compiled_blocks_of_crystals_give_the_same_numbers_in_one_graph(
    graphs: Callable[[], int], tiny: NetworkConfig
) -> None:
    elements = {"elements": Alphabet(("Li", "O", "Fe", "P"))}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Trunk(tiny, elements, kind="crystal").eval()
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    process = JointProcess.for_crystals(DiffusionConfig.for_crystals(LatticeConfig()), elements)
    for sizes in ((13, 7, 5, 13, 11, 2, 13), (9, 9, 4), (6,) * 8):
        state = blank_crystals(sizes)
        clocks = Clocks.shared(state, 0.5)
        noisy = process.prior(state, clocks, generator=torch.Generator().manual_seed(1))
        same_numbers(network, process, noisy, ("fractional", "cell", "elements"))
    assert graphs() == 1
