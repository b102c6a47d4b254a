"""A small archive, a tiny network for it and trainers of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moldiff.config import PRESETS, ModelConfig, NetworkConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.data.demo import demo_archive
from moldiff.training.loop import Trainer
from moldiff.training.run import describe_model

TINY = NetworkConfig(
    scalars=32, vectors=8, pairs=16, pair_hidden=32, heads=4, products=4, blocks=2, condition=16, radial=8
)
# what keeps a test short and exact; a test overrides what it is about
QUICK = {"batch": 6, "device": "cpu", "precision": "fp32", "check_every": 0.0}


@pytest.fixture(scope="session")
def archive() -> Archive:
    """Forty small molecules with conformers, aromatic flags and descriptors."""
    return demo_archive(40)


@pytest.fixture(scope="session")
def model(archive: Archive) -> ModelConfig:
    return dataclasses.replace(describe_model(archive, data="demo"), network=TINY)


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> NetworkConfig:
    """The preset ``s`` is tiny during the test."""
    monkeypatch.setitem(PRESETS, "s", TINY)
    return TINY


@pytest.fixture
def trainer(archive: Archive, model: ModelConfig, tmp_path: Path, one_thread: None) -> Callable[..., Trainer]:
    """Makes a trainer of the small archive in the folder ``run``; settings as keywords."""

    def make(
        out: Path = tmp_path / "run", *, resume: bool = False, model: ModelConfig = model, **settings: Any
    ) -> Trainer:
        config = TrainConfig(**{"steps": None if "minutes" in settings else 4} | QUICK | settings)
        return Trainer(archive.subset("train"), model, config=config, out=out, resume=resume)

    return make
