from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from moldiff.cli import run
from moldiff.data.files import read

REPOSITORY = Path(__file__).resolve().parents[2]
Streams = pytest.CaptureFixture[str]
Refused = Callable[[list[str]], str]


def test_sample_writes_valid_molecules(weights: str, capsys: Streams) -> None:
    assert run(["sample", weights, "-n", "40", "-o", "out.sdf", "--n-atoms", "2", "--steps", "4"]) == 0
    out, err = capsys.readouterr()
    mols = [mol for mol in Chem.SDMolSupplier("out.sdf", removeHs=False) if mol is not None]
    assert 0 < len(mols) < 40
    assert all(mol.GetNumAtoms() == 2 and mol.GetConformer().Is3D() for mol in mols)
    assert len({mol.GetProp("_Name") for mol in mols}) == len(mols)
    for text in ("valid and connected", "95 % interval", "4 network evaluations", "molecules/s", f"{len(mols)} of 40"):
        assert text in out
    assert "warning: n_atoms 2 is outside" in err
    assert re.search(rf"\b{len(mols)} molecules? written to out.sdf", err)


@pytest.mark.parametrize("suffix", ["sdf", "xyz", "extxyz", "smi"])
def test_sample_fills_up_in_every_format_and_repeats_itself(weights: str, suffix: str) -> None:
    arguments = ["sample", weights, "-n", "6", "--n-atoms", "2", "--steps", "4", "--fill", "--seed", "3", "--quiet"]
    for name in ("a", "b"):
        assert run([*arguments, "-o", f"{name}.{suffix}"]) == 0
    assert Path(f"a.{suffix}").read_bytes() == Path(f"b.{suffix}").read_bytes()
    assert len(read(f"a.{suffix}")) == 6


def test_sample_keeps_invalid_ones_with_their_reason(weights: str, capsys: Streams) -> None:
    arguments = ["sample", weights, "-n", "20", "-o", "out.sdf", "--steps", "3", "--keep-invalid", "--json"]
    assert run(arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    mols = list(Chem.SDMolSupplier("out.sdf", removeHs=False, sanitize=False))
    assert len(mols) == facts["written"] == facts["drawn"] == 20
    reasons = [mol.GetProp("reason") for mol in mols]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == facts["reasons"]


def test_sample_prints_json(weights: str, capsys: Streams) -> None:
    run(["sample", weights, "-n", "4", "-o", "out.sdf", "--steps", "2", "--json"])

    def no_constant(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    facts = json.loads(capsys.readouterr().out, parse_constant=no_constant)
    assert (facts["asked"], facts["drawn"], facts["evaluations"], facts["out"]) == (4, 4, 2, "out.sdf")
    assert {"valid_connected", "molecule_stable", "unique"} <= set(facts["rates"])


def test_sample_quietly(weights: str, capsys: Streams) -> None:
    run(["sample", weights, "-n", "2", "-o", "out.sdf", "--steps", "2", "--keep-invalid", "--quiet"])
    assert capsys.readouterr() == ("", "")


def test_sample_of_nothing_valid_keeps_an_old_file(weights: str, capsys: Streams) -> None:
    Path("old.sdf").write_text("precious")
    arguments = ["sample", weights, "-n", "4", "--steps", "2", "--quiet", "-o"]
    assert run([*arguments, "old.sdf"]) == run([*arguments, "new.sdf"]) == 1
    assert "no valid molecule was made, nothing written to old.sdf" in capsys.readouterr().err
    assert Path("old.sdf").read_text() == "precious"
    assert not Path("new.sdf").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "-n 0: the number of structures must be at least 1"),
        (["-n", "-5"], "-n -5: the number"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--n-atoms", "0"], "n_atoms must be a number of at least 1"),
        (["--batch-size", "0"], "batch_size must be at least 1"),
        (["--device", "abacus"], "unknown device 'abacus': use auto"),
    ],
)
def test_sample_refuses(weights: str, arguments: list[str], message: str, refused: Refused) -> None:
    assert message in refused(["sample", weights, "-o", "out.sdf", *arguments])
    assert not Path("out.sdf").exists()


