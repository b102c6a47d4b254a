"""`moldiff view`: pictures of the molecules in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, Whole, say


@dataclass(frozen=True)
class View:
    """Draw the molecules of a file in a grid: each in 3D and as a flat formula.

    Example: moldiff view out.sdf -o out.png

    Attributes:
        file: .sdf, .xyz, .extxyz or .smi, also .gz.
        out: picture to write: .png or .jpg.
        number: draw only the first so many.
        columns: molecules in a row; about square by default.
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    out: Annotated[Path, arg(aliases=["-o"])]
    number: Annotated[int | None, arg(aliases=["-n"], metavar="INT", help_behavior_hint="")] = None
    columns: Whole = None

    def run(self) -> int:
        """Read and draw."""
        from moldiff.data.files import read
        from moldiff.pictures import view

        if self.number is not None and self.number < 1:
            raise ValueError(f"-n {self.number}: the number of molecules to draw must be at least 1")
        reading = read(self.file)
        if reading.skipped:
            say(reading.report())
        view(reading.mols[: self.number], self.out, columns=self.columns)
        say(f"{len(reading.mols[: self.number])} molecules drawn in {self.out}")
        return DONE
