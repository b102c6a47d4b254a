"""Judge molecules and crystals of any origin: `evaluate`, its numbers, their definitions and floors.

The names are imported on first use, so that the package costs nothing until then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moldiff.evaluation.evaluator import evaluate
    from moldiff.evaluation.results import Evaluation

__all__ = ["Evaluation", "evaluate"]

_HOMES = {"evaluate": "moldiff.evaluation.evaluator", "Evaluation": "moldiff.evaluation.results"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'moldiff.evaluation' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
