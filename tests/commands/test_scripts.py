"""What scripts need: nothing but JSON on stdout where it is asked for, silence, and a closed pipe that is no error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from moldiff.cli import run

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = ["--steps", "2", "--batch", "2", "--check-every", "0", "--device", "cpu"]
Streams = pytest.CaptureFixture[str]


def test_train(sdf: str, capsys: Streams) -> None:
    assert run(["train", sdf, "--out", "runs/a", *FEW, "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out.strip().splitlines()[-1])
    assert found["weights"] == "runs/a/model.safetensors"
    assert (found["data"], found["step"], found["passes"], found["batch"]) == ("ten", 2, 4, 2)
    assert found["seconds"] > 0


def test_evaluate(sdf: str, capsys: Streams) -> None:
    common = ["evaluate", sdf, "--reference", "none", "--jobs", "0"]
    assert run([*common, "--json", "-", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["meta"]["structures"] == 11
    assert found["metrics"]["valid"]["of"] == 11
    assert run([*common, "--json", "r.json", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads(Path("r.json").read_text())["metrics"] == found["metrics"]


def test_a_pipe_that_is_closed_is_no_error() -> None:
    command = f"{sys.executable} -m moldiff sample --help | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=300, cwd=REPOSITORY)
    assert done.stderr == ""
    assert done.stdout == "u"
