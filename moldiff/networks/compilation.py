"""How a trunk runs its parts: as they are, or compiled by torch, one graph for all batch sizes and atom counts."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from moldiff.interrupts import uninterrupted

#: When the parts of a trunk run compiled: never, where no gradient is recorded, or always.
When = Literal["never", "sampling", "always"]

#: What `running` says in this thread.
_now: ContextVar[When | None] = ContextVar("when parts run compiled", default=None)

#: Whether `works` is finding out, in this thread.
_trying: ContextVar[bool] = ContextVar("whether parts are being compiled", default=False)


#: Graphs of a part that are kept. Besides that one for all sizes there are others with and without gradients, and for
#: sizes that happen to be equal: a long training run came to more than torch's 8, and ran the rest uncompiled.
GRAPHS = 64


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
    return _call(_compiled(type(part).forward), part, arguments)


def unlocked(part: nn.Module, *arguments: Any) -> Any:
    """Call a part compiled for a CPU, its graph as one call of C++ during which other threads run Python."""
    return _call(_compiled(type(part).forward, cpp_wrapper=True), part, arguments)


def _call(function: Callable[..., Any], part: nn.Module, arguments: tuple[Any, ...]) -> Any:
    # torch's guards take a KeyboardInterrupt for a shape that does not fit, and swallow it: one Ctrl-C of a hundred
    # was lost. The first call takes the compiler's time, which one may want to end.
    with contextlib.nullcontext() if _trying.get() else uninterrupted():
        return function(part, *arguments)


@functools.cache
def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    allow_graphs(GRAPHS)
    # sizes stay symbols, or each atom count would cost a compilation
    return torch.compile(function, dynamic=True, options=options or None)


def allow_graphs(count: int) -> None:
    """Let torch.compile keep so many graphs of a function, if its own limit is lower."""
    import torch._dynamo

    # torch before 2.7 has the other name
    name = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    setattr(torch._dynamo.config, name, max(count, getattr(torch._dynamo.config, name)))


def choose(when: When, mask: Tensor) -> Run:
    """How to run a part that looks at pairs.

    Args:
        when: the network's own rule; that of a `running` context counts before it.
        mask: (B, N) atoms that are there; a size of one would need its own graph.
    """
    when = _now.get() or when
    if when == "never" or (when == "sampling" and torch.is_grad_enabled()) or min(mask.shape) < 2:
        return eager
    return unlocked if when == "sampling" and mask.device.type == "cpu" else compiled


@contextlib.contextmanager
def running(when: When) -> Iterator[None]:
    """Let the parts of networks run compiled at these times within the context, in this thread alone."""
    before = _now.set(when)
    try:
        yield
    finally:
        _now.reset(before)


def works(evaluate: Callable[[], object]) -> bool:
    """Whether compiling works on this machine, found out by doing it; a warning says why it does not.

    Args:
        evaluate: a first evaluation. The graphs are made for the sizes of this one, and then for all sizes if no size
            is 1 and no two of its sizes are equal, to one another or to a width of the network.
    """
    before = _trying.set(True)
    try:
        evaluate()
    except Exception as error:  # whatever the compiler behind torch makes of it
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        warnings.warn(
            f"the network runs uncompiled, since torch.compile failed ({reason}); a C++ compiler is needed on a CPU",
            stacklevel=3,
        )
        return False
    finally:
        _trying.reset(before)
    return True
