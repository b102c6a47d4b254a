"""Where pictures are written: the suffixes that are known, refused before anything is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

#: Suffixes of still pictures.
PICTURES = (".png", ".jpg", ".jpeg")


def check_path(path: str | os.PathLike[str], suffixes: Sequence[str] = PICTURES) -> Path:
    """The path of a picture to write.

    Args:
        path: its name.
        suffixes: those allowed.

    Raises:
        ValueError: for another suffix, a folder that is missing, or one that cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise ValueError(
            f"cannot write a picture to {str(target)!r}: the name must end in one of {', '.join(suffixes)}"
        )
    folder = target.parent
    if not folder.is_dir():
        raise ValueError(f"cannot write {str(target)!r}: {str(folder)!r} is not a folder; create it first")
    if target.is_dir() or not os.access(target if target.exists() else folder, os.W_OK):
        raise ValueError(f"cannot write {str(target)!r}: no permission, or a folder of that name; choose another place")
    return target
