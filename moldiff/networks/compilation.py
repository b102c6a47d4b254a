"""How a trunk runs its parts: as they are, or compiled by torch, one graph for all batch sizes and atom counts."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import nn

#: When the parts of a trunk run compiled: never, where no gradient is recorded, or always.
When = Literal["never", "sampling", "always"]


class Compilable(Protocol):
    """A network whose parts can run compiled."""

    compiled: When


class Run(Protocol):
    """A way to call a part of a network."""

    def __call__(self, part: nn.Module, *arguments: Any) -> Any:
        """What the part makes of its arguments."""
        ...


def eager(part: nn.Module, *arguments: Any) -> Any:
    """Call a part as it is."""
    return part(*arguments)


def compiled(part: nn.Module, *arguments: Any) -> Any:
    """Call a part compiled. All parts of one kind share a graph; their weights are inputs to it."""
    return _compiled(type(part).forward)(part, *arguments)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # sizes stay symbols, or each atom count would cost a compilation
    return torch.compile(function, dynamic=True)


def choose(when: When, *sizes: int) -> Run:
    """How to run a part whose inputs have these batch and atom counts; a size of one would need its own graph."""
    if when == "never" or (when == "sampling" and torch.is_grad_enabled()) or min(sizes) < 2:
        return eager
    return compiled


@contextlib.contextmanager
def running(network: Compilable, when: When) -> Iterator[None]:
    """Let the parts of a network run compiled at these times within the context, and as before after it."""
    before, network.compiled = network.compiled, when
    try:
        yield
    finally:
        network.compiled = before


def works(evaluate: Callable[[], object]) -> bool:
    """Whether compiling works on this machine, found out by doing it; a warning says why it does not.

    Args:
        evaluate: a first evaluation. The graphs are made for the sizes of this one, and then for all sizes if no size
            is 1 and no two of its sizes are equal, to one another or to a width of the network.
    """
    try:
        evaluate()
    except Exception as error:  # whatever the compiler behind torch makes of it
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        warnings.warn(
            f"the network runs uncompiled, since torch.compile failed ({reason}); a C++ compiler is needed on a CPU",
            stacklevel=3,
        )
        return False
    return True
