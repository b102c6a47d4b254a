"""torch.compile in training: one graph for all atom counts; on a CPU only where a run is long."""

from __future__ import annotations

from collections.abc import Callable

import torch

from moldiff.config import TrainConfig
from moldiff.networks.compilation import works
from moldiff.networks.trunk import Trunk

#: A run on a CPU of so many minutes or steps is compiled with ``compile="auto"``. Compiling takes one to two minutes
#: there and a step then an eighth less (`benchmarks/training_speed.py`).
LONG_MINUTES, LONG_STEPS = 30.0, 3000


def is_long(config: TrainConfig) -> bool:
    """Whether compiling pays in a run on a CPU."""
    return (config.minutes or 0) >= LONG_MINUTES or (config.steps or 0) >= LONG_STEPS


def compile_network(network: Trunk, config: TrainConfig, device: torch.device, *, step: Callable[[], object]) -> None:
    """Let a network be compiled, if its configuration says so and the machine can.

    Args:
        network: the network to train.
        config: `TrainConfig.compile` decides, the length of the run where that is ``"auto"``.
        device: where it is trained.
        step: losses and gradients of a step, to try the compiler with.
    """
    if config.compile == "off" or (config.compile == "auto" and device.type == "cpu" and not is_long(config)):
        return
    network.compiled = "always"
    if not works(step):
        network.compiled = "never"
