"""What takes long to compute and never changes, kept as files of arrays in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.data.download import cache_folder

__all__ = ["keep", "recall"]


def recall(name: str) -> dict[str, NDArray[Any]] | None:
    """The arrays kept under a name; None where there are none, or the file cannot be read.

    Args:
        name: of the file without its suffix; it holds the digest of everything that the arrays depend on.
    """
    try:
        with np.load(cache_folder() / f"{name}.npz", allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def keep(name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays under a name; a folder that cannot be written to is no error, it only costs the time again."""
    path = cache_folder() / f"{name}.npz"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
