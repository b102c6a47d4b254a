"""What an evaluation returns: numbers with intervals and floors, their definitions, and a line for every structure."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moldiff.evaluation.crystal_definitions import PROTOCOL as CRYSTALLINE
from moldiff.evaluation.definitions import definition
from moldiff.evaluation.rates import Metric

__all__ = ["Evaluation", "versions"]

FIRST = ("index", "source", "smiles", "reason", "atoms", "charge")
FIRST_OF_CRYSTALS = ("index", "source", "formula", "reason", "atoms")
"""Leading columns of the CSV file; the others follow as they come, the message last."""
HEAD = ("what", "value", "95 % interval", "floor", "N")


class Evaluation:
    """The result of `moldiff.evaluate`; ``str(evaluation)`` is a table.

    Attributes:
        metrics: name -> ``value``, ``low``, ``high`` (95 %), ``n`` (counted, or used), ``of`` (the denominator) and
            ``floor`` (the same on held-out real molecules); rates are fractions. None where it is not applicable or
            not known.
        definitions: name -> what exactly is counted or measured.
        meta: input, protocol, reference, versions, how often each reason occurred, notes, distances by type.
        rows: one dict a structure, in the order of the input.
    """

    def __init__(self, metrics: Mapping[str, Metric], *, rows: Sequence[dict[str, Any]], meta: dict[str, Any]) -> None:
        self.metrics = {name: {key: _known(value) for key, value in m.items()} for name, m in metrics.items()}
        self.rows, self.meta = list(rows), meta
        protocol = meta.get("protocol", "bonds")
        self.definitions = {name: definition(name, protocol).text for name in self.metrics}

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<moldiff Evaluation of {len(self)} structures, {len(self.metrics)} metrics>"

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON text ``{"metrics", "definitions", "meta"}``, written to a file if a path is given."""
        content = {"metrics": self.metrics, "definitions": self.definitions, "meta": self.meta}
        text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """One line a structure, written to a file if a path is given; yes and no are 1 and 0."""
        names = list(FIRST_OF_CRYSTALS if self.meta.get("protocol") == CRYSTALLINE else FIRST)
        names += [name for row in self.rows for name in row if name != "message"]
        names = [*dict.fromkeys(names), "message"]
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        for row in self.rows:
            writer.writerow([_cell(row.get(name)) for name in names])
        if path is not None:
            # text of foreign files may hold half a surrogate pair, which no file can
            Path(path).write_text(stream.getvalue(), encoding="utf-8", errors="replace")
        return stream.getvalue()

    def __str__(self) -> str:
        protocol = self.meta.get("protocol", "bonds")
        lines: list[tuple[str, ...]] = [HEAD]
        for name, metric in self.metrics.items():
            lines.append(_line(name, metric, protocol, self.meta.get("hydrogens") == "implicit"))
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
        text = [self._title()]
        for number, line in enumerate(lines):
            cells = [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            text.append("  ".join(cells).rstrip())
            if number == 0:
                text.append("  ".join("-" * width for width in widths))
        reasons = self.meta.get("reasons", {})
        if failed := {reason: n for reason, n in reasons.items() if reason != "ok"}:
            text.append("failures: " + ", ".join(f"{n} {reason}" for reason, n in failed.items()))
        text += [f"note: {note}" for note in self.meta.get("notes", [])]
        return "\n".join(text)

    def _title(self) -> str:
        meta = self.meta
        reference = meta.get("reference")
        floor = ""
        if meta.get("protocol") == CRYSTALLINE:
            if reference:
                floor = f"; reference {reference['name']}, floor: {reference['floor_n']} training or test crystals"
            relaxed = f", relaxed with {meta['calculator']}" if meta.get("calculator") else ""
            return f"{meta.get('input', '')}: {len(self)} crystals{relaxed}{floor}"
        if reference:
            floor = f"; reference {reference['name']}, floor: {reference['floor_n']} test molecules"
        kind = {"bonds": "bonds as given", "edm": "bonds from EDM's distance table"}.get(
            meta.get("protocol", ""), "bonds from EDM's distance table, rules for GEOM-Drugs"
        )
        hydrogens = ", hydrogens implicit" if meta.get("hydrogens") == "implicit" else ""
        return f"{meta.get('input', '')}: {len(self)} structures ({kind}{hydrogens}){floor}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def _line(name: str, metric: Metric, protocol: str, implicit: bool) -> tuple[str, ...]:
    found = definition(name, protocol)
    share = found.unit == "%"
    label = found.label if share or not found.unit else f"{found.label}, {found.unit}"
    if metric["value"] is None:
        value = "not applicable" if implicit and found.hydrogens else "-"
        return label, value, "", _number(metric.get("floor"), share), _count(metric, share)
    interval = ""
    if metric["low"] is not None and metric["high"] is not None:
        interval = f"{_number(metric['low'], share, '')} - {_number(metric['high'], share, '')}"
    return (
        label,
        _number(metric["value"], share),
        interval,
        _number(metric.get("floor"), share),
        _count(metric, share),
    )


def _count(metric: Metric, share: bool) -> str:
    return f"{metric['n']} of {metric['of']}"


def _number(value: Any, share: bool, unit: str = " %") -> str:
    if value is None:
        return ""
    if share:
        return f"{100 * value:.2f}{unit}"
    size = abs(value)
    if size == 0 or math.isinf(size):
        return f"{value:g}"
    return (
        f"{value:.3g}"
        if size < 0.1
        else f"{value:.4f}"
        if size < 1
        else f"{value:.3f}"
        if size < 100
        else f"{value:.1f}"
    )


def _known(value: Any) -> Any:
    """NaN is "not known" and becomes None."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    """The same for JSON, which has neither NaN nor infinity nor numpy's numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": sys.version.split()[0]}
    for name in (
        "moldiff",
        "rdkit",
        "numpy",
        "ase",
        "pymatgen",
        "spglib",
        "SMACT",
        "matminer",
        "tblite",
        "posebusters",
        "fcd_torch",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
