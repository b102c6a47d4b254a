"""Flat arrays in npz files: many structures of different sizes one after another, read and written in whole."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["join", "ranges", "read_npz", "write_npz"]


def read_npz(path: str | os.PathLike[str], wanted: Callable[[str], bool]) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file whose names are wanted, each read once.

    Raises FileNotFoundError if there is no such file and ValueError, naming it, for any other content.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no archive at {path}; prepare one with `moldiff data`, or check the path")
    try:
        with np.load(path, allow_pickle=False) as stored:
            # each access inflates the whole array again, so read each exactly once
            return {name: stored[name] for name in stored.files if wanted(name)}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a readable npz archive ({error}); prepare it again") from error


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write arrays compressed and atomically: the file is either the old one or the whole new one.

    Raises ValueError if the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes files private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def join(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Arrays one after another as one of a type; of length 0 for none."""
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)


def ranges(starts: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    """Flat positions of the given rows, where row i covers starts[i] to starts[i + 1]."""
    lengths = starts[rows + 1] - starts[rows]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths - starts[rows], lengths)
