"""`moldiff sample`: molecules from a model into a file."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from moldiff.commands.options import DONE, INTERRUPTED, NOTHING_MADE, Flag, Text, Whole, say

if TYPE_CHECKING:
    from moldiff.data.writing import Writer


@dataclass(frozen=True)
class Sample:
    """Sample molecules from a model into a file, each written as soon as it is made.

    Example: moldiff sample qm9 -n 1000 -o out.sdf --steps 50 --seed 0

    At the end a table says how many are valid and connected, stable, unique and novel, with 95 % intervals. The same
    model, number, seed and batch size give the same molecules. Ctrl-C keeps everything finished so far.

    Attributes:
        model: a shipped model (see `moldiff models`), a run folder or a weights file.
        out: file to write; its suffix chooses the format: .sdf, .xyz, .extxyz or .smi.
        number: structures to draw; the valid and connected ones are written.
        target: a property and its value, as gap=5.0; may be given several times. `moldiff models` names the properties.
        guidance: weight of the targets: 1 is plain, 1.5 to 3 follow them closer at twice the cost.
        gradient: follow the targets by the slope of the property head, too: 10 to 50; about three times the cost.
        formula: exact elements, as C7H10O2; fixes the atom count.
        elements: the only elements allowed, as C,H,N.
        forbid: elements not allowed, as O.
        require: elements that must be there, as N,O or N,N.
        charge: net charge of every molecule.
        reward: steer towards more of qed, logp, tpsa, rings, ease of synthesis (sa), GFN2-xTB gap (xtb-gap), or less
            strain.
        particles: structures that compete for each place when there is a reward; each costs as much as one.
        strength: how much a deviation of the reward in training counts.
        steps: sampler steps, one network evaluation each: 20 to 30 are fast, 100 are best; the model's own by default.
        seed: starting point of all random numbers.
        n_atoms: atoms of every molecule, hydrogens included; as in the training set by default.
        fill: go on until so many valid molecules are made.
        keep_invalid: write the others too, with the property `reason` in an SDF.
        batch_size: structures worked on at a time; 64 on a CPU and 1024 on a GPU by default.
        device: auto (a GPU if there is one), cpu or cuda.
        quiet: no progress bar and no table.
        json: print the summary as JSON instead of the table.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    out: Annotated[Path, arg(aliases=["-o"])]
    number: Annotated[int, arg(aliases=["-n"])] = 100
    target: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE", help_behavior_hint="")] = ()
    guidance: float = 1.0
    gradient: float = 0.0
    formula: Text = None
    elements: Text = None
    forbid: Text = None
    require: Text = None
    charge: Whole = None
    reward: Text = None
    particles: int = 4
    strength: float = 1.0
    steps: Whole = None
    seed: int = 0
    n_atoms: Whole = None
    fill: Flag = False
    keep_invalid: Flag = False
    batch_size: Whole = None
    device: str = "auto"
    quiet: Flag = False
    json: Flag = False

    def run(self) -> int:
        """Sample, write, summarise."""
        from moldiff.data.writing import Writer

        if self.number < 1:
            raise ValueError(f"-n {self.number}: the number of structures must be at least 1")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"unknown device {self.device!r}: use auto, cpu, cuda or cuda:1")
        try:
            with Writer(self.out) as writer:
                return self._sample(writer)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            raise ValueError(f"cannot go on writing: {error.strerror}; {written(writer)}") from error

    def _sample(self, writer: Writer) -> int:
        import time

        from moldiff.generator import load
        from moldiff.generator.results import failure

        generator = load(self.model, device=self.device)
        plan = generator.guide(
            target=targets(self.target),
            guidance=self.guidance,
            gradient=self.gradient,
            formula=self.formula,
            elements=self.elements,
            forbid=self.forbid,
            require=self.require,
            charge=self.charge,
            reward=self.reward,
            particles=self.particles,
            strength=self.strength,
        )
        verdicts, lost, start = [], 0, time.perf_counter()
        try:
            for item in generator.stream(
                self.number,
                seed=self.seed,
                steps=self.steps,
                n_atoms=self.n_atoms,
                batch_size=self.batch_size,
                fill=self.fill,
                progress=sys.stderr.isatty() and not self.quiet,
                plan=plan,
            ):
                verdicts.append(item.verdict)
                mol = item.mol
                if mol is None and self.keep_invalid:
                    mol = failure(item).mol
                    lost += mol is None
                if mol is None:
                    continue
                mol.SetProp("_Name", f"{generator.name}-{self.seed}-{item.number}")
                if self.keep_invalid:
                    mol.SetProp("reason", item.verdict.reason)
                with whole():
                    writer.write(mol)
        except KeyboardInterrupt:
            say(f"interrupted: {written(writer)}, out of {len(verdicts)} structures drawn so far")
            return INTERRUPTED
        report = generator.report(
            verdicts,
            asked=self.number,
            seconds=time.perf_counter() - start,
            steps=self.steps,
            seed=self.seed,
            batch_size=self.batch_size,
            guidance=plan,
        )
        if self.json:
            facts = {"model": self.model, "out": str(self.out), "written": writer.count}
            print(json.dumps(without_nan(facts | report.to_dict())))
        elif not self.quiet:
            print(report)
        if lost:
            say(f"{lost} invalid structures could not even be written as they are")
        if writer.count == 0:
            say(f"no valid molecule was made, {written(writer)}; --keep-invalid writes the others")
            return NOTHING_MADE
        if not self.quiet:
            say(written(writer))
        return DONE


def targets(options: tuple[str, ...]) -> dict[str, float]:
    """Targets written as name=value.

    Raises:
        ValueError: for one that is written otherwise, or given twice.
    """
    found: dict[str, float] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"--target {option}: write a property and its value, as in --target gap=5.0") from None
        if name in found:
            raise ValueError(f"--target {option}: {name} is given twice")
        found[name] = number
    return found


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Put Ctrl-C off to the end of the block, so that no molecule is written by half or left uncounted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting and callable(before):
        raise KeyboardInterrupt


def written(writer: Writer) -> str:
    """How many molecules a file holds, in words."""
    if writer.count == 0:
        return f"nothing written to {writer.path}"
    return f"{writer.count} molecule{'' if writer.count == 1 else 's'} written to {writer.path}"


def without_nan(value: Any) -> Any:
    """Nested values with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
