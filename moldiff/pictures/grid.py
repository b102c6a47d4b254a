"""`view`: a grid of structures in one picture, an interactive grid, or the movie of a denoising."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.data.trajectory import Trajectory
from moldiff.pictures.panels import MOST_ATOMS, atoms_panel
from moldiff.pictures.paths import PICTURES, check_path
from moldiff.pictures.render import render

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from rdkit import Chem

    from moldiff.pictures.interactive import Interactive
    from moldiff.pictures.movie import Movie

MARGIN = 12  # pixels around the grid
CAPTION = 22  # pixels for the line of text under a molecule
MAX_PIXELS = 80_000_000  # about 1,400 panels; Pillow warns of larger pictures when it opens them
INK, FRAME = (40, 40, 40), (222, 222, 222)


def view(
    structures: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    panel: tuple[int, int] = (300, 170),
    interactive: bool = False,
    frames: int = 60,
) -> Image | Interactive | Movie:
    """Draw molecules or crystals in a grid, or the denoising of one structure as a movie. Needs no display.

    Molecules are drawn as shaded balls and sticks beside their flat structural formula. The 3D half shows the first
    conformer with its hydrogens and is never mirrored; the flat half leaves hydrogens on carbon out. A molecule without
    a conformer is drawn flat only, one whose valences RDKit refuses in 3D only. Crystals are drawn as unit cells, with
    atoms on a face repeated on the opposite one, beside their elements and cell parameters.

    Args:
        structures: one `rdkit.Chem.Mol` or `ase.Atoms`, or a sequence of them, as `Generator.sample` and `read` return
            them; or a `Trajectory`, as `Generator.trajectory` returns it.
        path: where to save: .png, .jpg or .jpeg a picture, .html an interactive page, .gif the movie of a trajectory;
            None saves nothing.
        captions: one line of text for each structure; by default its number (from 1) and its formula.
        columns: structures in a row; by default as many as make the picture about square.
        panel: width and height in pixels of one structure, without its caption; of a movie of each of its halves.
        interactive: return a view that can be turned with the mouse (extra ``viz``); its JavaScript comes from the
            network, and where that is missing a notebook shows the picture.
        frames: most pictures of a movie.

    Returns:
        The picture, the interactive view, or the movie; a notebook shows each by itself.

    Raises:
        ValueError: no structures, something that is none, captions of another number, a panel too small, more than one
            picture can hold (about 1,400; 60 interactive), or a path with another suffix or in a folder that does not
            exist or cannot be written. Nothing is drawn then.
        ImportError: an interactive view without py3Dmol.
    """
    if isinstance(structures, Trajectory):
        from moldiff.pictures.movie import MOVIES, movie

        if path is not None:
            check_path(path, MOVIES)
        film = movie(structures, frames=frames, size=(260, 210) if panel == (300, 170) else panel)
        if path is not None:
            film.save(path)
        return film
    shown = [structures] if hasattr(structures, "GetAtoms") or hasattr(structures, "cell") else list(structures)
    _check(shown, captions, columns, panel)
    page = path is not None and Path(path).suffix.lower() == ".html"
    target = None if path is None else check_path(path, (".html",) if page else PICTURES)
    lines = (
        list(captions) if captions is not None else [f"{i}   {_formula(one)}" for i, one in enumerate(shown, start=1)]
    )
    across = columns or max(1, round(math.sqrt(len(shown) * (panel[1] + CAPTION) / panel[0])))
    across = min(across, len(shown))
    picture = _grid(shown, lines, across, panel)
    if interactive or page:
        from moldiff.pictures.interactive import interactive as turnable

        turning = turnable(shown, lines, picture, columns=min(across, 4))
        if target is not None:
            turning.save(target) if page else picture.save(target)
        return turning
    if target is not None:
        picture.save(target)
    return picture


def _grid(structures: list[Any], lines: list[str], across: int, panel: tuple[int, int]) -> Image:
    from PIL import Image, ImageDraw

    width, height = panel
    down = math.ceil(len(structures) / across)
    picture = Image.new("RGB", (2 * MARGIN + across * width, 2 * MARGIN + down * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(picture)
    for i, (structure, line) in enumerate(zip(structures, lines, strict=True)):
        left, top = MARGIN + (i % across) * width, MARGIN + (i // across) * (height + CAPTION)
        draw_one = _panel if hasattr(structure, "GetAtoms") else atoms_panel
        picture.paste(draw_one(structure, width - 8, height - 6), (left + 4, top + 4))
        _caption(draw, line, centre=left + width // 2, top=top + height, room=width - 8)
        draw.rectangle((left, top, left + width, top + height + CAPTION), outline=FRAME)
    return picture


def _check(mols: list[Any], captions: Sequence[str] | None, columns: int | None, panel: tuple[int, int]) -> None:
    from ase import Atoms
    from rdkit import Chem

    if not mols:
        raise ValueError("there is no molecule to draw; pass at least one")
    for i, mol in enumerate(mols):
        if not isinstance(mol, Chem.Mol | Atoms):
            raise ValueError(
                f"entry {i} is {mol!r} and no rdkit.Chem.Mol or ase.Atoms; leave it out or convert it first"
            )
        count = len(mol) if isinstance(mol, Atoms) else mol.GetNumAtoms()
        if count == 0:
            raise ValueError(f"molecule {i} has no atoms; leave it out")
        if isinstance(mol, Atoms) and count > MOST_ATOMS:
            raise ValueError(f"structure {i} has {count} atoms, more than a picture shows ({MOST_ATOMS}); leave it out")
        if isinstance(mol, Atoms) and not np.isfinite(mol.get_positions()).all():
            raise ValueError(f"structure {i} has coordinates that are not finite; leave it out")
    if captions is not None and len(captions) != len(mols):
        raise ValueError(f"{len(captions)} captions for {len(mols)} molecules; give one for each, or None")
    if columns is not None and columns < 1:
        raise ValueError(f"columns is {columns}; give 1 or more, or None")
    if min(panel) < 40:
        raise ValueError(f"panel is {panel}; give a width and a height of at least 40 pixels")
    most = MAX_PIXELS // (panel[0] * (panel[1] + CAPTION))
    if len(mols) > most:
        raise ValueError(f"{len(mols)} molecules are too many for one picture; draw at most {most}, e.g. mols[:{most}]")


def _formula(mol: Any) -> str:
    if not hasattr(mol, "GetAtoms"):
        return str(mol.get_chemical_formula("metal" if mol.cell.volume > 1e-6 else "hill"))
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
