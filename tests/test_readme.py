"""What the README says works by copying: its Python and every command of it, on fewer structures and fewer steps."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

import moldiff
from moldiff.cli import parse, run
from moldiff.data.demo import demo_archive
from moldiff.data.embed import embed
from moldiff.molecules.convert import Arrays, to_mol
from moldiff.shipped import names as shipped

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
TEXT = README.read_text(encoding="utf-8")

#: What stands for a long run: fewer structures, few steps, no minutes, and the demonstration set for QM9.
SHORTER = (
    (r"-n \d+", "-n 12"),
    (r"^(sample|complete)(.*)-n 12", r"\1\2-n 4"),
    (r"--steps \d+", ""),
    (r"--minutes \d+", "--steps 2 --batch 2 --check-every 0 --device cpu"),
    (r"^train qm9", "train demo.npz"),
    (r"^(sample|complete|view) (\S+)(?! out\.sdf)", r"\1 \2 --steps 20"),
    (r"^view out\.sdf --steps 20", "view out.sdf"),
    (r"--fill", ""),
    (r"^(evaluate .*)", r"\1 --jobs 1"),
    (r"^(evaluate (.*--json - .*|predicted.*))", r"\1 --reference none"),
)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> Iterator[str]:
    """The arguments of every `moldiff` command, and lines of Python, in the order of the README, without torchrun's."""
    for block in blocks("sh"):
        for line in block.splitlines():
            line = line.split("  #")[0].strip()
            if line.startswith("moldiff "):
                yield line.removeprefix("moldiff ")
            elif line.startswith("python -c "):
                yield line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:
    """A folder with the files that a reader of the README is supposed to have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLDIFF_DATA", str(tmp_path / "data"))
    moldiff.write([embed(Chem.MolFromSmiles("O=Cc1ccco1"))], "scaffold.sdf")
    archive = demo_archive(12)
    mols = [to_mol(Arrays(*archive.record(i)[:4])) for i in range(12)]
    moldiff.write(mols, "my.sdf")
    moldiff.write(mols, "samples.sdf")
    return tmp_path


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = blocks("python")
    assert code.count("\n") < 15
    code = code.replace("sample(100, seed=0, steps=50)", "sample(8, seed=0, steps=40)")
    code = re.sub(r"sample\(20, ", "sample(4, steps=20, ", code).replace("n=20)", "n=4, steps=20)")
    assert "steps=40" in code
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    mols = names["mols"]
    assert 0 < len(mols) <= 8
    assert all(isinstance(mol, Chem.Mol) and mol.GetConformer().Is3D() for mol in mols)
    written = [mol for mol in Chem.SDMolSupplier("out.sdf", removeHs=False) if mol is not None]
    assert [Chem.MolToSmiles(mol) for mol in written] == [Chem.MolToSmiles(mol) for mol in mols]
    assert Path("out.png").stat().st_size > 1000
    assert names["grown"].report.drawn == 4


@pytest.mark.slow
def test_every_command_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In order, as a reader would type them: later ones use the files of earlier ones."""
    assert run(["data", "demo", "-n", "12", "-o", "demo.npz"]) == 0
    done = list(commands())
    assert len(done) > 15
    for line in done:
        short = line
        for pattern, replacement in SHORTER:
            short = re.sub(pattern, replacement, short)
        arguments = shlex.split(short)
        if arguments[0] == "python":
            exec(compile(arguments[2], str(README), "exec"), {})
            continue
        if arguments == ["data", "qm9"]:
            # without a network it says which file to put where
            assert run([*arguments, "--no-download"]) == 2
            continue
        if "mp20" in arguments and "mp20" not in shipped():
            continue
        if arguments[0] == "train" and "--resume" not in arguments:
            arguments += ["--size", "s"] if "--size" not in arguments else []
        code = run(arguments)
        # a few structures at a few steps may all be invalid, which is exit code 1
        allowed = (0, 1) if arguments[0] in ("sample", "complete") else (0,)
        assert code in allowed, f"moldiff {short}: {code}, {capsys.readouterr().err}"
        if "out.sdf" in arguments and not Path("out.sdf").is_file():
            moldiff.write(moldiff.read("samples.sdf"), "out.sdf")


def test_torchrun_and_slurm_start_commands_that_parse() -> None:
    lines = re.findall(r"-m moldiff (.*)$", TEXT, flags=re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        parse(shlex.split(line, comments=True))


def test_make_targets_and_extras_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE):
        assert f"\n{target}: " in makefile
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r'pip install "\.\[(.*?)\]"', TEXT)
    for extra in extras.split(","):
        assert f"\n{extra} = [" in project


def test_links_and_pictures_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert len(links) > 8
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_tables_are_those_of_the_results() -> None:
    script = README.parent / "benchmarks" / "readme.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "README.md differs from benchmarks/results: run python benchmarks/readme.py"
