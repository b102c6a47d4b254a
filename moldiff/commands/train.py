"""`moldiff train`: a model from a data set or a file of molecules."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, INTERRUPTED, Compile, Flag, Number, Text, Whole, say

if TYPE_CHECKING:
    from moldiff.config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a model on a data set or on a file of structures, within a budget of minutes or steps.

    From nothing, from the shipped weights, and on after an interruption:
        moldiff train my.sdf --minutes 60 --size s --out runs/mine
        moldiff train my.sdf --minutes 60 --init-from qm9 --out runs/tuned
        moldiff train my.sdf --out runs/mine --resume

    The folder then works as a model:
        moldiff sample runs/mine -n 100 -o mine.sdf

    On several GPUs:
        torchrun --nproc-per-node 4 -m moldiff train qm9 --minutes 25 --size m --out runs/first

    With --minutes a run measures its own speed once and fits its schedule to the time. It can be killed at any moment;
    --resume goes on from the last checkpoint with the settings it was started with, so neither minutes nor steps are
    needed again.

    Attributes:
        data: qm9, mp20, another prepared set, an .npz archive, a file of molecules with 3D coordinates and explicit
            hydrogens, or a file or folder of crystals (.cif, .extxyz, .vasp, .db).
        out: folder of the run: weights, checkpoint and log.jsonl.
        minutes: wall-clock budget, from the start of the command's training to its last step.
        steps: number of steps, instead of minutes.
        size: network size: s (about 4 million parameters, the default) or m (about 8); with --init-from that of the
            weights by default.
        resume: go on with the run in the folder.
        init_from: start from a shipped model, a run folder or a weights file.
        teacher: learn from the predictions of a shipped model, a run folder or a weights file, too; it must have been
            made from the same data, as the model of --init-from was.
        distil: distil the teacher to so many sampler steps, as 20, which the new weights then take by default.
        tasks: shares of the tasks instead of the usual mix, as in generate=0.8,completion=0.2; of molecules generate,
            conformer, perception, completion and decoration, of crystals generate, prediction, substitution and
            completion.
        unconditional: share of structures that are shown no property, 0.4 by default.
        batch: molecules a step; 64 on a CPU and 768 on a GPU by default.
        rate: peak learning rate, 0.001 by default.
        seed: decides initial weights, batches and noise; 0 by default.
        kekulised: bond symbols without an aromatic one.
        precision: bf16 (default) or fp32.
        device: auto (a GPU if there is one), cpu or cuda.
        compile: torch.compile the network: on, off, or auto (the default): on a GPU, and on a CPU in runs of at least
            30 minutes or 3,000 steps.
        save_seconds: time between two checkpoints, 120 by default.
        check_every: share of the run between two checks by sampling, 0.1 by default, 0 for none.
        quiet: no progress bar, and no line at the end.
        json: print a summary of the run as JSON in the last line: weights, step, passes, seconds, batch.
    """

    data: Annotated[Positional[str], arg(metavar="DATA")]
    out: Annotated[Path, arg(aliases=["-o"])]
    minutes: Number = None
    steps: Whole = None
    size: Annotated[Literal["s", "m"] | None, arg(metavar="{s,m}", help_behavior_hint="")] = None
    resume: Flag = False
    init_from: Text = None
    teacher: Text = None
    distil: Whole = None
    tasks: Annotated[str | None, arg(metavar="SHARES", help_behavior_hint="")] = None
    unconditional: Number = None
    batch: Whole = None
    rate: Number = None
    seed: Whole = None
    kekulised: Flag = False
    precision: Annotated[Literal["bf16", "fp32"] | None, arg(metavar="{bf16,fp32}", help_behavior_hint="")] = None
    device: Text = None
    compile: Compile = None
    save_seconds: Number = None
    check_every: Number = None
    quiet: Flag = False
    json: Flag = False

    def run(self) -> int:
        """Train, and say where the weights are."""
        if self.resume and self.init_from:
            raise ValueError("--resume goes on with a run and --init-from starts one: give one of them")
        if not self.resume and (self.minutes is None) == (self.steps is None):
            raise ValueError("give the budget of the run: either --minutes or --steps")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes {self.minutes:g} must be above 0")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"--steps {self.steps} must be at least 1")
        if not self.resume and (self.out / "checkpoint.safetensors").exists():
            raise ValueError(f"{self.out} holds a run already: go on with --resume, or choose another folder")
        config = self.settings()

        from moldiff.training import train

        try:
            path = train(
                self.data,
                self.out,
                config=config,
                resume=self.resume,
                init_from=self.init_from,
                progress=sys.stderr.isatty() and not self.quiet,
            )
        except KeyboardInterrupt:
            say(f"interrupted: go on with  moldiff train {self.data} --out {self.out} --resume")
            return INTERRUPTED
        if os.environ.get("RANK", "0") != "0":
            return DONE
        if self.json:
            print(json.dumps(summary(path)))
        if not self.quiet:
            say(f"the weights are in {path}; try  moldiff sample {self.out} -n 100 -o samples.sdf")
        return DONE

    def settings(self) -> TrainConfig:
        """The settings of the run: those given on top of the defaults, or of the stored ones where it is resumed."""
        from moldiff.config import TrainConfig

        names = {field.name for field in dataclasses.fields(TrainConfig)} & set(vars(self))
        given = {name: value for name, value in vars(self).items() if name in names and value is not None}
        if self.kekulised:
            given["aromatic"] = False
        if self.tasks is not None:
            given["tasks"] = shares(self.tasks)
        if not self.resume:
            return TrainConfig(**given)

        from moldiff.training.run import stored_config

        stored = stored_config(self.out)
        for name, value in given.items():
            kept = getattr(stored, name)
            if name not in ("device", "compile", "save_seconds", "check_every") and value != kept:
                raise ValueError(
                    f"the run in {self.out} was started with {name}={kept} and goes on with it, not with {value}: "
                    "leave that option out, or start a new run with --init-from"
                )
        return dataclasses.replace(stored, **given)


def shares(text: str) -> dict[str, float]:
    """Names and numbers of ``name=number,name=number``.

    Raises:
        ValueError: for another form.
    """
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError as error:
        raise ValueError(f"--tasks {text!r} must read like generate=0.8,completion=0.2") from error


def summary(weights: Path) -> dict[str, object]:
    """What a finished run is: where its weights are, its data, steps, molecule passes and seconds."""
    from moldiff.training.checkpoint import read_header

    header = read_header(weights.parent)
    facts = {name: header[name] for name in ("step", "passes", "seconds", "batch")}
    return {"weights": str(weights), "data": header["model"]["data"], **facts}
