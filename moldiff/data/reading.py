"""What reading a file gives: the structures, and what was skipped and why."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Reading", "Skipped", "text_lines"]


class Skipped(NamedTuple):
    """An entry that was not read."""

    entry: int
    """Number of the entry in the file, counted from 0 over all entries, readable or not."""
    reason: str
    text: str
    """Beginning of the entry."""


class Reading(list[Any]):
    """The structures of one file, a list of `rdkit.Chem.Mol` or `ase.Atoms`, with what was skipped."""

    def __init__(
        self,
        structures: Iterable[Any],
        *,
        path: Path,
        skipped: Sequence[Skipped],
        indices: Sequence[int],
        noun: str = "molecules",
    ) -> None:
        super().__init__(structures)
        self.path = path
        self.skipped = list(skipped)
        self.indices = list(indices)
        """Number of each structure's entry in the file, counted from 0."""
        self.noun = noun

    @property
    def mols(self) -> list[Any]:
        """The structures as a plain list."""
        return list(self)

    def report(self) -> str:
        """What was read and what was skipped, in a few lines."""
        lines = [f"{self.path}: {len(self)} {self.noun} read, {len(self.skipped)} entries skipped"]
        lines += [f"  entry {index}: {reason}" for index, reason, _ in self.skipped[:10]]
        if len(self.skipped) > 10:
            reasons = Counter(reason.split(":")[0] for _, reason, _ in self.skipped)
            lines.append("  in all: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))
        return "\n".join(lines)


def text_lines(path: Path, skipped: list[Skipped]) -> Iterator[str]:
    """Lines without their ends; a gzip file that breaks off gives what there is and an entry -1 in ``skipped``.

    Raises FileNotFoundError without such a file and ValueError if it cannot be opened.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        opened: Any = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    with opened as stream:
        try:
            for line in stream:
                yield line.decode("utf-8", errors="replace").rstrip("\r\n")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            skipped.append(Skipped(-1, f"gzip data damaged: {error}", ""))
