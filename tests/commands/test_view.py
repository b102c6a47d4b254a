from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk
from PIL import Image

from moldiff.cli import run

Refused = Callable[[list[str]], str]


def test_molecules_are_drawn(sdf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", sdf, "-o", "all.png"]) == 0
    err = capsys.readouterr().err
    assert "10 structures drawn in all.png" in err
    assert "entry 1: " in err
    assert run(["view", sdf, "-o", "few.png", "-n", "2", "--columns", "1"]) == 0
    with Image.open("all.png") as every, Image.open("few.png") as few:
        assert every.width > few.width
        assert every.height > few.height


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.sdf", "-o", "x.png"], "there is no file none.sdf"),
        (["ten.sdf", "-o", "x.gif"], "pictures of ten.sdf end in .png"),
        (["ten.sdf", "-o", "x.svg"], "must end in one of .png"),
        (["ten.sdf", "-o", "nowhere/x.png"], "'nowhere' is not a folder"),
        (["ten.sdf", "-o", "x.png", "-n", "0"], "must be at least 1"),
        (["ten.sdf", "-o", "x.png", "--columns", "0"], "columns is 0"),
        (["ten.txt", "-o", "x.png"], "unknown suffix '.txt'"),
    ],
)
def test_refused(arguments: list[str], message: str, sdf: str, refused: Refused) -> None:
    text = Path(sdf).read_text().split("$$$$\nnonsense\n")  # only good entries, so that there is one line
    Path(sdf).write_text("$$$$\n".join([text[0], text[1].removeprefix("$$$$\n")]))
    assert message in refused(["view", *arguments])
    assert not Path("x.png").exists()


def test_crystals_and_pages(capsys: pytest.CaptureFixture[str]) -> None:
    bulk("NaCl", "rocksalt", a=5.64).write("salt.cif")
    assert run(["view", "salt.cif", "-o", "salt.png", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    with Image.open("salt.png") as picture:
        assert picture.size == (324, 216)
    pytest.importorskip("py3Dmol")
    assert run(["view", "salt.cif", "-o", "salt.html"]) == 0
    assert "addUnitCell" in Path("salt.html").read_text(encoding="utf-8")
    assert "1 structure drawn in salt.html" in capsys.readouterr().err


def test_a_page_without_py3dmol(sdf: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3Dmol", None)
    assert run(["view", sdf, "-o", "ten.html"]) == 2
    assert "pip install 'moldiff[viz]'" in capsys.readouterr().err


def test_the_movie_of_a_model(weights: str, refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", weights, "-o", "movie.gif", "--steps", "4"]) == 0
    assert "4 steps drawn in movie.gif" in capsys.readouterr().err
    with Image.open("movie.gif") as movie:
        assert movie.n_frames == 4  # type: ignore[attr-defined]
    assert "must end in one of .gif" in refused(["view", weights, "-o", "movie.avi"])
