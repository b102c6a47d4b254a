from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.config import ModelConfig, NetworkConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.data.demo_crystals import demo_crystal_archive
from moldiff.networks.weights import build, load, save
from moldiff.training.describe import describe_model
from moldiff.training.loop import Trainer
from moldiff.training.run import train
from moldiff.training.teacher import Teacher
from tests.training.conftest import QUICK

CPU = torch.device("cpu")


@pytest.fixture
def wise(model: ModelConfig, tmp_path: Path) -> Path:
    """Weights whose outputs are not zero, as those of a new network are."""
    network = build(model)
    with torch.no_grad():
        for number, value in enumerate(network.parameters()):
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    known = dataclasses.replace(model, facts={"passes": "7"})
    return save(tmp_path / "wise.safetensors", known, tensors=network.state_dict())


def pupil(archive: Archive, model: ModelConfig, out: Path, teacher: Path | None, **settings: Any) -> Trainer:
    config = TrainConfig(**{"steps": 4} | QUICK | settings)
    return Trainer(archive.subset("train"), model, config=config, out=out, teacher=teacher)


def test_a_pupil_that_equals_its_teacher_has_nothing_to_learn(
    archive: Archive, model: ModelConfig, wise: Path, tmp_path: Path, one_thread: None
) -> None:
    run = pupil(archive, model, tmp_path / "run", wise, teacher_share=1.0)
    run.network.load_state_dict(load(wise)[0].state_dict())
    for step in range(6):
        parts, _ = run.losses(step)
        assert all(float(parts[name].detach()) < 1e-6 for name in ("positions", "elements", "charges", "bonds")), parts


def test_the_share_is_that_of_the_teachers_loss(
    archive: Archive, model: ModelConfig, wise: Path, tmp_path: Path, one_thread: None
) -> None:
    found = [
        pupil(archive, model, tmp_path / str(share), wise if share else None, teacher_share=share).losses(3)[0]
        for share in (0.0, 1.0, 0.25)
    ]
    for name in ("positions", "elements", "charges", "bonds"):
        data, taught, both = (parts[name].detach() for parts in found)
        assert float(taught) > 0 or name == "charges"  # of which these molecules have one
        assert float(both) == pytest.approx(0.75 * float(data) + 0.25 * float(taught), rel=1e-4)


def test_a_pupil_becomes_like_its_teacher(
    archive: Archive, model: ModelConfig, wise: Path, tmp_path: Path, one_thread: None
) -> None:
    run = pupil(archive, model, tmp_path / "run", wise, steps=120, teacher_share=1.0, rate=5e-3)

    @torch.no_grad()
    def distance() -> float:
        drawn = [run.losses(1000 + step)[0] for step in range(8)]
        return sum(float(parts[name]) for parts in drawn for name in ("positions", "elements", "bonds"))

    before = distance()
    run.fit(progress=False)
    assert distance() < 0.7 * before, (before, distance())


def test_the_teacher_runs_compiled_where_the_pupil_does(
    archive: Archive, model: ModelConfig, wise: Path, tmp_path: Path, one_thread: None, recorded_compiler: list[str]
) -> None:
    plain = pupil(archive, model, tmp_path / "plain", wise, compile="off")
    plain.fit(progress=False)
    assert plain.teacher is not None and plain.teacher.network.compiled == "never" and not recorded_compiler
    run = pupil(archive, model, tmp_path / "run", wise, compile="on")
    run.fit(progress=False)
    assert run.teacher is not None and run.teacher.network.compiled == "sampling"


def test_a_run_that_is_resumed_has_its_teacher_again(
    archive: Archive, tiny_preset: NetworkConfig, wise: Path, tmp_path: Path, one_thread: None
) -> None:
    settings: dict[str, Any] = {"steps": 4, **QUICK, "teacher": str(wise), "save_steps": 2}
    whole = train(archive, tmp_path / "whole", config=TrainConfig(**settings), init_from=wise, progress=False)
    with pytest.raises(RuntimeError, match="enough"), pytest.MonkeyPatch.context() as patch:
        update = Trainer.update

        def stop(run: Trainer) -> dict[str, Any]:
            if run.step == 2:
                raise RuntimeError("enough")
            return update(run)

        patch.setattr(Trainer, "update", stop)
        train(archive, tmp_path / "half", config=TrainConfig(**settings), init_from=wise, progress=False)
    half = train(archive, tmp_path / "half", resume=True, progress=False)
    assert load(half)[1].facts["teacher"] == "wise.safetensors after 7 passes"
    for one, other in zip(load(whole)[0].parameters(), load(half)[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_who_cannot_teach_is_named(model: ModelConfig, wise: Path) -> None:
    crystal = describe_model(demo_crystal_archive(), data="demo")
    with pytest.raises(ValueError, match="cannot teach crystals"):
        Teacher.load(wise, crystal, config=TrainConfig(steps=1), device=CPU)
    with pytest.raises(ValueError, match="cannot teach this run: its properties differ"):
        Teacher.load(wise, dataclasses.replace(model, properties=()), config=TrainConfig(steps=1), device=CPU)
