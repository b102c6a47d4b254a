"""Two processes of torchrun against one process that does the work of both by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from moldiff.config import ModelConfig, to_dict
from moldiff.data.archive import Archive
from moldiff.training import checkpoint
from moldiff.training.distributed import Ranks
from moldiff.training.loop import Trainer

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from moldiff.config import ModelConfig, TrainConfig, from_dict
from moldiff.data.archive import Archive
from moldiff.training.loop import Trainer

torch.set_num_threads(1)
folder = Path(sys.argv[1])
model = from_dict(ModelConfig, json.loads((folder / "model.json").read_text()))
config = TrainConfig(steps=4, batch=6, device="cpu", precision="fp32", check_every=0.0)
archive = Archive.load(folder / "demo.npz").subset("train")
trainer = Trainer(archive, model, config=config, out=folder / "run")
trainer.fit(progress=False)
tensors = {name: value.detach() for name, value in trainer.network.named_parameters()}
save_file(tensors, folder / f"rank{os.environ['RANK']}.safetensors")
"""


def test_two_processes_equal_one_that_averages_by_hand(
    archive: Archive, model: ModelConfig, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    archive.save(tmp_path / "demo.npz")
    (tmp_path / "model.json").write_text(json.dumps(to_dict(model)))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ranks = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])

    alone = trainer(tmp_path / "alone")
    before = {name: value.detach().clone() for name, value in alone.network.named_parameters()}
    alone.ranks = BothRanks(alone)
    for _ in range(4):
        alone.update()
    for name, value in alone.network.named_parameters():
        assert torch.equal(value, ranks[0][name]), name
    assert any(not torch.equal(before[name], ranks[0][name]) for name in before)
    # only the first rank writes, and the molecules of both count
    header = checkpoint.read_header(tmp_path / "run")
    assert header["passes"] == 2 * alone.passes
    assert header["step"] == 4


class BothRanks(Ranks):
    """One process that computes the gradients of rank 1 after its own and takes their mean."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.trainer = trainer

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        def gradients() -> list[Tensor]:
            return [p.grad.clone() if p.grad is not None else torch.zeros_like(p) for p in chosen]

        chosen = list(parameters)
        own = gradients()
        self.rank = 1
        parts, _ = self.trainer.losses(self.trainer.step)
        self.trainer.optimiser.zero_grad()
        self.trainer.process.total(parts).backward()
        self.rank = 0
        for parameter, one, other in zip(chosen, own, gradients(), strict=True):
            parameter.grad = (one + other) / 2


def test_ranks_draw_different_molecules_of_the_same_size(trainer: Callable[..., Trainer]) -> None:
    batches = trainer().batches
    one, other = (batches.draw(0, rank=rank).state for rank in (0, 1))
    assert one.size == other.size
    assert not torch.equal(one.field("positions"), other.field("positions"))


def test_a_single_process_leaves_gradients_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    ranks: Any = Ranks()
    ranks.start(torch.device("cpu"))
    parameter = torch.ones(2, requires_grad=True)
    parameter.sum().backward()
    ranks.average_gradients([parameter])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [1.0, 1.0]
    assert ranks.broadcast(2.5) == 2.5
    ranks.stop()
