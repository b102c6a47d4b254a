from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moldiff.cli import run
from moldiff.data.archive import Archive
from moldiff.networks.weights import load
from moldiff.training.run import stored_config

Streams = pytest.CaptureFixture[str]
Refused = Callable[[list[str]], str]
FEW = ["--steps", "3", "--batch", "2", "--check-every", "0", "--device", "cpu"]


def test_from_a_file_to_molecules_and_back(sdf: str, capsys: Streams) -> None:
    assert run(["train", sdf, "--out", "runs/a", *FEW, "--rate", "2e-3", "--kekulised", "--precision", "fp32"]) == 0
    out, err = capsys.readouterr()
    assert "entry 1 skipped" in out
    assert "the weights are in runs/a/model.safetensors; try  moldiff sample runs/a" in err
    stored = stored_config("runs/a")
    assert (stored.steps, stored.batch, stored.rate, stored.aromatic, stored.precision) == (3, 2, 2e-3, False, "fp32")
    assert (stored.size, stored.seed) == ("s", 0)
    assert run(["sample", "runs/a", "-n", "2", "-o", "out.sdf", "--steps", "2", "--keep-invalid"]) == 0

    # resumed without a budget: the stored settings count, and the run is at its end
    assert run(["train", sdf, "--out", "runs/a", "--resume", "--device", "cpu", "--save-seconds", "7"]) == 0
    assert load("runs/a/model.safetensors")[1].facts["steps"] == "3"
    # the same settings may be repeated
    assert run(["train", sdf, "--out", "runs/a", "--resume", "--steps", "3", "--size", "s", "--rate", "2e-3"]) == 0
    # and another run starts from the weights
    assert run(["train", sdf, "--out", "runs/b", *FEW, "--init-from", "runs/a"]) == 0
    assert stored_config("runs/b").size is None
    first, second = (int(load(f"runs/{name}/model.safetensors")[1].facts["passes"]) for name in "ab")
    assert second > first


def test_within_minutes(sdf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moldiff.training.loop.MEASURE_STEPS", 3)
    assert run(["train", sdf, "-o", "run", "--minutes", "0.01", "--batch", "2", "--check-every", "0"]) == 0
    assert stored_config("run").minutes == 0.01
    assert run(["train", sdf, "-o", "run", "--resume"]) == 0


def test_ctrl_c_says_how_to_go_on(sdf: str, monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    from moldiff.training.loop import Trainer

    plain = Trainer.update

    def interrupted(trainer: Trainer) -> dict[str, Any]:
        if trainer.step == 2:
            raise KeyboardInterrupt
        return plain(trainer)

    monkeypatch.setattr(Trainer, "update", interrupted)
    assert run(["train", sdf, "--out", "run", *FEW]) == 130
    assert f"moldiff train {sdf} --out run --resume" in capsys.readouterr().err
    monkeypatch.setattr(Trainer, "update", plain)
    assert run(["train", sdf, "--out", "run", "--resume"]) == 0
    assert load("run/model.safetensors")[1].facts["steps"] == "3"


def test_a_teacher_and_another_mix_of_tasks(sdf: str) -> None:
    assert run(["train", sdf, "--out", "a", *FEW]) == 0
    taught = ["--init-from", "a", "--teacher", "a", "--tasks", "generate=0.8,completion=0.2", "--unconditional", "0.7"]
    assert run(["train", sdf, "--out", "b", *FEW, *taught]) == 0
    stored = stored_config("b")
    assert (stored.teacher, stored.tasks) == ("a", {"generate": 0.8, "completion": 0.2})
    assert stored.unconditional == 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --minutes or --steps"),
        (["--minutes", "1", "--steps", "2"], "either --minutes or --steps"),
        (["--minutes", "0"], "--minutes 0 must be above 0"),
        (["--steps", "0"], "--steps 0 must be at least 1"),
        (["--resume"], "nothing to resume in run"),
        (["--resume", "--init-from", "qm9"], "give one of them"),
        (["--steps", "2", "--init-from", "qm10"], "no weights called 'qm10'"),
        (["--steps", "2", "--device", "abacus"], "unknown device 'abacus'"),
        (["--steps", "2", "--teacher", "qm10"], "no weights called 'qm10'"),
        (["--steps", "2", "--teacher", "qm9"], "cannot teach this run: its alphabets differ"),
        (["--steps", "2", "--tasks", "generate"], "--tasks 'generate' must read like generate=0.8"),
        (["--steps", "2", "--tasks", "generate=1,growing=1"], "unknown tasks ['growing']: choose from generate"),
        (["--steps", "2", "--tasks", "generate=-1"], "the shares of tasks must not be negative"),
        (["--steps", "2", "--unconditional", "40"], "unconditional must be a share between 0 and 1, not 40"),
    ],
)
def test_refused(arguments: list[str], message: str, archive: Archive, refused: Refused) -> None:
    archive.save("few.npz")
    assert message in refused(["train", "few.npz", "--out", "run", *arguments])
    assert not list(Path().glob("run/*.safetensors"))


def test_unknown_data_are_refused(refused: Refused) -> None:
    assert "no archive of 'qm10'" in refused(["train", "qm10", "--out", "run", "--steps", "2"])
    assert "no file none.sdf" in refused(["train", "none.sdf", "--out", "run", "--steps", "2"])


def test_a_folder_in_use_and_other_settings_are_refused(archive: Archive, refused: Refused) -> None:
    archive.save("few.npz")
    run(["train", "few.npz", "--out", "run", *FEW])
    assert "holds a run already: go on with --resume" in refused(["train", "few.npz", "--out", "run", *FEW])
    error = refused(["train", "few.npz", "--out", "run", "--resume", "--steps", "9"])
    assert "was started with steps=3 and goes on with it, not with 9" in error
    Path("file").write_text("")
    assert "cannot make the folder file" in refused(["train", "few.npz", "--out", "file", *FEW])
