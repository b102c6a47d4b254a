"""What `moldiff sample` and `moldiff complete` share: structures into a file as they are made, then a summary.

Under torchrun each process draws its share and the first writes everything, see `moldiff.generator.ranks`.
"""

from __future__ import annotations

import errno
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from moldiff.commands.options import DONE, INTERRUPTED, NOTHING_MADE, say
from moldiff.commands.streams import without_nan, written
from moldiff.interrupts import uninterrupted

if TYPE_CHECKING:
    from moldiff.data.writing import Writer

Start = Callable[[Any], tuple[Iterator[Any], Any]]
"""``start(generator)``: its structures as they are drawn, and the plan behind them, None for none."""


def check(options: Any) -> None:
    """Refuse senseless numbers and devices before anything is loaded.

    Raises:
        ValueError: for fewer than one structure, and for an unknown device.
    """
    if options.number < 1:
        raise ValueError(f"-n {options.number}: the number of structures must be at least 1")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", options.device):
        raise ValueError(f"unknown device {options.device!r}: use auto, cpu, cuda or cuda:1")


def stream(options: Any, generator: Any, plan: Any) -> Iterator[Any]:
    """The structures that `moldiff sample` asks for, as they are drawn."""
    items: Iterator[Any] = generator.stream(
        options.number,
        seed=options.seed,
        steps=options.steps,
        n_atoms=options.n_atoms,
        batch_size=options.batch_size,
        fill=options.fill,
        progress=shows_progress(options, generator),
        plan=plan,
    )
    return items


def shows_progress(options: Any, generator: Any) -> bool:
    """Whether a bar is shown: on a terminal, by the first process, unless it is to be quiet."""
    return sys.stderr.isatty() and not options.quiet and generator.ranks.rank == 0


def make(options: Any, start: Start, *, crystals: bool = False, symmetrise: bool = False, hint: str = "") -> int:
    """Write the structures of a model to a file as they are made, then summarise; Ctrl-C keeps what is finished.

    Args:
        options: the command: model, out, number, steps, seed, batch_size, device, compile, keep_invalid, quiet,
            json.
        start: begins to draw.
        crystals: what the model makes.
        symmetrise: move crystals to their exact symmetry before writing.
        hint: what to do where nothing valid was made.

    Returns:
        the exit code.

    Raises:
        ValueError: if the file cannot be written, to the end or at all.
    """
    from moldiff.data.writing import Writer
    from moldiff.generator import load
    from moldiff.generator.ranks import Ranks

    ranks = Ranks.join()
    try:
        if ranks.rank:
            # not the first process: what it draws goes there
            for _ in start(_ready(load, options, ranks))[0]:
                pass
            return DONE
        with Writer(options.out, crystals=crystals, symmetrise=symmetrise) as writer:
            try:
                return _write(options, writer, _ready(load, options, ranks), start, hint=hint)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                    raise
                raise ValueError(f"cannot go on writing: {error.strerror}; {written(writer)}") from error
    finally:
        ranks.leave()


def _ready(load: Callable[..., Any], options: Any, ranks: Any) -> Any:
    generator = load(options.model, device=ranks.device(options.device), compile=options.compile)
    generator.ranks = ranks
    return generator


def _write(options: Any, writer: Writer, generator: Any, start: Start, *, hint: str) -> int:
    labelled = _crystal if writer.crystals else _molecule
    verdicts, lost, begin = [], 0, time.perf_counter()
    items, plan = start(generator)
    try:
        for item in items:
            verdicts.append(item.verdict)
            name = f"{generator.name}-{options.seed}-{item.number}"
            structure = labelled(item, name, keep_invalid=options.keep_invalid)
            if structure is not None:
                # or a molecule would be written by half, or left uncounted
                with uninterrupted():
                    writer.write(structure)
            elif options.keep_invalid:
                lost += 1
    except KeyboardInterrupt:
        say(f"interrupted: {written(writer)}, out of {len(verdicts)} structures drawn so far")
        return INTERRUPTED
    report = generator.report(
        verdicts,
        asked=options.number,
        seconds=time.perf_counter() - begin,
        steps=options.steps,
        seed=options.seed,
        batch_size=options.batch_size,
        **({} if plan is None else {"guidance": plan}),
    )
    if options.json:
        facts = {"model": options.model, "out": str(options.out), "written": writer.count}
        print(json.dumps(without_nan(facts | report.to_dict())))
    elif not options.quiet:
        print(report)
    if lost:
        say(f"{lost} invalid structures could not even be written as they are")
    if writer.count == 0:
        say(f"no valid {'crystal' if writer.crystals else 'molecule'} was made, {written(writer)}; {hint}")
        return NOTHING_MADE
    if writer.warning:
        say(writer.warning)
    if not options.quiet:
        say(written(writer))
    return DONE


def _molecule(item: Any, name: str, *, keep_invalid: bool) -> Any:
    from moldiff.generator.results import failure

    mol = failure(item).mol if item.mol is None and keep_invalid else item.mol
    if mol is not None:
        mol.SetProp("_Name", name)
        if keep_invalid:
            mol.SetProp("reason", item.verdict.reason)
    return mol


def _crystal(item: Any, name: str, *, keep_invalid: bool) -> Any:
    from moldiff.generator.crystal_results import failure

    atoms = failure(item).mol if item.atoms is None and keep_invalid else item.atoms
    if atoms is not None:
        atoms.info["name"] = name
        if keep_invalid:
            atoms.info["reason"] = "ok" if item.verdict.structure_valid else item.verdict.reason
    return atoms
