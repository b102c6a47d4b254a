"""What the commands that write structures share: targets, whole writes, words for the end."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moldiff.data.writing import Writer


def targets(options: tuple[str, ...]) -> dict[str, float]:
    """Targets written as name=value.

    Raises:
        ValueError: for one that is written otherwise, or given twice.
    """
    found: dict[str, float] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"--target {option}: write a property and its value, as in --target gap=5.0") from None
        if name in found:
            raise ValueError(f"--target {option}: {name} is given twice")
        found[name] = number
    return found


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Put Ctrl-C off to the end of the block, so that no molecule is written by half or left uncounted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting and callable(before):
        raise KeyboardInterrupt


def written(writer: Writer) -> str:
    """How many structures a file holds, in words."""
    if writer.count == 0:
        return f"nothing written to {writer.path}"
    noun = "crystal" if writer.crystals else "molecule"
    return f"{writer.count} {noun}{'' if writer.count == 1 else 's'} written to {writer.path}"


def without_nan(value: Any) -> Any:
    """Nested values with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
