"""Movies of a denoising: GIF, page and strip, of molecules and of crystals."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from PIL import Image

from moldiff.data.trajectory import Frame, Trajectory
from moldiff.pictures import view
from moldiff.pictures.movie import movie

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def water() -> Trajectory:
    """Water that comes together from far away; its elements are known from the third step on."""
    final = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    bonds = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    states, guesses = [], []
    for step in range(8):
        noise = RNG.normal(size=(3, 3)) * 60 * (7 - step) / 7
        numbers = np.array([8, 1, 1]) if step > 2 else np.zeros(3, np.int64)
        states.append(Frame(numbers, final + noise, bonds if step > 4 else 0 * bonds))
        guesses.append(Frame(np.array([8, 1, 1]), final + 0.1 * RNG.normal(size=(3, 3)), bonds))
    return Trajectory(tuple(states), tuple(guesses), np.linspace(0.9, 0, 8))


def test_all_files(water: Trajectory, tmp_path: Path) -> None:
    film = view(water, tmp_path / "m.gif")
    assert len(film) == 8
    with Image.open(tmp_path / "m.gif") as saved:
        assert saved.n_frames == 8  # type: ignore[attr-defined]
        assert saved.size == film.frames[0].size == (520, 250)
        assert saved.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    film.save(tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert page.count("iVBORw0KGgo") == 8
    assert "http" not in page  # needs no network
    film.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as strip:
        assert strip.size == (3 * 520, 2 * 250)
    assert film._repr_html_().startswith('<img alt="denoising')
    assert Image.open(io.BytesIO(film._repr_png_())).size == (3 * 520, 2 * 250)


def test_frames_are_left_out_evenly(water: Trajectory) -> None:
    film = movie(water, frames=3, size=(80, 60))
    assert len(film) == 3
    whole = movie(water, size=(80, 60))
    assert np.array_equal(np.asarray(film.frames[-1]), np.asarray(whole.frames[-1]))


def test_crystals() -> None:
    silicon = bulk("Si")
    frame = Frame(silicon.numbers, silicon.positions, np.zeros((2, 2), np.int64), silicon.cell.array)
    unknown = Frame(np.zeros(2, np.int64), RNG.random((2, 3)), np.zeros((2, 2), np.int64), 1e-3 * np.eye(3))
    film = movie(Trajectory((unknown, frame), (frame, frame), np.array([0.5, 0.0])))
    assert all((np.asarray(picture.convert("L")) < 200).sum() > 100 for picture in film.frames)


def test_refused(water: Trajectory, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of \.gif, \.html"):
        view(water, tmp_path / "m.avi")
    with pytest.raises(ValueError, match="at least 2"):
        view(water, frames=1)
    with pytest.raises(ValueError, match="at least 60 pixels"):
        view(water, panel=(20, 20))
    with pytest.raises(ValueError, match=r"must end in one of \.png"):
        view(bulk("Si"), tmp_path / "m.gif")
    with pytest.raises(ValueError, match="at least one step"):
        Trajectory((), (), np.zeros(0))
