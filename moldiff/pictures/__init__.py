"""Pictures of molecules and crystals: `view` draws grids and movies, `plots` holds histograms and curves."""

from __future__ import annotations

from moldiff.pictures import plots
from moldiff.pictures.grid import view

__all__ = ["plots", "view"]
