"""Generator: load weights, draw States, sample molecules; results with their report."""

from moldiff.generator.crystal_results import Crystals, DrawnCrystal
from moldiff.generator.crystals import CrystalGenerator
from moldiff.generator.generator import Generator
from moldiff.generator.pretrained import Shipped, load, makes_crystals, shipped
from moldiff.generator.results import Drawn, Failed, Molecules, Report

__all__ = [
    "CrystalGenerator",
    "Crystals",
    "Drawn",
    "DrawnCrystal",
    "Failed",
    "Generator",
    "Molecules",
    "Report",
    "Shipped",
    "load",
    "makes_crystals",
    "shipped",
]
