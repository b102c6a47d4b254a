"""Random padded batches, and the turns of the contestants on a few molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import readme
import torch
import training_speed

from moldiff.config import NetworkConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import molecule_alphabets
from moldiff.data.demo import demo_archive

TINY = NetworkConfig(
    scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=4, products=2, blocks=1, condition=8, radial=4
)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return demo_archive(16)


def test_batches_are_random_and_padded_to_their_largest(archive: Archive) -> None:
    batches = training_speed.RandomBatches(archive, molecule_alphabets(archive), batch=4)
    state = batches.draw(3).state.check()
    assert state.size == int(state.n_atoms.max()) == batches.size(3)
    assert torch.equal(state.field("positions"), batches.draw(3).state.field("positions"))
    drawn = {tuple(batches.draw(step).state.n_atoms.tolist()) for step in range(8)}
    assert len(drawn) > 1 and any(len(set(sizes)) > 1 for sizes in drawn)


@pytest.mark.parametrize("kind", ["eager", "straightforward"])
def test_both_train(archive: Archive, tmp_path: Path, kind: str) -> None:
    trainer = training_speed.make_trainer(
        archive, kind=training_speed.KINDS[kind], network=TINY, batch=4, precision="fp32", out=tmp_path / "run"
    )
    molecules, seconds, processor = training_speed.train(trainer, 0.05)
    assert molecules >= 4 and seconds >= 0.05 and processor > 0
    assert all(np.isfinite(p.detach().numpy()).all() for p in trainer.network.parameters())


def test_the_readme_tells_the_ratio() -> None:
    content = {
        "meta": {"hardware": {"cpu": "some CPU", "gpu": None}},
        "settings": {"size": "s", "batch": 64, "precision": "bf16", "rounds": 5},
        "threads": 2,
        "compiling": 61.0,
        "molecules_per_second": {"moldiff": 240.0, "eager": 210.0, "allocator": 180.0, "straightforward": 100.0},
        "ratio": 2.4,
    }
    text = "\n".join(readme.training(content))
    assert "240" in text and "2.40 times" in text and "some CPU" in text
