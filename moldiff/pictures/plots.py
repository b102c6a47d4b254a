"""Plots of samples: distributions, targets, quality against cost, elements and space groups. Each is one call.

Every function returns the picture, which a notebook shows by itself, and saves it if a path is given. Nothing global is
changed: matplotlib's state and back end stay as they are.
"""

from __future__ import annotations

import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.pictures.paths import check_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Path = str | os.PathLike[str] | None

OURS, THEIRS = "#1f6fb4", "#9a9a9a"
PALETTE = (OURS, "#d1662a", "#3f8f4f", "#8a5fb0", "#b8432f")
DPI = 110


def distributions(
    samples: Mapping[str, Sequence[float]],
    reference: Mapping[str, Sequence[float]] | None = None,
    path: Path = None,
    *,
    units: Mapping[str, str] | None = None,
    labels: tuple[str, str] = ("generated", "reference"),
    columns: int = 3,
) -> Image:
    """Histograms of properties, those of a reference behind them in grey; areas are one.

    Args:
        samples: property -> a value a structure; values that are not finite are left out.
        reference: the same for the reference; a property it lacks is drawn without.
        path: where to save the picture (.png, .jpg); None saves nothing.
        units: property -> unit, for the axis.
        labels: names of the two sets in the legend, which also gives their numbers.
        columns: histograms in a row.

    Raises:
        ValueError: no property, one without a finite value, or a path that cannot be written.
    """
    if not samples:
        raise ValueError("there is no property to draw; give at least one, as in {'logp': [0.3, 1.2]}")
    known, ours, theirs = reference or {}, {}, {}
    for name, values in samples.items():
        ours[name], theirs[name] = _finite(values), _finite(known.get(name, ()))
        if not len(ours[name]):
            raise ValueError(f"{name} has no finite value to draw; leave it out")
    across = min(columns, len(samples))
    down = math.ceil(len(samples) / across)
    figure = _figure(3.1 * across, 2.3 * down + 0.45)
    for place, name in enumerate(samples, start=1):
        axes = figure.add_subplot(down, across, place)
        edges = _edges(ours[name], theirs[name])
        if len(theirs[name]):
            axes.hist(theirs[name], edges, density=True, color=THEIRS, alpha=0.55, label=labels[1])
        axes.hist(ours[name], edges, density=True, histtype="step", color=OURS, linewidth=1.8, label=labels[0])
        unit = (units or {}).get(name, "")
        axes.set_xlabel(f"{name} ({unit})" if unit else name)
        axes.set_yticks([])
        _plain(axes)
    drawn = [f"{labels[0]} (N = {max(map(len, ours.values())):,})"]
    if any(len(values) for values in theirs.values()):
        drawn.append(f"{labels[1]} (N = {max(map(len, theirs.values())):,})")
    _legend(figure, drawn)
    return _finish(figure, path)


def targets(
    asked: Sequence[float],
    achieved: Sequence[float],
    path: Path = None,
    *,
    name: str = "property",
    unit: str = "",
    reference: Sequence[float] | None = None,
) -> Image:
    """What was asked for against what was made: a point a structure, the median of each target, and the diagonal.

    Args:
        asked: the target of each structure, (n,).
        achieved: its property, (n,); values that are not finite are left out.
        path: where to save the picture (.png, .jpg); None saves nothing.
        name: of the property. unit: for the axes.
        reference: values without a target; their middle half is shaded, which is what ignoring targets would give.

    Raises:
        ValueError: sequences of different lengths, no finite value, or a path that cannot be written.
    """
    if len(asked) != len(achieved):
        raise ValueError(f"{len(asked)} targets for {len(achieved)} values; give one for each")
    x, y = np.asarray(asked, np.float64), np.asarray(achieved, np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        raise ValueError("there is no finite pair of target and value to draw; check the values")
    x, y = x[finite], y[finite]
    figure = _figure(4.6, 4.0)
    axes = figure.add_subplot()
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    room = 0.06 * max(high - low, 1e-6)
    line = np.array([low - room, high + room])
    axes.plot(line, line, color="#555555", linewidth=1, linestyle="--", label="achieved = asked")
    free = _finite(() if reference is None else reference)
    if len(free):
        axes.axhspan(*np.quantile(free, (0.25, 0.75)), color=THEIRS, alpha=0.3, label="middle half without target")
    levels = np.unique(x)
    width = 0.25 * np.diff(levels).min() if len(levels) > 1 else 0.1 * max(high - low, 1e-6)
    spread = np.random.default_rng(0).uniform(-width, width, len(x)) if len(levels) < 0.5 * len(x) else 0.0
    axes.scatter(x + spread, y, s=14, color=OURS, alpha=0.55, linewidths=0, label="structures")
    if len(levels) < 0.5 * len(x):
        medians = [np.median(y[x == level]) for level in levels]
        axes.plot(levels, medians, color=PALETTE[1], marker="D", markersize=6, linewidth=1.2, label="median")
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"{name} asked for{suffix}")
    axes.set_ylabel(f"{name} achieved{suffix}")
    axes.legend(frameon=False, fontsize=8, loc="best")
    _plain(axes)
    return _finish(figure, path)


