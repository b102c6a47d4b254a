"""Batches drawn by several threads at once on a CPU, each on its share of the cores.

Cores that work on a batch each need not wait for one another at every operation, as those that share one do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import torch

#: Most batches at once; each needs memory of its own.
MOST = 8

Result = TypeVar("Result")

_ended: ContextVar[threading.Event | None] = ContextVar("nobody waits for this thread's batch", default=None)


class Ended(Exception):
    """Nobody waits for a batch any longer."""


def go_on(step: object = None) -> None:
    """A callback of the sampler: with it a batch ends with the step at which its sample was given up.

    Raises:
        Ended: the sample that this thread's batch belongs to was given up.
    """
    ended = _ended.get()
    if ended is not None and ended.is_set():
        raise Ended


def each(draw: Callable[[int], Result], places: Sequence[int]) -> Iterator[Result]:
    """``draw(place)`` for each place, in order, several at once on the cores that torch uses.

    How many work on a batch depends on the numbers of cores and batches alone, so that a sample can be repeated.

    Args:
        draw: what to do; it must not depend on what other places do.
        places: of the batches.
    """
    cores = torch.get_num_threads()
    workers = min(cores, len(places), MOST)
    if workers < 2:
        yield from map(draw, places)
        return

    ended = threading.Event()

    def start() -> None:
        torch.set_num_threads(cores // workers)
        _ended.set(ended)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="batch", initializer=start)
    # a slow reader holds them up, or all that is drawn would have to be kept
    ahead: deque[Future[Result]] = deque()
    try:
        for place in places:
            ahead.append(pool.submit(draw, place))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)
        # new threads begin with what any thread set last
        torch.set_num_threads(cores)
