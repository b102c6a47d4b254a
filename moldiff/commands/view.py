"""`moldiff view`: pictures of the structures in a file, or of how one comes about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, USER_ERROR, Flag, Whole, say


@dataclass(frozen=True)
class View:
    """Draw the structures of a file in a grid, or the denoising of one structure as a movie.

    Molecules are drawn in 3D beside their flat formula, crystals as unit cells:
        moldiff view out.sdf -o out.png
        moldiff view crystals.cif -o crystals.png -n 12

    A page can be turned with the mouse (extra viz; its JavaScript comes from the network, a picture is in it too):
        moldiff view out.sdf -o out.html

    With a model instead of a file, one structure is sampled and its denoising drawn: .gif moves, .html has a slider:
        moldiff view qm9 -o movie.gif --seed 3

    Attributes:
        file: structures (.sdf, .xyz, .extxyz, .smi, also .gz; .cif and other files of crystals), or a model.
        out: what to write: .png or .jpg a picture, .html a page, .gif a movie.
        number: draw only the first so many.
        columns: structures in a row; about square by default.
        seed: of the movie.
        steps: sampler steps of the movie; the model's own by default.
        quiet: say nothing on success.
    """

    file: Annotated[Positional[str], arg(metavar="FILE")]
    out: Annotated[Path, arg(aliases=["-o"])]
    number: Annotated[int | None, arg(aliases=["-n"], metavar="INT", help_behavior_hint="")] = None
    columns: Whole = None
    seed: int = 0
    steps: Whole = None
    quiet: Flag = False

    def run(self) -> int:
        """Read and draw."""
        if self.number is not None and self.number < 1:
            raise ValueError(f"-n {self.number}: the number of structures to draw must be at least 1")
        if self.is_model():
            return self._movie()

        from moldiff.data.files import read
        from moldiff.pictures import view

        if self.out.suffix.lower() == ".gif":
            raise ValueError(
                f"{self.out}: a movie shows how a model makes a structure: moldiff view MODEL -o {self.out}; "
                f"pictures of {self.file} end in .png, .jpg or .html"
            )
        reading = read(self.file)
        if reading.skipped:
            say(reading.report())
        chosen = list(reading)[: self.number]
        try:
            view(chosen, self.out, columns=self.columns)
        except ImportError as error:
            # py3Dmol, which only a page needs
            say(f"error: {error}")
            return USER_ERROR
        if not self.quiet:
            noun = "structure" if len(chosen) == 1 else "structures"
            say(f"{len(chosen)} {noun} drawn in {self.out}")
        return DONE

    def is_model(self) -> bool:
        """Whether a model is meant: a shipped name, a run folder or a weights file."""
        from moldiff.shipped import WEIGHTS, names

        path = Path(self.file)
        return (
            path.suffix == ".safetensors" or (path / WEIGHTS).is_file() or (not path.exists() and self.file in names())
        )

    def _movie(self) -> int:
        from moldiff.generator import load
        from moldiff.pictures import view
        from moldiff.pictures.movie import MOVIES
        from moldiff.pictures.paths import check_path

        check_path(self.out, MOVIES)
        trajectory = load(self.file).trajectory(seed=self.seed, steps=self.steps)
        view(trajectory, self.out)
        if trajectory.structure is None:
            say(f"what came out with --seed {self.seed} is no valid structure; try another seed")
        if not self.quiet:
            say(f"{len(trajectory)} steps drawn in {self.out}")
        return DONE