def test_sample_refuses_unknown_and_broken_models(weights: str, refused: Refused) -> None:
    error = refused(["sample", "qm10", "-o", "out.sdf"])
    assert "no weights called 'qm10'" in error
    assert "run folder" in error
    Path("half.safetensors").write_bytes(Path(weights).read_bytes()[:-100])
    assert "not a readable safetensors file" in refused(["sample", "half.safetensors", "-o", "out.sdf"])
    assert not Path("out.sdf").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/out.sdf", "there is no folder nowhere"),
        ("out.pdb", "unknown suffix '.pdb'"),
        ("out", "unknown suffix"),
        ("folder.sdf", "it is a folder"),
    ],
)
def test_sample_refuses_a_path_before_loading(
    path: str, message: str, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def never(*arguments: Any, **others: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("moldiff.generator.load", never)
    Path("folder.sdf").mkdir()
    assert message in refused(["sample", "qm9", "-o", path])


def test_sample_says_what_is_written_when_the_disk_is_full(
    weights: str, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    from moldiff.data.writing import Writer

    plain = Writer.write

    def full(writer: Writer, mol: Any) -> None:
        if writer.count == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(writer, mol)

    monkeypatch.setattr(Writer, "write", full)
    error = refused(["sample", weights, "-n", "9", "-o", "out.sdf", "--steps", "2", "--keep-invalid"])
    assert "No space left on device; 3 molecules written to out.sdf" in error


def test_ctrl_c_keeps_what_is_finished(weights: str, tmp_path: Path) -> None:
    arguments = ["-n", "1000000", "-o", "out.sdf", "--steps", "4", "--batch-size", "16", "--keep-invalid"]
    process = subprocess.Popen(
        [sys.executable, "-m", "moldiff", "sample", weights, *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    out = tmp_path / "out.sdf"
    deadline = time.monotonic() + 300
    while not (out.exists() and out.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    mols = list(Chem.SDMolSupplier(str(out), removeHs=False, sanitize=False))
    assert mols
    assert None not in mols
    noun = "molecule" if len(mols) == 1 else "molecules"
    found = re.search(rf"interrupted: (\d+) {noun} written to out.sdf, out of (\d+) structures drawn", error)
    assert found is not None, error
    assert len(mols) == int(found.group(1)) <= int(found.group(2))
    assert "Traceback" not in error


def test_sample_under_constraints_and_towards_a_target(weights: str, capsys: Streams) -> None:
    arguments = ["sample", weights, "-n", "4", "-o", "out.sdf", "--steps", "2", "--keep-invalid"]
    wishes = ["--target", "heavy_atoms=2", "--target", "qed=0.4", "--guidance", "2", "--formula", "C2H6O"]
    assert run([*arguments, *wishes]) == 0
    out = capsys.readouterr().out
    assert "4 network evaluations" in out
    # in the order of the model's properties
    assert "target: qed 0.4, heavy_atoms 2; guidance 2" in out
    assert "constraints: formula C2H6O; net charge 0" in out
    for mol in Chem.SDMolSupplier("out.sdf", removeHs=False, sanitize=False):
        symbols = sorted(atom.GetSymbol() for atom in mol.GetAtoms())
        assert symbols == ["C", "C", "H", "H", "H", "H", "H", "H", "O"]


def test_sample_refuses_wishes_that_cannot_be(weights: str, refused: Refused) -> None:
    arguments = ["sample", weights, "-n", "2", "-o", "out.sdf"]
    assert "write a property and its value" in refused([*arguments, "--target", "qed"])
    assert "given twice" in refused([*arguments, "--target", "qed=1", "--target", "qed=2"])
    assert "unknown property 'beauty'" in refused([*arguments, "--target", "beauty=1"])
    assert "unknown symbol 'Xx'" in refused([*arguments, "--elements", "C,Xx"])
    assert "unknown reward" in refused([*arguments, "--reward", "beauty"])
