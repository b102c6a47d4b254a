"""Structures that can be turned with the mouse, by py3Dmol (extra ``viz``), always with a still picture beside them."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from moldiff.pictures.paths import check_path

if TYPE_CHECKING:
    from PIL.Image import Image

#: Structures in one interactive grid; more make a browser slow.
MOST = 60
PANEL = (240, 240)


@final
class Interactive:
    """A grid that a notebook shows interactively, or as a still picture where its JavaScript cannot be loaded.

    Attributes:
        picture: the still picture.
    """

    def __init__(self, page: str, picture: Image) -> None:
        self._page, self.picture = page, picture

    def __repr__(self) -> str:
        return "<moldiff interactive view>"

    def _repr_html_(self) -> str:
        return self._page

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.picture.save(stream, "PNG")
        return stream.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page (``.html``): the interactive view, and below it the still picture, which needs no network.

        Raises:
            ValueError: for another suffix or a path that cannot be written.
        """
        target = check_path(path, (".html",))
        still = base64.b64encode(self._repr_png_()).decode()
        target.write_text(
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>moldiff</title></head>\n'
            f'<body style="font-family:sans-serif">\n{self._page}\n'
            "<p>Turn with the mouse, zoom with the wheel. The same as a still picture:</p>\n"
            f'<img alt="the same structures as a still picture" src="data:image/png;base64,{still}">\n</body></html>\n',
            encoding="utf-8",
        )
        return target


def interactive(structures: Sequence[Any], captions: Sequence[str], picture: Image, *, columns: int) -> Interactive:
    """A grid of molecules and crystals; see `moldiff.view`, which calls this.

    Args:
        structures: `rdkit.Chem.Mol` with a conformer, or `ase.Atoms`.
        captions: a line for each.
        picture: the still picture of the same.
        columns: structures in a row.

    Raises:
        ImportError: py3Dmol is not installed.
        ValueError: too many structures, or a molecule without a conformer.
    """
    try:
        import py3Dmol
    except ImportError as error:
        raise ImportError(
            f"interactive views need py3Dmol ({error}); install it: pip install 'moldiff[viz]', or take the picture"
        ) from error
    if len(structures) > MOST:
        raise ValueError(f"{len(structures)} structures are too many for an interactive grid; show at most {MOST}")
    rows = math.ceil(len(structures) / columns)
    grid = py3Dmol.view(width=columns * PANEL[0], height=rows * PANEL[1], viewergrid=(rows, columns), linked=False)
    for place, (structure, caption) in enumerate(zip(structures, captions, strict=True)):
        cell = (place // columns, place % columns)
        text, kind = _text(structure, place)
        grid.addModel(text, kind, viewer=cell)
        grid.setStyle({"stick": {"radius": 0.12}, "sphere": {"scale": 0.25}}, viewer=cell)
        if kind == "cif":
            grid.setStyle({"sphere": {"scale": 0.35}}, viewer=cell)
            grid.addUnitCell(viewer=cell)
        label = {"position": {"x": 6, "y": 4, "z": 0}, "useScreen": True, "fontSize": 12, "fontColor": "black"}
        grid.addLabel(caption, {**label, "backgroundOpacity": 0}, viewer=cell)
        grid.zoomTo(viewer=cell)
    return Interactive(grid._make_html(), picture)


def _text(structure: Any, place: int) -> tuple[str, str]:
    """A structure as text of a format that 3Dmol reads, and the format."""
    if hasattr(structure, "GetNumConformers"):
        from rdkit import Chem

        if not structure.GetNumConformers():
            raise ValueError(f"molecule {place} has no conformer to turn; take the picture, or embed it first")
        block = Chem.MolToMolBlock(structure, kekulize=False)
        return block, "sdf"
    from ase.io import write

    stream = io.BytesIO()
    kind = "cif" if abs(float(structure.cell.volume)) > 1e-6 else "xyz"
    if kind == "cif":
        write(stream, structure, format="cif")
        return stream.getvalue().decode(), kind
    text = io.StringIO()
    write(text, structure, format="xyz")
    return text.getvalue(), kind
