"""Where the bond lengths of samples go wrong: guesses from small noise, and walks that stop there or go on.

    python benchmarks/lengths.py qm9 -n 128

Real test molecules are noised to a clock and their clean structure is guessed (``guesses``: error of the bond lengths
by type, and the loss, which is 1 where the network knows nothing of the noise). Others are noised to clock 0.35 and
walked down by the sampler's steps, the last of them to 0 from different clocks (``walks``). Writes
benchmarks/results/lengths-<model>.json.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import provenance, write_json
from torch import Tensor

import moldiff
from moldiff.allocator import keep_large_blocks
from moldiff.config import to_dict
from moldiff.data.archive import Archive
from moldiff.data.batching import to_state
from moldiff.data.download import find_archive
from moldiff.denoiser import Clocks
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.schedule import time_grid
from moldiff.state import State

TYPES = (("H", "O", 1), ("H", "N", 1), ("C", "H", 1), ("C", "C", 1), ("C", "O", 1), ("C", "O", 2))
CLOCKS = (0.1175, 0.1607, 0.2164, 0.26, 0.30, 0.35)
"""Of the guesses; the first two are those from which 100 and 50 steps take the last one."""
FROM, LAST = 0.35, (0.0, 0.15, 0.2, 0.25, 0.28, 0.31)


class Study:
    """Molecules of one size with hydroxyl groups, and a model to guess them by."""

    def __init__(self, generator: Any, archive: Archive, *, count: int, size: int) -> None:
        self.generator = generator
        rows = []
        for row in np.flatnonzero((archive.split == 2) & (archive.n_atoms == size)).tolist():
            numbers, _, _, bonds = archive.record(row)[:4]
            if bool(((numbers[:, None] == 8) & (numbers[None] == 1) & (bonds == 1)).any()):
                rows.append(row)
            if len(rows) == count:
                break
        self.truth = to_state(archive, np.array(rows), generator.alphabets)
        self.process = JointProcess.for_molecules(
            generator.config.diffusion, generator.alphabets, sampler=generator.sampler
        )
        self.model = denoiser(generator.network, self.process)
        known = set(generator.alphabets["elements"].symbols)
        self.pairs = {f"{a}-{b} {order}": self._of_type(a, b, order) for a, b, order in TYPES if {a, b} <= known}
        self.pairs = {name: mask for name, mask in self.pairs.items() if bool(mask.any())}

    def _of_type(self, first: str, second: str, order: int) -> Tensor:
        elements, known = self.truth.field("elements"), self.generator.alphabets["elements"]
        a, b = (elements == known.index(symbol) for symbol in (first, second))
        ends = (a[:, :, None] & b[:, None, :]) | (b[:, :, None] & a[:, None, :])
        return torch.triu(ends & (self.truth.field("bonds") == order), 1)

    def clocks(self, t: float) -> Clocks:
        """All fields at one clock."""
        return Clocks({name: torch.full((len(self.truth),), t) for name in self.process.processes}, {})

    def guess(self, state: State, clocks: Clocks, previous: Any) -> Any:
        """The clean structure as the generator would see it."""
        with torch.no_grad(), self.generator.execution.running():
            return self.model(state, clocks, None, previous)

    def errors(self, positions: Tensor, rows: Tensor | None = None) -> dict[str, dict[str, float]]:
        """Mean and root mean square error of bond lengths by type, milliangstrom, in the chosen rows."""
        wrong = 1000 * (lengths(positions) - lengths(self.truth.field("positions")))
        table = {}
        for name, mask in self.pairs.items():
            found = wrong[mask if rows is None else mask & rows[:, None, None]]
            table[name] = {"mean": float(found.mean()), "rms": float(found.pow(2).mean().sqrt()), "n": len(found)}
        return table

    def guessed(self, t: float, *, seed: int) -> dict[str, Any]:
        """Errors of a guess that has seen a first guess, as in sampling."""
        clocks, noise = self.clocks(t), torch.Generator().manual_seed(seed)
        noisy = self.process.corrupt(self.truth, clocks, generator=noise)
        found = self.guess(noisy, clocks, self.guess(noisy, clocks, None))
        loss = self.process.losses(found, self.truth, noisy, clocks)["positions"].mean()
        config = self.generator.config.diffusion
        below = 0.5 * math.erfc((config.clock_mean - t) / config.clock_deviation / math.sqrt(2))
        return {"clock": t, "loss": float(loss), "training_below": below, "errors": self.errors(found.positions)}

    def walked(self, steps: int, last: float, *, seed: int) -> dict[str, Any]:
        """Errors after the sampler's steps from clock `FROM`; from `last` the next step goes to 0."""
        grid = time_grid(steps, self.generator.sampler.density).tolist()
        times = [FROM, *(t for t in grid if max(last, 0.0) < t < FROM), 0.0]
        noise = torch.Generator().manual_seed(seed)
        state, previous = self.process.corrupt(self.truth, self.clocks(FROM), generator=noise), None
        for t, after in pairwise(times):
            clocks = self.clocks(t)
            if after > 0:
                state, clocks = self.process.churn(state, clocks, self.generator.sampler, generator=noise)
            previous = self.guess(state, clocks, previous)
            state = self.process.step(state, previous, clocks, self.clocks(after), generator=noise)
        same = (state.field("bonds") == self.truth.field("bonds")).flatten(1).all(1)
        same &= (state.field("elements") == self.truth.field("elements")).all(1)
        return {
            "steps": steps,
            "last_clock": times[-2],
            "evaluations": len(times) - 1,
            "same_molecule": int(same.sum()),
            "errors": self.errors(state.field("positions"), same),
        }


def lengths(positions: Tensor) -> Tensor:
    """Distances (B, N, N) of atoms (B, N, 3)."""
    return torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")


def line(label: str, errors: dict[str, dict[str, float]]) -> str:
    """Mean error and root mean square by type."""
    return label + "".join(f" | {name} {one['mean']:+.1f} ({one['rms']:.1f})" for name, one in errors.items())


def main() -> None:
    """Guess, walk, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", default="qm9", help="archive whose test molecules are noised")
    parser.add_argument("--name", help="in the name of the result; the model by default")
    parser.add_argument("-n", type=int, default=128)
    parser.add_argument("--size", type=int, default=18, help="atoms of the molecules")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep_large_blocks()
    generator = moldiff.load(args.model, device="cpu")
    study = Study(generator, Archive.load(find_archive(args.data)), count=args.n, size=args.size)
    guesses, walks = [], []
    print("mean error (root mean square) of bond lengths, milliangstrom")
    for t in CLOCKS:
        guesses.append(study.guessed(t, seed=args.seed))
        print(line(f"guess at {t:.4f}, loss {guesses[-1]['loss']:.3f}", guesses[-1]["errors"]), flush=True)
    for last in LAST:
        walks.append(study.walked(100, last, seed=args.seed))
        print(line(f"walk, last step from {walks[-1]['last_clock']:.3f}", walks[-1]["errors"]), flush=True)
    content = {
        "meta": provenance(args.seed),
        "model": {"name": generator.name, "facts": generator.config.facts},
        "sampler": to_dict(generator.sampler),
        "molecules": len(study.truth),
        "atoms": args.size,
        "unit": "milliangstrom",
        "guesses": guesses,
        "walks": walks,
    }
    print(write_json(f"lengths-{args.name or Path(args.model).name}", content))


if __name__ == "__main__":
    main()