def quality(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    path: Path = None,
    *,
    label: str = "valid and connected",
    floor: float | None = None,
    percent: bool = True,
) -> Image:
    """Quality against network evaluations a structure, on a logarithmic axis, with 95 % intervals.

    Args:
        curves: name -> points (evaluations, value, low, high), at least one.
        path: where to save the picture (.png, .jpg); None saves nothing.
        label: what the values are.
        floor: the same for real structures, drawn as a line.
        percent: the values are shares and drawn as per cent.

    Raises:
        ValueError: no curve or an empty one, or a path that cannot be written.
    """
    if not curves or not all(curves.values()):
        raise ValueError("there is no point to draw; give each curve at least one (evaluations, value, low, high)")
    scale = 100.0 if percent else 1.0
    figure = _figure(4.8, 3.4)
    axes = figure.add_subplot()
    ticks: set[float] = set()
    for number, (name, points) in enumerate(curves.items()):
        table = np.array(sorted(points), np.float64)
        ticks |= set(table[:, 0])
        errors = scale * np.abs(table[:, 2:].T - table[:, 1])
        colour = PALETTE[number % len(PALETTE)]
        axes.errorbar(table[:, 0], scale * table[:, 1], errors, color=colour, marker="o", capsize=3, label=name)
    if floor is not None:
        axes.axhline(scale * floor, color="#555555", linestyle="--", linewidth=1, label="real structures")
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
    axes.minorticks_off()
    axes.set_xlabel("network evaluations a structure")
    axes.set_ylabel(f"{label}, %" if percent else label)
    if len(curves) > 1 or floor is not None:
        axes.legend(frameon=False, fontsize=8, loc="best")
    _plain(axes)
    return _finish(figure, path)


def elements(
    structures: Iterable[Any],
    reference: Iterable[Any] | None = None,
    path: Path = None,
    *,
    labels: tuple[str, str] = ("generated", "reference"),
    most: int = 30,
) -> Image:
    """Share of the atoms by element.

    Args:
        structures: `rdkit.Chem.Mol` or `ase.Atoms`.
        reference: the same for the reference, or None.
        path: where to save the picture (.png, .jpg); None saves nothing.
        labels: names of the two sets.
        most: the most frequent so many elements are drawn, in the order of the periodic table.

    Raises:
        ValueError: no structure, something that is none, or a path that cannot be written.
    """
    ours = Counter(number for structure in structures for number in _numbers(structure))
    theirs = Counter(number for structure in reference or () for number in _numbers(structure))
    from ase.data import chemical_symbols

    both = ours + theirs
    chosen = sorted(number for number, _ in both.most_common(most))
    names = [chemical_symbols[number] for number in chosen]
    return _bars(names, [ours[n] for n in chosen], [theirs[n] for n in chosen], (ours, theirs), path, labels, "atoms")


def space_groups(
    groups: Iterable[Any],
    reference: Iterable[Any] | None = None,
    path: Path = None,
    *,
    labels: tuple[str, str] = ("generated", "reference"),
    most: int = 24,
    tolerance: float = 0.1,
) -> Image:
    """Share of the crystals by space group.

    Args:
        groups: numbers 1 to 230, or `ase.Atoms`, whose space groups spglib finds (extra ``crystal``).
        reference: the same for the reference, or None.
        path: where to save the picture (.png, .jpg); None saves nothing.
        labels: names of the two sets.
        most: the most frequent so many groups are drawn, in the order of their numbers.
        tolerance: of spglib, angstrom.

    Raises:
        ValueError: no crystal, a number out of range, or a path that cannot be written.
        ImportError: spglib is not installed and structures were given.
    """
    ours = Counter(_group(item, tolerance) for item in groups)
    theirs = Counter(_group(item, tolerance) for item in reference or ())
    chosen = sorted(group for group, _ in (ours + theirs).most_common(most))
    names = [str(group) for group in chosen]
    counts = [ours[g] for g in chosen], [theirs[g] for g in chosen]
    return _bars(names, *counts, (ours, theirs), path, labels, "crystals", axis="space group number")


