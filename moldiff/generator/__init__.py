"""Generator: load weights, draw States, sample molecules; results with their report."""

from moldiff.generator.generator import Generator
from moldiff.generator.pretrained import Shipped, load, shipped
from moldiff.generator.results import Drawn, Failed, Molecules, Report

__all__ = ["Drawn", "Failed", "Generator", "Molecules", "Report", "Shipped", "load", "shipped"]
