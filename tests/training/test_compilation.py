"""Compiled training: chosen by the length of a run, the same numbers, and uncompiled where there is no compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.config import TrainConfig
from moldiff.state import State
from moldiff.training.compilation import is_long
from moldiff.training.loop import Trainer


def test_long_runs_are_compiled_on_a_cpu() -> None:
    assert is_long(TrainConfig(minutes=30)) and is_long(TrainConfig(steps=3000))
    assert not is_long(TrainConfig(minutes=29)) and not is_long(TrainConfig(steps=2999))


def test_every_step_runs_compiled_and_learns_the_same(
    trainer: Callable[..., Trainer], recorded_compiler: list[str], tmp_path: Path
) -> None:
    plain = trainer(compile="off")
    plain.fit(progress=False)
    assert not recorded_compiler
    run = trainer(tmp_path / "compiled", compile="on", check_every=0.5, check_samples=4)
    run.fit(progress=False)
    parts = set(recorded_compiler)
    assert {"Block.forward", "PairFeatures.forward", "SymbolHeads.forward"} >= parts > {"SymbolHeads.forward"}
    assert run.network.compiled == "always"
    for (name, one), other in zip(plain.network.named_parameters(), run.network.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_short_run_is_left_alone_by_default(trainer: Callable[..., Trainer], recorded_compiler: list[str]) -> None:
    run = trainer(compile="auto")
    run.compile()
    assert run.network.compiled == "never" and not recorded_compiler


def test_the_compiler_is_tried_with_the_same_step_after_resuming(
    trainer: Callable[..., Trainer], recorded_compiler: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(run: Trainer) -> list[tuple[bool, torch.Tensor]]:
        """Of each evaluation whether it had gradients, and the noisy positions that it saw."""
        seen: list[tuple[bool, torch.Tensor]] = []
        plain = run.denoiser

        def watched(state: State, *rest: Any) -> Any:
            seen.append((torch.is_grad_enabled(), state.field("positions")))
            return plain(state, *rest)

        monkeypatch.setattr(run, "denoiser", watched)
        run.compile()
        monkeypatch.setattr(run, "denoiser", plain)
        return seen

    run = trainer(compile="on")
    fresh = tried(run)
    for _ in range(3):
        run.update()
    run.save()
    resumed = trainer(compile="on", resume=True)
    assert resumed.step == 3
    again = tried(resumed)
    assert [recorded for recorded, _ in fresh] == [recorded for recorded, _ in again] == [False, True]
    for (_, one), (_, other) in zip(fresh, again, strict=True):
        assert torch.equal(one, other)


def test_without_a_compiler_a_run_goes_on(trainer: Callable[..., Trainer], broken_compiler: None) -> None:
    run = trainer(compile="on")
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        run.fit(progress=False)
    assert run.step == 4 and run.network.compiled == "never"
