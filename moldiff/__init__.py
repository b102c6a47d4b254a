"""Generate molecules in 3D by equivariant diffusion over coordinates, elements, charges and bonds.

The public names are imported on first use (PEP 562), so that `import moldiff` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moldiff.openmp import wait_briefly

if TYPE_CHECKING:
    from moldiff.data.files import read, write
    from moldiff.evaluation import evaluate
    from moldiff.generator import load
    from moldiff.pictures import view
    from moldiff.state import State
    from moldiff.training import train

wait_briefly()

__version__ = "0.1.0"

__all__ = ["load", "train", "evaluate", "read", "write", "view", "State", "__version__"]

# public name -> the module that holds it
_HOMES = {
    "load": "moldiff.generator",
    "train": "moldiff.training",
    "evaluate": "moldiff.evaluation",
    "read": "moldiff.data.files",
    "write": "moldiff.data.files",
    "view": "moldiff.pictures",
    "State": "moldiff.state",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'moldiff' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
