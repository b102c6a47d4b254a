"""What every benchmark records and how it judges a median."""

from __future__ import annotations

import copy
import json
import math
import platform
import re
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moldiff.data.reference import Reference

RESULTS = Path(__file__).parent / "results"


def provenance(seed: int) -> dict[str, Any]:
    """Commit, seed, hardware and versions."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=False)
    names = ("moldiff", "torch", "rdkit", "e3nn", "numpy", "torch-geometric", "ase")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "commit": commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else ""),
        "seed": seed,
        "hardware": {"cpu": cpu_name(), "threads": torch.get_num_threads(), "gpu": gpu},
        "versions": {"python": platform.python_version(), **versions},
    }


def cpu_name() -> str:
    """The processor as the system calls it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def finite(content: Any) -> Any:
    """The same with None for numbers that JSON cannot hold, as the median of nothing."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(name: str, content: dict[str, Any]) -> Path:
    """Write a result under benchmarks/results."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(finite(content), indent=1, allow_nan=False) + "\n")
    return path


def without_floor(reference: Reference) -> Reference:
    """A reference whose held-out molecules are not judged beside the others."""
    alone = copy.copy(reference)
    alone.held_out = None
    return alone


def passes(facts: dict[str, str]) -> str:
    """How long weights were trained, of what their header tells."""
    mean = ", a mean" if "mean" in facts else ""
    return f"{int(facts.get('passes', '0')):,} passes{mean}"


def read_same(names: str) -> list[dict[str, Any]]:
    """The results with names of a kind (a regular expression), for one table.

    Raises:
        ValueError: if there are none, or if they are of different weights.
    """
    paths = [path for path in sorted(RESULTS.glob("*.json")) if re.fullmatch(names, path.stem)]
    if not paths:
        raise ValueError(f"no results {names} in {RESULTS}; run without --table first")
    found = [json.loads(path.read_text()) for path in paths]
    facts = [content["model"]["facts"] for content in found]
    if any(one != facts[0] for one in facts):
        which = ", ".join(f"{path.name} after {passes(one)}" for path, one in zip(paths, facts, strict=True))
        raise ValueError(f"one table cannot hold results of different weights ({which}): measure the old ones again")
    return found


def step_ratio(base: Callable[[], object], other: Callable[[], object], *, rounds: int = 16) -> float:
    """How many times the processor time of one piece of work another takes; means, in turns, after two of each."""
    seconds = [0.0, 0.0]
    for number in range(rounds):
        for place, work in enumerate((base, other)):
            start = time.process_time()
            work()
            seconds[place] += (time.process_time() - start) * (number >= 2)
    return seconds[1] / seconds[0]


def median_interval(values: list[float], *, seed: int = 0, draws: int = 1000) -> dict[str, float]:
    """Median with a 95 % bootstrap interval over structures."""
    if not values:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    rng = np.random.default_rng(seed)
    data = np.asarray(values)
    medians = np.median(data[rng.integers(0, len(data), (draws, len(data)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"value": float(np.median(data)), "low": float(low), "high": float(high), "n": len(data)}
