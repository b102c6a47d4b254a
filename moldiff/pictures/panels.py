"""One crystal or one set of atoms without bonds as a panel: the unit cell in 3D beside elements and cell parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moldiff.pictures.render import render

if TYPE_CHECKING:
    from PIL.Image import Image

INK, GREY = (40, 40, 40), (110, 110, 110)
FACE = 0.25
"""Angstrom from a face of the cell within which an atom is drawn on the opposite face too."""
NON_METALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54)
#: Crystals of more atoms a cell are refused: they would take minutes to draw and show nothing.
MOST_ATOMS = 1000


def atoms_panel(atoms: Any, width: int, height: int) -> Image:
    """Draw `ase.Atoms`: with a cell as a crystal, otherwise as a molecule whose bonds are guessed from distances.

    Args:
        atoms: what to draw, at least one atom, at most `MOST_ATOMS`.
        width, height: pixels.
    """
    from PIL import Image

    text = min(round(0.42 * width), 126) if width >= 180 else 0
    numbers, positions, cell = drawn_atoms(atoms)
    thick = 1.0 if cell is None else 0.6
    bonds = near(numbers, positions)
    solid = render(numbers, positions, bonds=bonds, size=(width - text, height), cell=cell, stick=thick)
    panel = Image.new("RGB", (width, height), "white")
    panel.paste(Image.fromarray(solid), (0, 0))
    if text:
        _legend(panel, atoms, left=width - text + 6)
    return panel


def drawn_atoms(atoms: Any) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Numbers (m,), positions (m, 3) in angstrom and the cell (3, 3) or None of what is drawn.

    Atoms of a crystal are wrapped into the cell; those on a face, an edge or a corner appear on the opposite ones too.
    """
    numbers = np.array(atoms.get_atomic_numbers(), dtype=np.int64)
    cell = np.array(atoms.cell.array, dtype=np.float64)
    if abs(np.linalg.det(cell)) < 1e-6:
        return numbers, np.array(atoms.get_positions(), dtype=np.float64), None
    fractional = np.array(atoms.get_positions() @ np.linalg.inv(cell))
    fractional = (fractional + 1e-6) % 1.0 - 1e-6
    # distance of each atom from a face, along the normal of that face
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    places, kinds = [], []
    for number, place in zip(numbers, fractional, strict=True):
        shifts = [[0.0] for _ in range(3)]
        for axis in range(3):
            if place[axis] * heights[axis] < FACE:
                shifts[axis].append(1.0)
            elif (1 - place[axis]) * heights[axis] < FACE:
                shifts[axis].append(-1.0)
        for shift in ([i, j, k] for i in shifts[0] for j in shifts[1] for k in shifts[2]):
            places.append(place + shift)
            kinds.append(number)
    return np.array(kinds), np.array(places) @ cell, cell


def near(numbers: NDArray[np.int64], positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bonds (m, m) of order 1 between atoms near one another, not between two metals, where all would touch all."""
    from ase.data import covalent_radii

    radii = covalent_radii[numbers]
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    close = (apart < 1.15 * (radii[:, None] + radii[None])) & (apart > 0.4)
    other = np.isin(numbers, NON_METALS)
    return (close & (other[:, None] | other[None])).astype(np.int64)


def font_of(size: int) -> Any:
    """A font with Greek letters, degrees and angstrom, which Pillow's own lacks; it comes with matplotlib."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _legend(panel: Image, atoms: Any, *, left: int) -> None:
    """Elements with their colours, in two columns where they are many, then the cell; what has no room ends in dots."""
    from ase.data import chemical_symbols
    from ase.data.colors import jmol_colors
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(panel), font_of(10 if panel.width >= 280 else 9)
    numbers = atoms.get_atomic_numbers()
    crystal = abs(np.linalg.det(atoms.cell.array)) > 1e-6
    top, line = 8, 16
    rows = max(1, (panel.height - top - (3 * line + 4 if crystal else 0)) // line)
    kinds = sorted(set(numbers.tolist()))
    wide = (panel.width - left) // 2
    columns = 1 if len(kinds) <= rows else 2
    for place, number in enumerate(kinds[: columns * rows]):
        x, y = left + wide * (place // rows), top + line * (place % rows)
        if place == columns * rows - 1 and len(kinds) > columns * rows:
            draw.text((x, y + 6), "...", font=font, fill=INK, anchor="lm")
            break
        colour = tuple(int(255 * (0.12 + 0.88 * c**1.1)) for c in jmol_colors[number])
        if number == 6:
            colour = (97, 97, 97)
        draw.ellipse((x, y + 1, x + 10, y + 11), fill=colour, outline=(120, 120, 120))
        draw.text((x + 14, y + 6), chemical_symbols[number], font=font, fill=INK, anchor="lm")
        count = int((numbers == number).sum())
        draw.text((x + 31, y + 6), f"x {count}" if columns == 1 else f"{count}", font=font, fill=GREY, anchor="lm")
    if not crystal:
        return
    a, b, c, alpha, beta, gamma = atoms.cell.cellpar()
    decimals = 2 if max(a, b, c) < 10 else 1
    lines = [" ".join(f"{length:.{decimals}f}" for length in (a, b, c)) + " Å"]
    lines += [f"{alpha:.0f}° {beta:.0f}° {gamma:.0f}°", f"{atoms.get_volume() / len(atoms):.1f} Å³/atom"]
    y = top + line * min(rows, len(kinds)) + 4
    for text in lines:
        draw.text((left, y + 6), text, font=font, fill=GREY, anchor="lm")
        y += line
