"""`moldiff evaluate` on a file of crystals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pymatgen")

from ase.build import bulk
from ase.io import write

from moldiff.cli import parse, run


@pytest.fixture
def salts(tmp_path: Path) -> str:
    path = tmp_path / "salts.extxyz"
    write(path, [bulk("NaCl", "rocksalt", a=5.64), bulk("MgO", "rocksalt", a=4.21)])
    return str(path)


def test_crystals_are_told_by_their_content(salts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    assert (
        run(["evaluate", salts, "--csp", salts, "--jobs", "0", "--json", str(out), "--csv", str(tmp_path / "c.csv")])
        == 0
    )
    printed = capsys.readouterr().out
    assert "2 crystals" in printed and "match rate" in printed
    stored = json.loads(out.read_text())
    assert stored["metrics"]["match_rate"]["value"] == 1
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 3


def test_options_for_molecules_are_an_error(salts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", salts, "--xtb", "1", "--jobs", "0"]) == 2
    assert "for molecules" in capsys.readouterr().err


def test_an_unknown_calculator_is_an_error(salts: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", salts, "--reference", "none", "--calculator", "no_such", "--jobs", "0"]
    assert run(arguments) == 2
    assert "cannot make the calculator 'no_such'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], 0),
        (["--posebusters"], 200),
        (["--posebusters", "--xtb", "5"], 200),
        (["--posebusters", "50"], 50),
        (["--posebusters=7"], 7),
    ],
)
def test_posebusters_with_and_without_a_number(options: list[str], wanted: int) -> None:
    for arguments in (["evaluate", "samples.sdf", *options], ["evaluate", *options, "samples.sdf"]):
        command = parse(arguments)
        assert command.posebusters == wanted and command.files == ("samples.sdf",)  # type: ignore[union-attr]


def test_posebusters_of_less_than_none_is_an_error(salts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", salts, "--posebusters", "-3", "--jobs", "0"]) == 2
    assert "posebusters = -3" in capsys.readouterr().err
