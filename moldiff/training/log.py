"""The log of a run: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def forget_after(log: Path, step: int) -> None:
    """Drop the lines of a log that were written after the checkpoint from which a run goes on."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (json.JSONDecodeError, KeyError):
            continue  # a line cut off by the interruption
    temporary = log.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(log)


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's log."""
    with (folder / "log.jsonl").open() as stream:
        yield from map(json.loads, stream)
