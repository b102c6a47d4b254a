"""Generator: load weights, draw States, sample molecules; results with their report."""

from moldiff.generator.generator import Drawn, Generator
from moldiff.generator.pretrained import Shipped, load, shipped
from moldiff.generator.results import Failed, Molecules, Report

__all__ = ["Drawn", "Failed", "Generator", "Molecules", "Report", "Shipped", "load", "shipped"]