def _bars(
    names: Sequence[str],
    ours: Sequence[int],
    theirs: Sequence[int],
    totals: tuple[Counter[int], Counter[int]],
    path: Path,
    labels: tuple[str, str],
    things: str,
    *,
    axis: str = "",
) -> Image:
    total, other = totals[0].total(), totals[1].total()
    if not total:
        raise ValueError("there is nothing to count; give at least one structure")
    figure = _figure(max(4.4, 0.36 * len(names) + 1.2), 3.0)
    axes = figure.add_subplot()
    places = np.arange(len(names))
    wide = 0.4 if other else 0.7
    axes.bar(places - (wide / 2 if other else 0), 100 * np.array(ours) / total, wide, color=OURS)
    drawn = [f"{labels[0]} (N = {total:,})"]
    if other:
        axes.bar(places + wide / 2, 100 * np.array(theirs) / other, wide, color=THEIRS)
        drawn.append(f"{labels[1]} (N = {other:,})")
    axes.set_xticks(places, names, fontsize=9 if len(names) < 20 else 8)
    axes.set_xlabel(axis)
    axes.set_ylabel(f"% of the {things}")
    _legend(figure, drawn)
    _plain(axes)
    return _finish(figure, path)


def _numbers(structure: Any) -> list[int]:
    """Atomic numbers of a molecule or a crystal."""
    if hasattr(structure, "GetAtoms"):
        return [atom.GetAtomicNum() for atom in structure.GetAtoms()]
    if hasattr(structure, "get_atomic_numbers"):
        return [int(number) for number in structure.get_atomic_numbers()]
    raise ValueError(f"{structure!r} is neither an rdkit.Chem.Mol nor an ase.Atoms; leave it out or convert it first")


def _group(item: Any, tolerance: float) -> int:
    """Space group number of a number or a structure."""
    if hasattr(item, "get_scaled_positions"):
        try:
            import spglib
        except ImportError as error:
            raise ImportError(
                f"space groups need spglib ({error}); install it: pip install 'moldiff[crystal]'"
            ) from error
        cell = (item.cell.array, item.get_scaled_positions(), item.get_atomic_numbers())
        found = spglib.get_spacegroup(cell, symprec=tolerance)
        # spglib answers like "Fm-3m (225)", and None where it fails
        item = int(found.split("(")[1].rstrip(")")) if found else 1
    if not 1 <= int(item) <= 230:
        raise ValueError(f"{item!r} is no space group number; give 1 to 230, or ase.Atoms")
    return int(item)


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64).reshape(-1)
    return array[np.isfinite(array)]


def _edges(*sets: np.ndarray) -> np.ndarray:
    """Bins for several sets: whole numbers get a bin each where they are few."""
    both = np.concatenate(sets)
    low, high = both.min(), both.max()
    if np.array_equal(both, np.round(both)) and high - low < 40:
        return np.arange(low - 0.5, high + 1.5)
    if len(both) > 100:
        # a few far values would leave all others in one bin
        low, high = np.quantile(both, (0.002, 0.998))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, int(np.clip(2 * len(sets[0]) ** 0.4, 8, 40)) + 1)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07))
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _legend(figure: Figure, labels: Sequence[str]) -> None:
    """Above the plots, where it covers nothing."""
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=label) for colour, label in zip((OURS, THEIRS), labels, strict=False)]
    figure.legend(handles=patches, loc="outside upper center", ncols=2, frameon=False, fontsize=9)


def _finish(figure: Figure, path: Path) -> Image:
    from PIL import Image

    target = None if path is None else check_path(path)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    picture = Image.open(io.BytesIO(stream.getvalue())).convert("RGB")
    picture.info.clear()  # RDKit shows pictures in notebooks, and takes no resolution there
    if target is not None:
        picture.save(target)
    return picture
