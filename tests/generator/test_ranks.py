"""Two processes of torchrun make the same file as one: the same molecules in the same order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moldiff.generator import Generator
from moldiff.generator.ranks import Ranks
from moldiff.state import State

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
from moldiff.generator import generator as module
from moldiff.commands.sample import Sample
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest
import moldiff.generator

def right(b):
    return torch.arange(b) % 2 == 0

def load(name, device="auto"):
    network = conftest.Oracle(right)
    return module.Generator(network, conftest.config({{"5": 3, "4": 1}}), precision="fp32", device="cpu")

moldiff.generator.load = load
options = dict(model="toy", number=20, batch_size=3, keep_invalid=True, device="cpu", seed=4)
for fill in (False, True):
    code = Sample(out=Path(sys.argv[1]) / f"{{fill}}.sdf", fill=fill, quiet=True, **options).run()
    if code:
        sys.exit(code)
"""


def run(command: list[str], folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, str(script), str(folder)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    run([sys.executable], one)
    run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], two)
    for name in ("False.sdf", "True.sdf"):
        text = (one / name).read_text()
        assert text.count("$$$$") >= 20
        assert (two / name).read_text() == text
    # so that the test means something: some of the structures are invalid, and more were drawn to fill up
    assert text.count(">  <reason>") > text.count("<reason>  \nok") >= 20
    assert ">  <reason>  \nok" in text


def test_two_processes_fill_up_a_sample_of_crystals_as_one_does(tmp_path: Path) -> None:
    """All processes must learn that it is enough: one that does not waits for ever."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    options = ["-n", "6", "--fill", "--batch-size", "2", "--steps", "3", "--n-atoms", "4", "--device", "cpu", "--quiet"]
    texts = []
    for name, start in (
        ("one", [sys.executable, "-m"]),
        ("two", [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]),
    ):
        out = tmp_path / f"{name}.extxyz"
        command = [*start, "moldiff", "sample", "mp20", "-o", str(out), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        texts.append(out.read_text())
    assert texts[0].count("Lattice") == 6
    assert texts[1] == texts[0]


def test_one_process_shares_nothing() -> None:
    ranks = Ranks()
    parts = [torch.tensor([0, 2]), torch.tensor([1])]

    def blank(rows: torch.Tensor) -> State:
        return State(mask=torch.ones(len(rows), 2, dtype=torch.bool))

    found = list(ranks.share(parts, blank=blank, draw=lambda place, state: state))
    assert [rows.tolist() for rows, _ in found] == [[0, 2], [1]]
    assert ranks.agree(7) == 7
    assert ranks.device("auto") == "auto"
    ranks.leave()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch, methane: Generator) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    ranks = Ranks.join()
    assert (ranks.rank, ranks.count) == (0, 1)
    assert methane.ranks.count == 1
