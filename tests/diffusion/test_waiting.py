"""Sampling and training steps never ask for a value on the host: on a GPU every such question waits for the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from moldiff.config import DiffusionConfig, NetworkConfig, SamplerConfig
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import sample
from moldiff.diffusion.tasks import draw_clocks, draw_part
from moldiff.networks.trunk import Trunk
from moldiff.state import Alphabet, State

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select"}
TINY = NetworkConfig(
    scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=4, products=2, blocks=1, condition=8, radial=4
)


class Watch(TorchDispatchMode):
    """Notes the operations whose result the host needs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if name in ("aten::index", "aten::index_put_") and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        ):
            name = "aten::nonzero"
        if name in WAITING:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def one_hot_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, and there alone, torch looks at the largest and the smallest index."""

    def one_hot(index: torch.Tensor, count: int) -> torch.Tensor:
        return (index.unsqueeze(-1) == torch.arange(count)).long()

    monkeypatch.setattr(torch.nn.functional, "one_hot", one_hot)


@pytest.fixture
def network(alphabets: dict[str, Alphabet]) -> Trunk:
    torch.manual_seed(0)
    return Trunk(TINY, alphabets)


@pytest.fixture
def molecules() -> State:
    """Two chains of four heavy atoms."""
    mask = torch.ones(2, 4, dtype=torch.bool)
    bonds = torch.zeros(2, 4, 4, dtype=torch.long)
    for i in range(3):
        bonds[:, i, i + 1] = bonds[:, i + 1, i] = 1
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    symbols = torch.ones(2, 4, dtype=torch.long)
    return State(mask=mask, positions=x - x.mean(1, keepdim=True), elements=symbols, charges=symbols, bonds=bonds)


def test_the_watch_sees_questions() -> None:
    with Watch() as watch:
        bool(torch.ones(2).any())
        torch.arange(3)[torch.tensor([True, False, True])]
    assert watch.found == ["aten::_local_scalar_dense", "aten::nonzero"]


def test_sampling_asks_nothing(network: Trunk, molecules: State, alphabets: dict[str, Alphabet]) -> None:
    config = SamplerConfig(steps=4)
    process = JointProcess.for_molecules(DiffusionConfig(), alphabets, sampler=config)
    given = {"elements": molecules.mask}
    noise = torch.Generator().manual_seed(0)
    with Watch() as watch:
        sample(denoiser(network, process), process, state=molecules, generator=noise, config=config, given=given)
    assert watch.found == []


def test_a_training_step_asks_nothing(network: Trunk, molecules: State, alphabets: dict[str, Alphabet]) -> None:
    process = JointProcess.for_molecules(DiffusionConfig(), alphabets)
    noise = torch.Generator().manual_seed(0)
    with Watch() as watch:
        clocks = draw_clocks(molecules, DiffusionConfig(), shares={"generate": 1.0, "conformer": 1.0}, generator=noise)
        noisy = process.corrupt(molecules, clocks, generator=noise)
        previous = denoiser(network, process)(noisy, clocks, None, None).detach()
        prediction = denoiser(network, process)(noisy, clocks, None, previous)
        losses = process.losses(prediction, molecules, noisy, clocks)
        process.total({name: value.mean() for name, value in losses.items()}).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    assert watch.found == []


def test_a_kept_part_asks_on_a_cpu_only_to_stop_early(molecules: State) -> None:
    # a chain of four: at most three passes find an atom, one more finds none and stops
    with Watch() as watch:
        draw_part(molecules, hydrogen=None, generator=torch.Generator().manual_seed(0))
    assert set(watch.found) <= {"aten::_local_scalar_dense"} and len(watch.found) <= 3
