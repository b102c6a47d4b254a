"""torch.compile in training: a graph for each atom count on a GPU, one for all on a CPU, where a run is long."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch

from moldiff.config import TrainConfig
from moldiff.networks.compilation import works
from moldiff.networks.layers import Block
from moldiff.networks.trunk import Trunk

#: A run on a CPU of so many minutes or steps is compiled with ``compile="auto"``. Compiling takes one to two minutes
#: there and a step then an eighth less (`benchmarks/training_speed.py`).
LONG_MINUTES, LONG_STEPS = 30.0, 3000


def is_long(config: TrainConfig) -> bool:
    """Whether compiling pays in a run on a CPU."""
    return (config.minutes or 0) >= LONG_MINUTES or (config.steps or 0) >= LONG_STEPS


def compile_network(
    network: Trunk, config: TrainConfig, device: torch.device, *, sizes: int, step: Callable[[], object]
) -> None:
    """Let a network be compiled, if its configuration says so and the machine can.

    Args:
        network: the network to train.
        config: `TrainConfig.compile` decides, the length of the run where that is ``"auto"``.
        device: where it is trained.
        sizes: different atom counts.
        step: losses and gradients of a step, to try a CPU's compiler with.
    """
    if config.compile == "off" or (config.compile == "auto" and device.type == "cpu" and not is_long(config)):
        return
    if device.type == "cpu":
        network.compiled = "always"
        if not works(step):
            network.compiled = "never"
        return
    allow_recompilation(2 * sizes + 8)
    for block in network.blocks:
        cast(Block, block).compile(dynamic=False)


def allow_recompilation(count: int) -> None:
    """Let torch.compile keep a graph for each atom count, with and without gradients; its default gives up after 8."""
    import torch._dynamo

    name = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    setattr(torch._dynamo.config, name, max(count, getattr(torch._dynamo.config, name)))
