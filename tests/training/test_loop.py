from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from moldiff.config import ModelConfig, to_dict
from moldiff.data.archive import Archive
from moldiff.networks.weights import load
from moldiff.shipped import WEIGHTS
from moldiff.training import checkpoint, loop
from moldiff.training.describe import with_columns
from moldiff.training.log import forget_after, read_log
from moldiff.training.loop import Trainer, choose_device
from moldiff.training.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118


def assert_same(one: Path, other: Path) -> None:
    """Bit for bit the same weights, average and moments."""
    for name in (checkpoint.NAME, WEIGHTS):
        first, second = tensors(one / name), tensors(other / name)
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_it_learns_one_batch(archive: Archive, model: ModelConfig, tmp_path: Path, one_thread: None) -> None:
    few = archive.select([2] * 8)  # one molecule, eight times
    config = loop.TrainConfig(
        steps=250, batch=8, rate=6e-3, device="cpu", precision="fp32", check_every=0.0, save_steps=1000
    )
    trainer = Trainer(few, model, config=config, out=tmp_path)

    @torch.no_grad()
    def mean_losses() -> dict[str, float]:
        # the noise of steps that are never trained on
        drawn = [trainer.losses(10_000 + i)[0] for i in range(40)]
        return {name: float(torch.stack([parts[name] for parts in drawn]).mean()) for name in drawn[0]}

    before = mean_losses()
    trainer.fit(progress=False)
    after = mean_losses()
    # at much noise the pose is not to be known, and the loss on positions has a floor
    for name, share in (("positions", 0.85), ("elements", 0.6), ("bonds", 0.3)):
        assert after[name] < share * before[name], (name, before, after)


def test_a_finished_run_leaves_weights_and_a_log(trainer: Callable[..., Trainer]) -> None:
    run = trainer(steps=41)
    path = run.fit(progress=False)
    assert path == run.out / "model.safetensors"
    network, model = load(path)
    assert model.facts["steps"] == "41"
    assert int(model.facts["passes"]) == run.passes > 0
    for name, value in network.named_parameters():
        assert torch.equal(value, run.average.values[name].half().float())
    lines = list(read_log(run.out))
    assert [line["step"] for line in lines] == [1, 20, 40]
    assert {"loss", "positions", "elements", "charges", "bonds", "gradient", "rate", "passes"} <= set(lines[0])
    assert run.plan is not None
    assert lines[1]["rate"] == pytest.approx(1e-3 * run.plan.rate(19))


