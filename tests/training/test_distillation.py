"""Distillation: a long step of the pupil's leads where its teacher's short ones do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.config import ModelConfig, NetworkConfig, SamplerConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.diffusion.joint import JointProcess
from moldiff.networks.weights import alphabets, build, load, save
from moldiff.state import State
from moldiff.training import teacher
from moldiff.training.distillation import Distillation
from moldiff.training.loop import Trainer
from moldiff.training.run import train
from tests.training.conftest import QUICK

SAMPLER = SamplerConfig(steps=8, density=2.5, last=0.28, churn=0.2, redraw=1)


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


class Bent:
    """A denoiser whose guess follows the noise and the clock, and that counts; symbols from the positions."""

    def __init__(self, model: ModelConfig) -> None:
        self.symbols = {name: len(symbols) for name, symbols in model.alphabets.items()}
        self.seen: list[tuple[State, Clocks, Prediction | None]] = []

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        self.seen.append((state, clocks, previous))
        x, t = state.field("positions"), clocks.time("positions", state)[:, None, None]
        given = clocks.is_given("positions", state).unsqueeze(-1)
        clean = torch.where(given, x, torch.tanh(x) * (1 - t) * state.mask.unsqueeze(-1))
        far = clean.norm(dim=-1)
        pairs = far[:, :, None] + far[:, None, :]
        return Prediction(
            positions=clean,
            elements=far.unsqueeze(-1) * torch.arange(self.symbols["elements"]),
            charges=far.unsqueeze(-1) * torch.arange(self.symbols["charges"]),
            bonds=pairs.unsqueeze(-1) * torch.arange(self.symbols["bonds"]),
        )


@pytest.fixture
def start(archive: Archive, model: ModelConfig, tmp_path: Path, one_thread: None) -> tuple[JointProcess, State, Clocks]:
    """A noisy batch of all tasks, with its process and clocks."""
    run = Trainer(archive.subset("train"), model, config=TrainConfig(steps=4, **QUICK | {"batch": 24}), out=tmp_path)
    state = run.batches.draw(0).state
    from moldiff.diffusion.tasks import draw_noisy

    _, noisy, clocks = draw_noisy(state, run.process, model.diffusion, hydrogen=run.hydrogen, generator=seed(2))
    times = clocks.time("positions", noisy)
    assert (times == 0).any() and (times > 0.5).any() and ((times > 0) & (times < 0.28)).any()
    return JointProcess.for_molecules(model.diffusion, alphabets(model)), noisy, clocks


@pytest.mark.parametrize("substeps", [1, 4])
def test_the_target_leads_where_the_short_steps_lead(
    start: tuple[JointProcess, State, Clocks], model: ModelConfig, substeps: int
) -> None:
    process, noisy, clocks = start
    distillation = Distillation(process, SAMPLER, substeps=substeps)
    begun = distillation.begin(noisy, clocks, generator=seed())
    bent = Bent(model)
    told = distillation.walk(bent, begun, None, None, generator=seed())

    # by hand: equal parts of the clock, but for the last step, which the teacher takes at once
    gaussian, here = process.processes["positions"], begun.clocks.time("positions", begun.noisy)
    state, other = begun.noisy, Bent(model)
    for number in range(substeps):
        part = torch.where(begun.after > 0, (here - begun.after) / substeps, 0.0)
        t_from = here - number * part
        t_to = torch.where(begun.after > 0, t_from - part, here if number + 1 < substeps else torch.zeros_like(here))
        now = begun.clocks.at(positions=t_from)
        guess = other(state, now)
        state = state.replace(positions=gaussian.step(state, guess, now, t_from, t_to, generator=seed()))
    once = gaussian.step(begun.noisy, told, begun.clocks, here, begun.after, generator=seed())
    assert torch.allclose(once, state.field("positions"), atol=1e-4)
    for name in ("elements", "charges", "bonds"):
        assert torch.allclose(getattr(told, name), getattr(guess, name), atol=1e-4)
    assert len(bent.seen) == substeps
    assert all((seen.field("bonds") == noisy.field("bonds")).all() for seen, _, _ in bent.seen)
    if substeps == 1:
        assert told.positions is not None and guess.positions is not None
        assert torch.allclose(told.positions, guess.positions, atol=1e-4)


def test_given_atoms_and_finished_positions_stay(start: tuple[JointProcess, State, Clocks], model: ModelConfig) -> None:
    process, noisy, clocks = start
    distillation = Distillation(process, SAMPLER, substeps=3)
    begun = distillation.begin(noisy, clocks, generator=seed())
    told = distillation.walk(Bent(model), begun, None, None, generator=seed())
    given = clocks.is_given("positions", noisy)
    settled = (clocks.time("positions", noisy) == 0)[:, None] & noisy.mask
    assert given.any() and settled.any()
    assert told.positions is not None
    for stays in (given, settled):
        assert torch.equal(begun.noisy.field("positions")[stays], noisy.field("positions")[stays])
        assert torch.allclose(told.positions[stays], noisy.field("positions")[stays], atol=1e-5)


def test_noise_is_raised_as_before_a_step_of_the_sampler(start: tuple[JointProcess, State, Clocks]) -> None:
    process, noisy, clocks = start
    begun = Distillation(process, SAMPLER, substeps=2).begin(noisy, clocks, generator=seed())
    _, raised = process.churn(noisy, clocks, SAMPLER, generator=seed())
    ends = begun.after == 0
    expected = torch.where(ends, clocks.time("positions", noisy), raised.time("positions", noisy))
    assert torch.equal(begun.clocks.time("positions", noisy), expected)
    assert (expected > clocks.time("positions", noisy)).any()
    for name in ("elements", "charges", "bonds"):
        assert torch.equal(begun.clocks.time(name, noisy), clocks.time(name, noisy))


def test_a_run_is_distilled_to_its_number_of_steps(
    archive: Archive, model: ModelConfig, tmp_path: Path, tiny_preset: NetworkConfig, one_thread: None
) -> None:
    wise = save(tmp_path / "wise.safetensors", model, tensors=build(model).state_dict())
    # the steps are the teacher's, whatever those are that the run starts from
    other = dataclasses.replace(model, sampler=dataclasses.replace(model.sampler, churn=0.01, density=1.0, order=1))
    start = save(tmp_path / "start.safetensors", other, tensors=build(model).state_dict())
    settings: dict[str, Any] = {"steps": 2, **QUICK, "teacher": str(wise), "distil": 8}
    config = load(train(archive, tmp_path / "run", config=TrainConfig(**settings), init_from=start, progress=False))[1]
    assert config.sampler == model.sampler.in_steps(8)
    assert (config.sampler.steps, config.sampler.order) == (8, 2)
    assert config.facts["distilled"] == "to 8 steps"


def test_a_pupil_that_takes_the_steps_of_its_teacher_has_nothing_to_learn(
    archive: Archive, model: ModelConfig, tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "SUBSTEPS", 1)
    wise = save(tmp_path / "wise.safetensors", model, tensors=build(model).state_dict())
    config = TrainConfig(steps=4, teacher=str(wise), distil=model.sampler.steps, **QUICK)
    run = Trainer(archive.subset("train"), model, config=config, out=tmp_path / "run", teacher=wise)
    run.network.load_state_dict(load(wise)[0].state_dict())
    for step in range(4):
        parts, _ = run.losses(step)
        assert all(float(value.detach()) < 1e-6 for value in parts.values()), parts


def test_steps_need_a_teacher_and_be_two() -> None:
    for settings in ({"distil": 8}, {"distil": 1, "teacher": "qm9"}):
        with pytest.raises(ValueError, match=f"distil={settings['distil']} with teacher="):
            TrainConfig(steps=1, **settings)  # type: ignore[arg-type]


def test_crystals_are_refused() -> None:
    with pytest.raises(ValueError, match="only models of molecules can be distilled"):
        Distillation(JointProcess([]), SAMPLER, substeps=2)
