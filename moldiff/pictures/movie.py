"""The movie of a denoising: what the network sees beside what it guesses, as GIF, page or strip."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from moldiff.data.trajectory import Frame, Trajectory
from moldiff.pictures.panels import FACE, drawn_atoms, font_of, near
from moldiff.pictures.paths import PICTURES, check_path
from moldiff.pictures.render import cell_viewpoint, render, viewpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

MOVIES = (".gif", ".html", *PICTURES)
INK, GREY = (40, 40, 40), (120, 120, 120)
LINE = 20  # pixels for a line of text
HOLD = 12  # frames for which the end stands still
STRIP = 6  # pictures in a strip


@final
class Movie:
    """A denoising as pictures. A notebook shows the moving picture, or a strip where it shows still ones only.

    Attributes:
        frames: the pictures, the last one the finished structure.
        seconds: time from one to the next.
    """

    def __init__(self, frames: Sequence[Image], *, seconds: float = 0.1) -> None:
        self.frames, self.seconds = list(frames), seconds

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<moldiff Movie of {len(self)} frames>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the movie: ``.gif`` moves, ``.html`` has a slider and needs no network, ``.png``, ``.jpg`` are a strip.

        Raises:
            ValueError: for another suffix or a path that cannot be written.
        """
        target = check_path(path, MOVIES)
        if target.suffix.lower() == ".gif":
            target.write_bytes(self.gif())
        elif target.suffix.lower() == ".html":
            target.write_text(self.html(), encoding="utf-8")
        else:
            self.strip().save(target)
        return target

    def gif(self) -> bytes:
        """The movie as an animated GIF that stands still at the end and starts again."""
        from PIL import Image
        from PIL.Image import Dither

        # one palette for all frames, from the last one, which has all the colours
        colours = np.array(self.frames[-1].quantize(128).getpalette()).reshape(-1, 3)
        colours[colours.min(1) > 248] = 255  # white stays white
        palette = Image.new("P", (1, 1))
        palette.putpalette(colours.flatten().tolist())
        frames = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in self.frames]
        stream = io.BytesIO()
        times = [round(1000 * self.seconds)] * (len(frames) - 1) + [round(1000 * self.seconds * HOLD)]
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
        return stream.getvalue()

    def strip(self) -> Image:
        """A few frames beside one another, from noise to the finished structure."""
        from PIL import Image

        chosen = np.unique(np.linspace(0, len(self) - 1, min(STRIP, len(self))).round().astype(int))
        width, height = self.frames[0].size
        across = min(3, len(chosen))
        down = -(-len(chosen) // across)
        picture = Image.new("RGB", (across * width, down * height), "white")
        for place, number in enumerate(chosen):
            picture.paste(self.frames[number], ((place % across) * width, (place // across) * height))
        return picture

    def html(self) -> str:
        """A page with a slider and a button; the pictures are inside it."""
        from PIL.Image import Dither

        frames = ",".join(f'"{_base64(frame.quantize(128, dither=Dither.NONE))}"' for frame in self.frames)
        width, height = self.frames[0].size
        return PAGE % {
            "width": width,
            "height": height,
            "last": len(self) - 1,
            "frames": frames,
            "pause": round(1000 * self.seconds),
            "hold": HOLD,
        }

    def _repr_html_(self) -> str:
        gif = base64.b64encode(self.gif()).decode()
        return f'<img alt="denoising, from noise to the finished structure" src="data:image/gif;base64,{gif}">'

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.strip().quantize(128).save(stream, "PNG")
        return stream.getvalue()


def movie(trajectory: Trajectory, *, frames: int = 60, size: tuple[int, int] = (260, 210)) -> Movie:
    """Draw a trajectory. See `moldiff.view`, which calls this.

    On the left the noisy structure, scaled to the frame, atoms without a known element in grey; on the right the
    network's guess of the clean structure at its true scale.

    Args:
        trajectory: as `Generator.trajectory` records it.
        frames: most pictures; of more steps, some are left out.
        size: width and height in pixels of each of the two halves.

    Raises:
        ValueError: fewer than two frames, or a size too small.
    """
    from PIL import Image, ImageDraw

    if frames < 2:
        raise ValueError(f"frames is {frames}; a movie needs at least 2")
    if min(size) < 60:
        raise ValueError(f"size is {size}; give a width and a height of at least 60 pixels")
    last = trajectory.states[-1]
    rotation = viewpoint(last.positions) if last.cell is None else cell_viewpoint(last.cell)
    # the scale of the guesses: that of the finished structure
    reach = float(2.2 * np.abs(last.positions - last.positions.mean(0)).max()) + 1.0
    steps = np.unique(np.linspace(0, len(trajectory) - 1, min(frames, len(trajectory))).round().astype(int))
    font = font_of(11)
    pictures = []
    for step in steps.tolist():
        picture = Image.new("RGB", (2 * size[0], size[1] + 2 * LINE), "white")
        picture.paste(Image.fromarray(_draw(trajectory.states[step], rotation, size, closest=3.0)), (0, LINE))
        guess = trajectory.guesses[step] if step < len(trajectory) - 1 else last
        picture.paste(Image.fromarray(_draw(guess, rotation, size, closest=reach)), (size[0], LINE))
        draw = ImageDraw.Draw(picture)
        for place, text in enumerate(("noisy structure", "the network's guess")):
            draw.text((size[0] * place + size[0] // 2, LINE // 2), text, font=font, fill=INK, anchor="mm")
        below = f"step {step + 1} of {len(trajectory)}    clock {trajectory.clocks[step]:.2f}"
        draw.text((size[0], size[1] + LINE + LINE // 2), below, font=font, fill=GREY, anchor="mm")
        pictures.append(picture)
    return Movie(pictures)


def _draw(frame: Frame, rotation: NDArray[np.floating], size: tuple[int, int], *, closest: float) -> NDArray[np.uint8]:
    """One half of a frame; the balls keep their share of the picture while the noise is larger than the molecule."""
    numbers, positions, bonds = frame.numbers, frame.positions, frame.bonds
    if frame.cell is not None:
        from ase import Atoms

        whole = Atoms(numbers=numbers, positions=positions, cell=frame.cell, pbc=True)
        inside = abs(np.linalg.det(frame.cell)) > FACE**3
        numbers, positions, cell = drawn_atoms(whole) if inside else (numbers, positions, frame.cell)
        bonds = near(numbers, positions) * ((numbers[:, None] > 0) & (numbers[None] > 0))
        return render(
            numbers, positions, bonds=bonds, size=size, cell=cell, rotation=cell_viewpoint(frame.cell), stick=0.6
        )
    extent = float(np.abs(positions - positions.mean(0)).max())
    wide = max(1.0, extent / 4.0)
    # far apart, a stick between two atoms says nothing
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonds = np.where(apart < 3.0, bonds, 0)
    return render(numbers, positions, bonds=bonds, size=size, rotation=rotation, ball=wide, closest=closest)


def _base64(picture: Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>moldiff: denoising</title>
<style>body{font-family:sans-serif;margin:1em} input{width:%(width)dpx}</style></head><body>
<img id="frame" width="%(width)d" height="%(height)d" alt="denoising, from noise to the finished structure"><br>
<input id="step" type="range" min="0" max="%(last)d" value="0" aria-label="step"><br>
<button id="play">pause</button>
<script>
const frames = [%(frames)s];
const image = document.getElementById("frame"), slider = document.getElementById("step");
const button = document.getElementById("play");
let at = 0, held = 0, playing = true;
function show(i) { at = i; slider.value = i; image.src = "data:image/png;base64," + frames[i]; }
slider.oninput = () => { playing = false; button.textContent = "play"; show(Number(slider.value)); };
button.onclick = () => { playing = !playing; button.textContent = playing ? "pause" : "play"; };
setInterval(() => {
  if (!playing) return;
  if (at === frames.length - 1 && held < %(hold)d) { held += 1; return; }
  held = 0;
  show((at + 1) %% frames.length);
}, %(pause)d);
show(0);
</script></body></html>
"""
