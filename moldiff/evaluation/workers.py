"""Killable worker processes: one structure that crashes, hangs or eats the memory costs itself and nothing else.

Workers are fresh interpreters, not forks: a fork of a process in which torch has run threads may hang, and
`multiprocessing` would run the caller's script once more in each. Each answers structure by structure, so that a death
is blamed on exactly one, which is recorded with a reason; the rest of its chunk goes to the next worker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tqdm import tqdm

from moldiff.evaluation.worker import attempt, resolve

__all__ = ["Outcome", "Workers"]

START_LIMIT = 180.0
"""Seconds a worker may take to start; importing RDKit from a cold disk is slow."""
EARLY_DEATHS = 5
CHUNK = 16
"""Structures handed over at once."""
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


class Outcome(NamedTuple):
    """What became of one item.

    Attributes:
        status: "ok", "error" (the function raised), "crash" (the process died), "timeout" or "memory".
        result: what the function returned, or the message.
    """

    status: str
    result: Any


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    errors: Any
    link: Connection | None = None
    items: deque[tuple[int, Any]] = field(default_factory=deque)
    since: float = 0.0
    begun: bool = False


class Workers(AbstractContextManager["Workers"]):
    """A few worker processes; use it in a ``with`` block.

    Args:
        jobs: processes. 0 runs everything in this process, unprotected: for tests and debugging.
        time_limit: wall-clock seconds for one item.
        progress: show a bar.

    Raises:
        ValueError: for a negative number of jobs or a time limit that is not positive.
    """

    def __init__(self, jobs: int = 2, *, time_limit: float = 30.0, progress: bool = False) -> None:
        if jobs < 0:
            raise ValueError(f"jobs = {jobs}; give the number of worker processes, at least 1 (0: none, unprotected)")
        if not time_limit > 0:
            raise ValueError(f"time_limit = {time_limit}; give seconds for one structure, more than 0")
        self.jobs, self.time_limit, self.progress = jobs, time_limit, progress
        self._workers: list[_Worker] = []
        self._listener: Listener | None = None
        self._key = secrets.token_bytes(16)
        self._early = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            _end(worker)
        self._workers = []
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def run(
        self,
        function: str,
        items: Sequence[Any],
        *,
        label: str,
        time_limit: float | None = None,
        options: dict[str, Any] | None = None,
    ) -> list[Outcome]:
        """``function(item, **options)`` for every item, in order of the items.

        Args:
            function: its name, ``"moldiff.package.module:function"``; items, options and results must pickle.
            items: what to work on.
            label: text before the progress bar.
            time_limit: seconds for one item, this object's by default.
            options: keyword arguments for all items.

        Returns:
            one outcome an item; an item never raises.

        Raises:
            RuntimeError: the workers cannot even start or import the function, with what they printed.
        """
        limit = self.time_limit if time_limit is None else time_limit
        outcomes: list[Outcome | None] = [None] * len(items)
        with tqdm(total=len(items), desc=label, disable=not self.progress, bar_format=BAR, leave=False) as bar:
            pairs = self._inside(function, items, options or {})
            if self.jobs:
                pairs = self._spread(function, items, limit, options or {})
            for number, outcome in pairs:
                outcomes[number] = outcome
                bar.update()
        return [outcome for outcome in outcomes if outcome is not None]

    def _inside(self, function: str, items: Sequence[Any], options: dict[str, Any]) -> Iterator[tuple[int, Outcome]]:
        work = resolve(function)
        for number, item in enumerate(items):
            yield number, Outcome(*attempt(work, item, options))

    def _spread(
        self, function: str, items: Sequence[Any], limit: float, options: dict[str, Any]
    ) -> Iterator[tuple[int, Outcome]]:
        queue = deque(enumerate(items))
        wanted = min(self.jobs, -(-len(items) // 2))
        while queue or any(worker.items for worker in self._workers):
            while len(self._workers) < wanted and queue:
                self._workers.append(self._start())
            for worker in self._workers:
                if not worker.items and queue and worker.link is not None:
                    size = max(1, min(CHUNK, len(queue) // (2 * wanted)))
                    chunk = [queue.popleft() for _ in range(min(size, len(queue)))]
                    worker.items.extend(chunk)
                    worker.since, worker.begun = time.monotonic(), False
                    try:
                        worker.link.send((function, options, limit, chunk))
                    except OSError:
                        # it died while idle: the items are handed out again, nobody is to blame
                        queue.extendleft(reversed(worker.items))
                        worker.items.clear()
                        self._drop(worker)
                        break
            busy = [worker for worker in self._workers if worker.items]
            links: dict[Any, _Worker] = {worker.link: worker for worker in busy if worker.link is not None}
            for link in wait(list(links), timeout=0.2):
                yield from self._receive(links[link], queue)
            now = time.monotonic()
            for worker in busy:
                most = limit if worker.begun else START_LIMIT
                if worker.items and now - worker.since > most:
                    yield self._blame(worker, queue, "timeout", f"stopped after {most:g} s")

    def _receive(self, worker: _Worker, queue: deque[tuple[int, Any]]) -> Iterator[tuple[int, Outcome]]:
        if worker.link is None:
            return
        try:
            number, status, result = worker.link.recv()
        except (EOFError, OSError):
            code = worker.process.wait()
            if not worker.begun:
                self._excuse(worker, queue)
                return
            alarmed = code == -14  # the worker's own alarm, where it exists
            reason = "timeout" if alarmed else "crash"
            yield self._blame(worker, queue, reason, f"the worker process ended with code {code}")
            return
        worker.since, worker.begun = time.monotonic(), True
        if number is not None:
            worker.items.popleft()
            yield number, Outcome(status, result)

    def _blame(self, worker: _Worker, queue: deque[tuple[int, Any]], status: str, message: str) -> tuple[int, Outcome]:
        """The item at work is the culprit; the others of its chunk go back to the queue."""
        number, _ = worker.items.popleft()
        queue.extendleft(reversed(worker.items))
        worker.items.clear()
        self._drop(worker)
        return number, Outcome(status, message)

    def _excuse(self, worker: _Worker, queue: deque[tuple[int, Any]]) -> None:
        """It died before it began: no item is to blame, but after some times something is wrong with all of them."""
        self._early += 1
        if self._early > EARLY_DEATHS:
            raise RuntimeError(f"worker processes die before they begin: {_printed(worker)}")
        queue.extendleft(reversed(worker.items))
        worker.items.clear()
        self._drop(worker)

    def _drop(self, worker: _Worker) -> None:
        worker.process.kill()
        _end(worker)
        self._workers.remove(worker)

    def _start(self) -> _Worker:
        if self._listener is None:
            self._listener = Listener(None, authkey=self._key)
        address = self._listener.address
        place = f"inet:{address[0]}:{address[1]}" if isinstance(address, tuple) else f"file:{address}"
        source = str(Path(__file__).parents[2])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        # the workers are the parallelism: threads inside them would only fight for the cores
        environment = {
            **os.environ,
            "MOLDIFF_WORKER_KEY": self._key.hex(),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "moldiff.evaluation.worker", place],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        worker = _Worker(process, errors)
        worker.link = self._accept(worker)
        return worker

    def _accept(self, worker: _Worker) -> Connection:
        """Wait for the new worker without hanging on one that dies at once."""
        listener = self._listener
        socket = getattr(getattr(listener, "_listener", None), "_socket", None)
        until = time.monotonic() + START_LIMIT
        while listener is not None:
            ready = wait([socket], timeout=0.1) if socket is not None else [True]
            if ready:
                link = listener.accept()
                link.recv()
                return link  # type: ignore[return-value]
            if worker.process.poll() is not None or time.monotonic() > until:
                break
        worker.process.kill()
        printed = _printed(worker)
        _end(worker)
        raise RuntimeError(f"a worker process did not start: {printed}")


def _printed(worker: _Worker) -> str:
    """The last lines of its error output."""
    worker.errors.seek(0)
    lines = worker.errors.read().decode(errors="replace").strip().splitlines()[-3:]
    return " | ".join(lines) or "it printed nothing"


def _end(worker: _Worker) -> None:
    if worker.link is not None:
        with contextlib.suppress(OSError):  # it may be gone already
            worker.link.send(None)
        worker.link.close()
        worker.link = None
    try:
        worker.process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()
    worker.errors.close()
