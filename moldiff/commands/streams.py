"""What the commands that write structures share: targets, rewards, words for the end."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
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


def reward(text: str | None) -> Any:
    """A reward by its name, as it is, or the function that ``module:function`` or ``file.py:function`` names.

    A module is looked for in the current folder, too.

    Raises:
        ValueError: if there is no such module, file or function, or the module does not run.
    """
    if text is None or ":" not in text:
        return text
    # a path may have a colon, a function has none
    name, _, function = text.rpartition(":")
    try:
        module = _run(Path(name)) if name.endswith(".py") else _found(name)
        found = getattr(module, function)
    except Exception as error:  # anything may go wrong in somebody's module
        raise ValueError(
            f"--reward {text}: {type(error).__name__}: {error}; write a name, or the module and the function, as in "
            "rewards:light or rewards.py:light"
        ) from error
    if not callable(found):
        raise ValueError(f"--reward {text}: {function} is no function but {found!r}")
    return found


def _run(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"there is no file {path}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _found(name: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return import_module(name)
    finally:
        sys.path.remove(here)


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
