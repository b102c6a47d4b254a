"""One sample drawn by several processes under torchrun: each takes a share of the batches, the first gets all.

Batches depend on the seed and their number alone, so the processes need no word with one another but the finished
structures, which go to process 0 in order, as tensors over gloo.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import timedelta
from typing import final

import torch
from torch import Tensor
from torch import distributed as dist

from moldiff.state import State

Batches = Generator[tuple[Tensor, State], None, None]
"""Finished batches: the numbers of their structures, and the structures."""

Each = Callable[[Callable[[int], tuple[State, State]], Sequence[int]], Iterable[tuple[State, State]]]
"""``each(draw, places)``: what `draw` makes of each place, in order."""

#: Longest time that a process waits for another.
PATIENCE = timedelta(hours=24)


@final
class Ranks:
    """The processes that draw a sample: this one alone, or those that torchrun started.

    Attributes:
        rank, count: this process and how many there are. local: its place on its machine, which chooses its GPU.
    """

    def __init__(self, rank: int = 0, count: int = 1, local: int = 0) -> None:
        self.rank, self.count, self.local = rank, count, local
        self._sent: list[tuple[dist.Work, Tensor]] = []

    @staticmethod
    def join() -> Ranks:
        """The processes of torchrun, joined; this one alone where there are none."""
        ranks = Ranks(
            *(int(os.environ.get(name, d)) for name, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
        )
        if ranks.count > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
            # at the end of the process, since a second group after a first one could meet its addresses
            atexit.register(dist.destroy_process_group)
        return ranks

    def leave(self) -> None:
        """Wait until everything sent has arrived."""
        if self.count > 1:
            self._wait()

    def device(self, name: str) -> str:
        """Name of this process's device: with several processes on a machine each has its own GPU."""
        if self.count > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return name

    def agree(self, number: int) -> int:
        """Process 0's number, for all."""
        if self.count == 1:
            return number
        tensor = torch.tensor([number])
        dist.broadcast(tensor, 0)
        return int(tensor)

    def share(
        self,
        parts: Sequence[Tensor],
        *,
        blank: Callable[[Tensor], State],
        draw: Callable[[int, State], State],
        arrived: Callable[[int], None] | None = None,
        each: Each = map,
    ) -> Batches:
        """Draw batches, each by one process; process 0 yields all of them in order, the others none.

        Args:
            parts: numbers of the structures of each batch.
            blank: of the numbers of a batch, the State it starts from.
            draw: of the place of a batch and that State, the finished one, of the same shapes.
            arrived: told the size of each batch that another process drew.
            each: how this process draws its own, in order.
        """

        def one(place: int) -> tuple[State, State]:
            start = blank(parts[place])
            return start, draw(place, start)

        waiting = [place for place in range(len(parts)) if self._owner(place) != self.rank] if self.rank == 0 else []
        own = iter(each(one, [place for place in range(len(parts)) if self._owner(place) == self.rank]))
        try:
            for place, rows in enumerate(parts):
                if self._owner(place) == self.rank:
                    start, done = next(own)
                    if self.rank == 0:
                        yield rows, done
                    else:
                        self._send(done, start)
                elif self.rank == 0:
                    done = self._receive(blank(rows), self._owner(place))
                    waiting.remove(place)
                    if arrived is not None:
                        arrived(len(rows))
                    yield rows, done
        except GeneratorExit:
            # enough was made: the others do not know, so what they still send is taken
            for place in waiting:
                self._receive(blank(parts[place]), self._owner(place))
            raise

    def _owner(self, place: int) -> int:
        return place % self.count

    def _send(self, done: State, start: State) -> None:
        self._sent = [(work, tensor) for work, tensor in self._sent if not work.is_completed()]
        for name in start.present:
            tensor = done.field(name).to("cpu", start.field(name).dtype).contiguous()
            work = dist.isend(tensor, 0)
            if work is not None:
                self._sent.append((work, tensor))

    def _receive(self, start: State, owner: int) -> State:
        fields = {}
        for name in start.present:
            tensor = torch.empty(start.field(name).shape, dtype=start.field(name).dtype)
            dist.recv(tensor, owner)
            fields[name] = tensor
        return State(mask=start.mask.cpu(), **fields)

    def _wait(self) -> None:
        for work, _ in self._sent:
            work.wait()
        self._sent = []
