"""The benchmarks are scripts that import one another by name: their folder joins the path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
