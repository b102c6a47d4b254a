"""Molecules a second in training: `moldiff train` beside the straightforward eager implementation.

    python benchmarks/training_speed.py qm9 --rounds 5 --seconds 5       # about a minute on an idle machine

Straightforward means: eager, the system's own allocator settings and batches of random molecules, padded to the largest
of them. Network, losses, optimiser, precision, batch size and threads are the same. `moldiff` is what a run of half an
hour or more does: it compiles first, which is timed apart and starts from an empty cache. Each runs in a process of its
own, since the allocator is set once a process; they take turns, the others asleep, and the median over the turns
counts. Two more processes tell what is gained without compiling, and by the allocator alone. Writes
benchmarks/results/training_speed.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import provenance, write_json

from moldiff.config import PRESETS, NetworkConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import Batch, mix, narrow, to_state, widen
from moldiff.state import Alphabet
from moldiff.training.describe import describe_model
from moldiff.training.loop import Trainer
from moldiff.training.run import open_archive


class Kind(NamedTuple):
    """What a contestant does."""

    allocator: bool
    equal: bool
    compiled: bool


KINDS = {
    "moldiff": Kind(allocator=True, equal=True, compiled=True),
    "eager": Kind(allocator=True, equal=True, compiled=False),
    "allocator": Kind(allocator=True, equal=False, compiled=False),
    "straightforward": Kind(allocator=False, equal=False, compiled=False),
}


#: Steps before a compiled contestant counts as ready.
WARM = 12


class RandomBatches:
    """Batches of random molecules of any size, padded to the largest of each batch.

    Args:
        archive: the molecules. alphabets: field name -> alphabet.
        batch: molecules a batch. seed: of the draws.
    """

    def __init__(self, archive: Archive, alphabets: Mapping[str, Alphabet], *, batch: int, seed: int = 0) -> None:
        rows = np.arange(len(archive))
        self.all = narrow(to_state(archive, rows, alphabets))
        self.properties = torch.from_numpy(archive.properties[rows].astype(np.float32))
        self.batch, self.seed = batch, seed
        self._size = self.all.size

    def draw(self, step: int, *, rank: int = 0) -> Batch:
        """The batch of a step."""
        generator = torch.Generator().manual_seed(mix(self.seed, step, 1 + rank))
        rows = torch.randperm(len(self.all), generator=generator)[: self.batch]
        state = self.all.index(rows)
        n = self._size = int(state.n_atoms.max())
        cut = {
            name: state.field(name)[:, :n, :n] if name == "bonds" else state.field(name)[:, :n]
            for name in state.present
        }
        return Batch(widen(state.replace(mask=state.mask[:, :n], **cut)), self.properties[rows])

    def size(self, step: int) -> int:
        """Padded atom count of the last batch."""
        return self._size


def make_trainer(
    archive: Archive, *, kind: Kind, network: NetworkConfig, batch: int, precision: str, out: Path
) -> Trainer:
    """A trainer on the CPU, with batches of one size or random ones, compiled or not."""
    model = dataclasses.replace(describe_model(archive, data="speed"), network=network)
    config = TrainConfig(
        steps=1_000_000, batch=batch, device="cpu", precision=precision, compile="on" if kind.compiled else "off"
    )
    trainer = Trainer(archive.subset("train"), model, config=config, out=out)
    if not kind.equal:
        random: Any = RandomBatches(trainer.archive, trainer.alphabets, batch=batch)
        trainer.batches = random
    return trainer


def train(trainer: Trainer, seconds: float) -> tuple[int, float, float]:
    """Molecules, seconds and processor seconds (which a busy machine does not lengthen) of a while of training."""
    start, processor, before = time.perf_counter(), time.process_time(), trainer.passes
    while time.perf_counter() - start < seconds:
        trainer.update()
    return trainer.passes - before, time.perf_counter() - start, time.process_time() - processor


def work(args: argparse.Namespace) -> None:
    """A contestant's process: a line in is seconds to train, a line out is what was done."""
    archive, _ = open_archive(args.data)
    if not isinstance(archive, Archive):
        raise ValueError(f"{args.data} holds crystals; give molecules")
    rows = np.flatnonzero(archive.split == 0)[: args.molecules]
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            archive.select(rows),
            kind=KINDS[args.work],
            network=PRESETS[args.size],
            batch=args.batch,
            precision=args.precision,
            out=Path(folder) / "run",
        )
        start = time.perf_counter()
        if KINDS[args.work].compiled:
            trainer.compile()
            for _ in range(WARM):  # with and without a previous guess, several atom counts
                trainer.update()
        print(time.perf_counter() - start, flush=True)
        for line in sys.stdin:
            print(*train(trainer, float(line)), flush=True)


class Contestant:
    """The process of one kind."""

    def __init__(self, kind: str, arguments: list[str]) -> None:
        self.cache = tempfile.TemporaryDirectory()  # nothing compiled before
        environment = {
            **os.environ,
            "MOLDIFF_ALLOCATOR": "1" if KINDS[kind].allocator else "0",
            "TORCHINDUCTOR_CACHE_DIR": self.cache.name,
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments, "--work", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.rates: list[tuple[float, float]] = []

    def read(self) -> str:
        """Its next line."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError("a process ended early; its message is above")
        return line

    def go(self, seconds: float) -> tuple[float, float]:
        """Molecules a second and a processor second of a turn."""
        if self.process.stdin:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        molecules, took, processor = map(float, self.read().split())
        return molecules / took, molecules / processor

    def close(self) -> None:
        """End the process."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=60)
        self.cache.cleanup()


def main() -> None:
    """Take turns and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="as for moldiff train: a name, an archive or a file")
    parser.add_argument("--size", default="s")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--molecules", type=int, default=8192, help="of the training split, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--name", default="training_speed", help="of the result")
    parser.add_argument("--work", choices=list(KINDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args)
        return
    arguments = [args.data, "--size", args.size, "--batch", str(args.batch), "--precision", args.precision]
    arguments += ["--molecules", str(args.molecules)]
    contestants = {kind: Contestant(kind, arguments) for kind in KINDS}
    try:
        compiling = {kind: float(contestant.read()) for kind, contestant in contestants.items()}["moldiff"]
        for contestant in contestants.values():
            contestant.go(min(2.0, args.seconds))  # warm
        for _ in range(args.rounds):
            for contestant in contestants.values():
                contestant.rates.append(contestant.go(args.seconds))
    finally:
        for contestant in contestants.values():
            contestant.close()
    medians, processor = (
        {kind: statistics.median(rate[which] for rate in contestant.rates) for kind, contestant in contestants.items()}
        for which in (0, 1)
    )
    content = {
        "meta": provenance(0),
        "settings": {name: value for name, value in vars(args).items() if name not in ("name", "work")},
        "threads": torch.get_num_threads(),
        "compiling": compiling,
        "rates": {kind: contestant.rates for kind, contestant in contestants.items()},
        "molecules_per_second": medians,
        "molecules_per_processor_second": processor,
        "ratio": medians["moldiff"] / medians["straightforward"],
        "ratio_of_processor_time": processor["moldiff"] / processor["straightforward"],
    }
    for name, rates in (("second", medians), ("processor second", processor)):
        ratio = rates["moldiff"] / rates["straightforward"]
        print(f"molecules a {name}:", {kind: round(rate, 1) for kind, rate in rates.items()}, f"ratio {ratio:.2f}")
    print(write_json(args.name, content))


if __name__ == "__main__":
    main()
