"""Parts of a trunk compiled: chosen where it helps, the same numbers, and no harm where it does not work."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters

from moldiff.config import DiffusionConfig, LatticeConfig, NetworkConfig
from moldiff.data.batching import blank_crystals
from moldiff.denoiser import Clocks
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.networks import compilation
from moldiff.networks.compilation import choose, compiled, eager, works
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State


def test_what_runs_compiled_is_chosen_by_gradients_and_sizes() -> None:
    assert choose("never", 8, 8) is eager
    assert choose("sampling", 8, 8) is eager  # a gradient would be recorded
    assert choose("always", 8, 8) is compiled
    with torch.no_grad():
        assert choose("sampling", 8, 8) is compiled
        assert choose("sampling", 1, 8) is eager
        assert choose("always", 8, 1) is eager


def test_a_compiler_that_fails_is_told_of_and_nothing_breaks() -> None:
    def fail() -> None:
        raise RuntimeError("\nno compiler here\nmore of it")

    with pytest.warns(UserWarning, match="no compiler here"):
        assert not works(fail)
    assert works(lambda: None)


def test_compiled_parts_give_the_same_numbers_in_one_graph_for_all_sizes(
    monkeypatch: pytest.MonkeyPatch,
    make_trunk: Callable[..., Trunk],
    random_state: Callable[..., State],
    alphabets: dict[str, Alphabet],
) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        # torch traces and guards as it would, and leaves the code to its eager kernels
        backend = functools.cache(lambda function: torch.compile(function, dynamic=True, backend="aot_eager"))
        monkeypatch.setattr(compilation, "_compiled", backend)
    torch._dynamo.reset()
    counters.clear()
    network = make_trunk()
    model = denoiser(network, JointProcess.for_molecules(DiffusionConfig(), alphabets))
    with torch.no_grad():
        # the first sizes are unlike one another and any width of the network
        for sizes in ((13, 7, 5, 13, 11, 2, 13), (9, 9, 4), (6,) * 8, (4, 16, 16, 3)):
            state = random_state(sizes)
            clocks = Clocks.shared(state, 0.5)
            network.compiled = "never"
            first = model(state, clocks, None, None)
            exact = model(state, clocks, None, first)
            network.compiled = "sampling"
            found = model(state, clocks, None, model(state, clocks, None, None))
            for name in ("positions", "elements", "charges", "bonds"):
                assert torch.allclose(getattr(found, name), getattr(exact, name), rtol=1e-3, atol=1e-3), name
    # blocks, first features of pairs, heads
    assert counters["stats"]["unique_graphs"] == 3


def test_compiled_blocks_of_crystals_give_the_same_numbers_in_one_graph(
    monkeypatch: pytest.MonkeyPatch, tiny: NetworkConfig
) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        backend = functools.cache(lambda function: torch.compile(function, dynamic=True, backend="aot_eager"))
        monkeypatch.setattr(compilation, "_compiled", backend)
    torch._dynamo.reset()
    counters.clear()
    elements = {"elements": Alphabet(("Li", "O", "Fe", "P"))}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Trunk(tiny, elements, kind="crystal").eval()
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    process = JointProcess.for_crystals(DiffusionConfig.for_crystals(LatticeConfig()), elements)
    model = denoiser(network, process)
    with torch.no_grad():
        for sizes in ((13, 7, 5, 13, 11, 2, 13), (9, 9, 4), (6,) * 8):
            state = blank_crystals(list(sizes))
            clocks = Clocks.shared(state, 0.5)
            state = process.prior(state, clocks, generator=torch.Generator().manual_seed(1))
            network.compiled = "never"
            first = model(state, clocks, None, None)
            exact = model(state, clocks, None, first)
            network.compiled = "sampling"
            found = model(state, clocks, None, first)
            for name in ("fractional", "cell", "elements"):
                assert torch.allclose(getattr(found, name), getattr(exact, name), rtol=1e-3, atol=1e-3), name
    assert counters["stats"]["unique_graphs"] == 1
