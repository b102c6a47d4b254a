"""Arguments, help, exit codes; the commands themselves are in tests/commands."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moldiff import cli, commands
from moldiff.cli import parse, run

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = {
    "sample": commands.Sample,
    "complete": commands.Complete,
    "models": commands.Models,
    "data": commands.Data,
    "train": commands.Train,
    "evaluate": commands.Evaluate,
    "view": commands.View,
}
Streams = pytest.CaptureFixture[str]


def test_help_describes_every_command(capsys: Streams) -> None:
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as stop:
            run(arguments)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        for line in ("0    done", "1    nothing valid", "2    bad input", "130  interrupted"):
            assert f"    {line}" in text
        assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example_that_parses(name: str, capsys: Streams) -> None:
    with pytest.raises(SystemExit) as stop:
        run([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    doc = COMMANDS[name].__doc__ or ""
    examples = re.findall(r"^        ((?:torchrun --nproc-per-node 4 -m )?moldiff .*)$", doc, flags=re.MULTILINE)
    assert any(f"moldiff {name}" in example for example in examples)
    for example in examples:
        assert f"    {example}\n" in shown
        arguments = shlex.split(example.split("moldiff ", 1)[1])
        assert isinstance(parse(arguments), COMMANDS[arguments[0]])
    fields = [field.name for field in dataclasses.fields(COMMANDS[name])]
    assert all(f"        {field}: " in (COMMANDS[name].__doc__ or "") for field in fields)


def test_the_commands_of_the_readme_parse() -> None:
    lines = re.findall(r"^moldiff (.*)$", (REPOSITORY / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        parse(shlex.split(line, comments=True))


def test_help_loads_nothing_heavy() -> None:
    heavy = ["torch", "rdkit", "ase", "e3nn", "torch_geometric", "numpy", "PIL"]
    code = f"""
import sys
from moldiff.cli import run
try:
    run(["train", "--help"])
except SystemExit:
    sys.exit(str([name for name in {heavy} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.stderr.strip() == "[]"


def test_python_m_moldiff_and_the_version() -> None:
    command = [sys.executable, "-m", "moldiff", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "moldiff 0.1.0\n")


@pytest.mark.parametrize("arguments", [["draw"], ["sample"], ["sample", "qm9"], ["train", "qm9", "--minutes", "soon"]])
def test_arguments_that_do_not_parse(arguments: list[str], capsys: Streams) -> None:
    with pytest.raises(SystemExit) as stop:
        run(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Streams) -> None:
    from moldiff.generator import crystal_rewards

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moldiff.generator.load", lambda *_, **__: crystal_rewards._require("not_installed"))
    assert run(["sample", "mp20", "-o", "out.cif"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "moldiff: error: this reward needs not_installed; install the extra: pip install 'moldiff[crystal]'"
    ]


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def bug(*arguments: Any, **others: Any) -> None:
        raise ValueError("not raised by the package")

    monkeypatch.setattr("moldiff.generator.load", bug)
    with pytest.raises(ValueError, match="not raised by the package"):
        run(["sample", "qm9", "-o", "out.sdf"])

    def interrupt(*arguments: Any, **others: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moldiff.generator.load", interrupt)
    assert run(["sample", "qm9", "-o", "out.sdf"]) == 130
    assert not Path("out.sdf").exists()
    monkeypatch.setattr(cli, "run", lambda: 7)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 7
