"""The loop of one worker process; `moldiff.evaluation.workers` starts it as ``python -m moldiff.evaluation.worker``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Client
from typing import Any


def resolve(name: str) -> Callable[..., Any]:
    """The function called ``package.module:function``: functions are named to a worker, never sent.

    Raises:
        ValueError: for a name without a colon.
    """
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(f"{name!r} names no function; write 'package.module:function'")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def attempt(function: Callable[..., Any], item: Any, options: dict[str, Any]) -> tuple[str, Any]:
    """``("ok", result)``, or a reason code and the message where the function raised."""
    try:
        return "ok", function(item, **options)
    except MemoryError:
        return "memory", "out of memory"
    except Exception as error:  # any error of one structure is that structure's failure
        return "error", f"{type(error).__name__}: {error}".splitlines()[0][:300]


def serve(address: Any, key: bytes) -> None:
    """Answer tasks until told to stop: ``(function name, options, limit, [(number, item), ...])``.

    First an answer without a number, then one ``(number, status, result)`` an item, so that the other side knows which
    item a death belongs to. Where the system has alarms, one that is overdue ends this process even inside compiled
    code and without the other side.
    """
    with Client(address, authkey=key) as link:
        link.send(("ready", os.getpid(), ""))
        while True:
            task = link.recv()
            if task is None:
                return
            name, options, limit, items = task
            function = resolve(name)
            # importing takes its time, which is no structure's fault; what is imported late is imported here
            warm = getattr(sys.modules[function.__module__], "warm", None)
            if warm is not None:
                warm(function.__name__)
            link.send((None, "begin", ""))
            for number, item in items:
                _alarm(limit)
                status, result = attempt(function, item, options)
                _alarm(None)
                link.send((number, status, result))


def _alarm(limit: float | None) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0 if limit is None else 2 * limit + 5)


def main() -> None:
    """Connect to the address on the command line; the key comes through the environment."""
    family, _, place = sys.argv[1].partition(":")
    host, _, port = place.rpartition(":")
    address: Any = (host, int(port)) if family == "inet" else place
    try:
        serve(address, bytes.fromhex(os.environ.pop("MOLDIFF_WORKER_KEY")))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        # the other side has gone: nobody is left to tell
        sys.exit(0)


if __name__ == "__main__":
    main()