def test_the_same_seed_gives_the_same_run_and_another_does_not(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer(tmp_path / name, seed=seed).fit(progress=False)
    assert_same(tmp_path / "a", tmp_path / "b")
    one, other = (tensors(tmp_path / name / WEIGHTS) for name in "ac")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_checking_changes_nothing(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer(tmp_path / "plain").fit(progress=False)
    checked = trainer(tmp_path / "checked", check_every=0.5, check_samples=2)
    checked.fit(progress=False)
    assert_same(tmp_path / "plain", tmp_path / "checked")
    results = [line["check"] for line in read_log(checked.out) if "check" in line]
    assert len(results) == 2
    assert set(results[0]) == {"stable", "connected", "both", "of"}
    assert results[0]["of"] == 2


SCRIPT = """
import json, sys, time
from pathlib import Path
import torch
from moldiff.config import ModelConfig, TrainConfig, from_dict
from moldiff.data.archive import Archive
from moldiff.training.loop import Trainer

torch.set_num_threads(1)
folder = Path(sys.argv[1])
model = from_dict(ModelConfig, json.loads((folder / "model.json").read_text()))
archive = Archive.load(folder / "demo.npz").subset("train")
config = TrainConfig(steps=60, batch=6, device="cpu", save_steps=7, check_every=0.4, check_samples=2)
trainer = Trainer(archive, model, config=config, out=folder / "run")
update = trainer.update
trainer.update = lambda: (time.sleep(0.03), update())[1]  # time for being killed
trainer.fit(progress=False)
"""


def test_resuming_after_kill_9_is_bit_exact(
    archive: Archive, model: ModelConfig, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    archive.save(tmp_path / "demo.npz")
    (tmp_path / "model.json").write_text(json.dumps(to_dict(model)))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment)
    deadline = time.monotonic() + 300
    run = tmp_path / "run"
    while not (run / checkpoint.NAME).exists() or checkpoint.read_header(run)["step"] < 14:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = checkpoint.read_header(run)["step"]
    assert 14 <= step < 60
    assert step % 7 == 0

    settings: dict[str, Any] = {"steps": 60, "precision": "bf16", "save_steps": 7}
    resumed = trainer(run, resume=True, **settings)
    assert resumed.step == step
    resumed.fit(progress=False)
    trainer(tmp_path / "whole", **settings).fit(progress=False)
    assert_same(run, tmp_path / "whole")
    # the log goes on without a gap
    assert {20, 40, 60} <= {line["step"] for line in read_log(run)}


def test_the_stored_settings_count_on_resuming(trainer: Callable[..., Trainer]) -> None:
    trainer(seed=3, rate=2e-3).fit(progress=False)
    again = trainer(resume=True, seed=4, rate=5e-3, steps=99, save_steps=5)
    assert (again.config.seed, again.config.rate, again.config.steps) == (3, 2e-3, 4)
    assert again.config.save_steps == 5
    assert again.plan == Plan.of(4)


def test_ctrl_c_saves_first(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(steps=50)
    update = run.update

    def interrupted() -> dict[str, Any]:
        if run.step == 3:
            raise KeyboardInterrupt
        return update()

    monkeypatch.setattr(run, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.fit(progress=False)
    assert checkpoint.read_header(run.out)["step"] == 3
    assert trainer(resume=True).step == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_halves_the_batch(
    trainer: Callable[..., Trainer],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trainer(batch=6)
    losses, calls = run.losses, []

    def fail_once(step: int) -> Any:
        calls.append(step)
        if len(calls) == 2:
            raise error
        return losses(step)

    monkeypatch.setattr(run, "losses", fail_once)
    run.fit(progress=False)
    assert calls == [0, 1, 1, 2, 3]
    assert "out of memory at step 1: the batch is halved to 3" in capsys.readouterr().out
    assert run.passes <= 6 + 3 * 3
    assert checkpoint.read_header(run.out)["batch"] == 3
    assert trainer(resume=True).batch == 3


def test_a_gradient_that_is_not_finite_does_no_harm(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(steps=3, check_every=0.0)
    total = run.process.total
    calls = []

    def broken(losses: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        return total(losses) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(run.process, "total", broken)
    for _ in range(3):
        numbers = run.update()
    assert len(calls) == 3 and torch.isfinite(numbers["loss"])
    assert all(bool(torch.isfinite(p).all()) for p in run.network.parameters())
    assert all(bool(torch.isfinite(v).all()) for v in run.average.values.values())


def test_a_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 20}\n{"step": 40}\n{"step": 40, "check": {}}\n{"step": 60}\n{"ste')
    forget_after(log, 40)
    assert [line["step"] for line in read_log(tmp_path)] == [20, 40, 40]
    forget_after(tmp_path / "none.jsonl", 1)


def test_other_errors_and_a_batch_of_one_are_not_halved(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(error: Exception) -> Callable[[int], Any]:
        def losses(step: int) -> Any:
            raise error

        return losses

    run = trainer(tmp_path / "a")
    monkeypatch.setattr(run, "losses", fail(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run.update()
    run = trainer(tmp_path / "b", batch=1)
    monkeypatch.setattr(run, "losses", fail(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        run.update()


def test_checks_take_a_twentieth_of_the_minutes(trainer: Callable[..., Trainer]) -> None:
    run = trainer(minutes=10, check_every=0.1, check_samples=6, batch=3)
    run.step, run.plan = 5, Plan.of(10)
    brief, long = (seconds / (run.model.sampler.steps * 2 / 3) for seconds in (29, 31))  # a step, by what a check takes
    assert run._check_due(0.5, [brief], [])
    assert not run._check_due(0.6, [brief], [])
    assert not run._check_due(0.5, [long], [])
    assert run._check_due(0.5, [long], [15.0])
    assert not run._check_due(0.5, [brief], [15.0, 16.0])
    run.config = dataclasses.replace(run.config, minutes=None, steps=10)
    assert run._check_due(0.5, [long], [])


def test_minutes_fix_a_plan_once(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MEASURE_STEPS", 10)
    run = trainer(minutes=0.05)
    assert run.plan is None
    run.fit(progress=False)
    assert run.plan is not None
    assert run.step == run.plan.steps > loop.WARM_STEPS
    assert run.seconds < 30  # asked for 3; the machine may be busy
    header = checkpoint.read_header(run.out)
    assert header["plan"] == to_dict(run.plan)
    again = trainer(resume=True, minutes=5)
    assert (again.plan, again.config.minutes) == (run.plan, 0.05)
    again.fit(progress=False)
    assert again.step == run.step


def test_a_run_before_its_plan_is_resumed_without_one(trainer: Callable[..., Trainer]) -> None:
    run = trainer(minutes=5)
    for _ in range(3):
        run.update()
    run.save()
    assert checkpoint.read_header(run.out)["plan"] is None
    assert trainer(resume=True, minutes=5).plan is None


def test_a_folder_with_a_run_is_refused(trainer: Callable[..., Trainer]) -> None:
    trainer().fit(progress=False)
    with pytest.raises(ValueError, match=r"holds a run already: go on with --resume, or choose another folder"):
        trainer()


def test_resuming_nothing_is_refused(trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(ValueError, match=r"nothing to resume in .*run: .*start without --resume"):
        trainer(resume=True)


def test_resuming_with_other_molecules_is_refused(
    trainer: Callable[..., Trainer], archive: Archive, model: ModelConfig, tmp_path: Path
) -> None:
    trainer().fit(progress=False)
    other = loop.dataclasses.replace(model, data="other", sizes={"5": 7})
    with pytest.raises(ValueError, match=r"trained on other data .*not these 7 of other.*--init-from"):
        trainer(resume=True, model=other)


def test_an_output_that_is_a_file_is_refused(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot make the folder .*file.*choose another"):
        trainer(tmp_path / "file")


def test_no_steps_are_refused(trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(ValueError, match=r"at least one step, not 0|steps=0"):
        trainer(steps=0)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="unknown device 'abacus'"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(ValueError, match="torch sees no GPU"):
            choose_device("cuda")


def test_columns_are_taken_by_name(archive: Archive) -> None:
    names = archive.property_names.tolist()
    wanted = [names[1], "dipole", names[0]]
    changed = with_columns(archive, wanted)
    assert changed.property_names.tolist() == wanted
    assert (changed.column(names[0]) == archive.column(names[0])).all()
    assert (changed.column("dipole") != changed.column("dipole")).all()
    assert with_columns(archive, names) is archive
