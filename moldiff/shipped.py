"""Where the shipped models lie, and the weights behind a name. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

#: One folder a model, with `WEIGHTS`, `REFERENCE`, a card and measured numbers.
FOLDER = Path(__file__).parent / "pretrained"
WEIGHTS = "model.safetensors"
#: What samples are compared with.
REFERENCE = "reference.npz"


def names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}"))


def find_reference(weights: Path | None) -> Path | None:
    """The reference beside some weights; None where there is none, and for weights that are in no file."""
    beside = None if weights is None else weights.parent / REFERENCE
    return beside if beside is not None and beside.is_file() else None


def find_weights(name: str | os.PathLike[str]) -> Path:
    """The weights file behind a shipped model's name, a run folder or a file.

    A shipped name counts before a folder of the same name, which "./name" still means.

    Raises:
        ValueError: if there is none; the message lists the shipped models.
    """
    given, known = os.fspath(name), names()
    path = FOLDER / given if given in known else Path(given)
    file = path / WEIGHTS if path.is_dir() else path
    if file.is_file():
        return file
    raise ValueError(
        f"no weights called {given!r}: name a run folder, a weights file or one of the shipped models "
        f"({', '.join(known) or 'none in this installation'})"
    )
