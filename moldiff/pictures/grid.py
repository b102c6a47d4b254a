"""A grid of molecules in one picture: for each its 3D structure, its formula drawn flat and a caption."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moldiff.pictures.paths import check_path
from moldiff.pictures.render import render

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from rdkit import Chem

MARGIN = 12  # pixels around the grid
CAPTION = 22  # pixels for the line of text under a molecule
MAX_PIXELS = 80_000_000  # about 1,400 panels; Pillow warns of larger pictures when it opens them
INK, FRAME = (40, 40, 40), (222, 222, 222)


def view(
    mols: Chem.Mol | Sequence[Chem.Mol],
    path: str | os.PathLike[str] | None = None,
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    panel: tuple[int, int] = (300, 170),
) -> Image:
    """Draw molecules in a grid, each as shaded balls and sticks beside its flat structural formula. Needs no display.

    The 3D half shows the first conformer with its hydrogens and is never mirrored; the flat half leaves hydrogens on
    carbon out. A molecule without a conformer is drawn flat only, one whose valences RDKit refuses in 3D only.

    Args:
        mols: one molecule or a sequence of them, as `Generator.sample` and `read` return them.
        path: where to save the picture (.png, .jpg or .jpeg); None saves nothing.
        captions: one line of text for each molecule; by default its number (from 1) and its formula.
        columns: molecules in a row; by default as many as make the picture about square.
        panel: width and height in pixels of one molecule, without its caption.

    Returns:
        The picture, which a notebook shows by itself.

    Raises:
        ValueError: no molecules, something that is no molecule, captions of another number, a panel too small, more
            molecules than one picture can hold (about 1,400), or a path with another suffix or in a folder that does
            not exist or cannot be written. Nothing is drawn then.
    """
    from PIL import Image, ImageDraw
    from rdkit import Chem

    mols = [mols] if isinstance(mols, Chem.Mol) else list(mols)
    _check(mols, captions, columns, panel)
    target = None if path is None else check_path(path)
    lines = (
        list(captions) if captions is not None else [f"{i}   {_formula(mol)}" for i, mol in enumerate(mols, start=1)]
    )

    width, height = panel
    across = columns or max(1, round(math.sqrt(len(mols) * (height + CAPTION) / width)))
    across = min(across, len(mols))
    down = math.ceil(len(mols) / across)
    picture = Image.new("RGB", (2 * MARGIN + across * width, 2 * MARGIN + down * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(picture)
    for i, (mol, line) in enumerate(zip(mols, lines, strict=True)):
        left, top = MARGIN + (i % across) * width, MARGIN + (i // across) * (height + CAPTION)
        picture.paste(_panel(mol, width - 8, height - 6), (left + 4, top + 4))
        _caption(draw, line, centre=left + width // 2, top=top + height, room=width - 8)
        draw.rectangle((left, top, left + width, top + height + CAPTION), outline=FRAME)
    if target is not None:
        picture.save(target)
    return picture


def _check(mols: list[Chem.Mol], captions: Sequence[str] | None, columns: int | None, panel: tuple[int, int]) -> None:
    from rdkit import Chem

    if not mols:
        raise ValueError("there is no molecule to draw; pass at least one")
    for i, mol in enumerate(mols):
        if not isinstance(mol, Chem.Mol):
            raise ValueError(f"entry {i} is {mol!r} and no rdkit.Chem.Mol; leave it out or convert it first")
        if mol.GetNumAtoms() == 0:
            raise ValueError(f"molecule {i} has no atoms; leave it out")
    if captions is not None and len(captions) != len(mols):
        raise ValueError(f"{len(captions)} captions for {len(mols)} molecules; give one for each, or None")
    if columns is not None and columns < 1:
        raise ValueError(f"columns is {columns}; give 1 or more, or None")
    if min(panel) < 40:
        raise ValueError(f"panel is {panel}; give a width and a height of at least 40 pixels")
    most = MAX_PIXELS // (panel[0] * (panel[1] + CAPTION))
    if len(mols) > most:
        raise ValueError(f"{len(mols)} molecules are too many for one picture; draw at most {most}, e.g. mols[:{most}]")


def _formula(mol: Chem.Mol) -> str:
    from rdkit.Chem import rdMolDescriptors

    try:
        return str(rdMolDescriptors.CalcMolFormula(mol))
    except RuntimeError:  # implicit valences are unknown where a molecule was not sanitised
        symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
        kinds = sorted(set(symbols), key=lambda s: ({"C": 0, "H": 1}.get(s, 2) if "C" in symbols else 2, s))
        return "".join(f"{s}{symbols.count(s) if symbols.count(s) > 1 else ''}" for s in kinds)


def _caption(draw: ImageDraw, line: str, *, centre: int, top: int, room: int) -> None:
    """Write one line, cut with an ellipsis where it is longer than the room."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=13)
    if draw.textlength(line, font=font) > room:
        while line and draw.textlength(line + "...", font=font) > room:
            line = line[:-1]
        line += "..."
    draw.text((centre, top + CAPTION // 2), line, font=font, fill=INK, anchor="mm")


def _panel(mol: Chem.Mol, width: int, height: int) -> Image:
    """One molecule: in 3D on the left, flat on the right; the whole width for one where the other cannot be had."""
    from PIL import Image

    solid = mol.GetNumConformers() > 0 and mol.GetConformer().Is3D()
    share = round(0.54 * width) if solid else 0
    flat = _flat(mol, width - share, height)
    panel = Image.new("RGB", (width, height), "white")
    if flat is not None:
        panel.paste(flat, (share, 0))
    if solid:
        panel.paste(_solid(mol, share if flat is not None else width, height), (0, 0))
    return panel


def _solid(mol: Chem.Mol, width: int, height: int) -> Image:
    from PIL import Image
    from rdkit import Chem

    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    bonds = np.zeros((len(numbers), len(numbers)), dtype=np.int64)
    orders = {Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3, Chem.BondType.AROMATIC: 4}
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds[i, j] = bonds[j, i] = orders.get(bond.GetBondType(), 1)
    return Image.fromarray(render(numbers, mol.GetConformer().GetPositions(), bonds=bonds, size=(width, height)))


def _flat(mol: Chem.Mol, width: int, height: int) -> Image | None:
    """The structural formula, or None where RDKit cannot draw it (valences it refuses)."""
    from PIL import Image
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    try:
        with rdBase.BlockLogs():
            bare = Chem.RemoveHs(mol)
            rdDepictor.Compute2DCoords(bare)
            bare = rdMolDraw2D.PrepareMolForDrawing(bare, addChiralHs=False)
            drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
            options = drawer.drawOptions()
            options.padding = 0.08
            options.fixedBondLength = 30
            options.bondLineWidth = 1
            options.minFontSize = 9
            options.prepareMolsBeforeDrawing = False
            drawer.DrawMolecule(bare)
            drawer.FinishDrawing()
    except (ValueError, RuntimeError):
        return None
    return Image.open(io.BytesIO(drawer.GetDrawingText())).convert("RGB")
