"""Pictures of molecules: `view` draws a grid of them."""

from __future__ import annotations

from moldiff.pictures.grid import view

__all__ = ["view"]
