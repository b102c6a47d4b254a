from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from moldiff.cli import run

Refused = Callable[[list[str]], str]


def test_molecules_are_drawn(sdf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", sdf, "-o", "all.png"]) == 0
    err = capsys.readouterr().err
    assert "10 molecules drawn in all.png" in err
    assert "entry 1: " in err
    assert run(["view", sdf, "-o", "few.png", "-n", "2", "--columns", "1"]) == 0
    with Image.open("all.png") as every, Image.open("few.png") as few:
        assert every.width > few.width
        assert every.height > few.height


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.sdf", "-o", "x.png"], "there is no file none.sdf"),
        (["ten.sdf", "-o", "x.gif"], "must end in one of .png"),
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
