"""Fewer examples than by default, the same ones every time, and the strategies of this folder within reach."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("moldiff", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("moldiff")
