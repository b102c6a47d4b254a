"""Pictures of molecules: `view` draws a grid of them, `plots` holds histograms and curves."""

from __future__ import annotations

from moldiff.pictures import plots
from moldiff.pictures.grid import view

__all__ = ["plots", "view"]
