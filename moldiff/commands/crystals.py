"""`moldiff sample` and `moldiff complete` where the model makes crystals."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from moldiff.commands.options import DONE, INTERRUPTED, NOTHING_MADE, say
from moldiff.commands.streams import reward, targets, whole, without_nan, written

if TYPE_CHECKING:
    from moldiff.generator import CrystalGenerator, DrawnCrystal
    from moldiff.generator.crystal_plan import CrystalPlan

#: Options of `moldiff sample` that molecules alone have, and their values when they are not given.
MOLECULES_ONLY = {"formula": None, "charge": None, "gradient": 0.0}
#: The same for crystals.
CRYSTALS_ONLY = {"composition": None, "formula_units": None, "chemical_system": None, "symmetrise": False}
#: Options of `moldiff complete` that crystals alone have.
COMPLETION_ONLY = {
    "substitute": (),
    "new_cell": False,
    "chemical_system": None,
    "elements": None,
    "forbid": None,
    "require": None,
    "target": (),
    "guidance": 1.0,
    "reward": None,
}


def refuse(options: Any, names: dict[str, Any], *, model: str) -> None:
    """Refuse options that the kind of model has not.

    Args:
        options: the command.
        names: options and their values when they are not given.
        model: what the model makes, in a word.

    Raises:
        ValueError: naming the first.
    """
    for name, default in names.items():
        if getattr(options, name) != default:
            hint = "; for crystals it is --composition" if name == "formula" else ""
            raise ValueError(f"--{name.replace('_', '-')} does not go with {options.model}, which makes {model}{hint}")


def sample(options: Any) -> int:
    """Sample crystals into a file, each written as soon as it is made; `options` is the `Sample` of the command."""
    from moldiff.generator import CrystalGenerator, load
    from moldiff.generator.ranks import Ranks

    refuse(options, MOLECULES_ONLY, model="crystals")
    ranks = Ranks.join()
    try:
        generator = load(options.model, device=ranks.device(options.device))
        if not isinstance(generator, CrystalGenerator):
            raise ValueError(f"{options.model} makes no crystals")
        generator.ranks = ranks
        return _sample(options, generator)
    finally:
        ranks.leave()


def _sample(options: Any, generator: CrystalGenerator) -> int:
    plan = generator.guide(
        composition=options.composition,
        formula_units=units(options.formula_units),
        chemical_system=options.chemical_system,
        elements=options.elements,
        forbid=options.forbid,
        require=options.require,
        target=targets(options.target),
        guidance=options.guidance,
        reward=reward(options.reward),
        particles=options.particles,
        strength=options.strength,
    )
    items = generator.stream(
        options.number,
        seed=options.seed,
        steps=options.steps,
        n_atoms=options.n_atoms,
        batch_size=options.batch_size,
        fill=options.fill,
        progress=sys.stderr.isatty() and not options.quiet and generator.ranks.rank == 0,
        plan=plan,
    )
    if generator.ranks.rank:
        # not the first process: what it draws goes there
        for _ in items:
            pass
        return DONE
    return write_all(options, generator, items, plan, symmetrise=options.symmetrise, keep_invalid=options.keep_invalid)


def complete(options: Any) -> int:
    """New sites around the first crystal of a file, into a file; `options` is the `Complete` of the command."""
    from moldiff.data.crystal_files import read_crystals
    from moldiff.generator import CrystalGenerator, load
    from moldiff.generator.crystal_complete import Seed, stream

    if options.keep is not None and options.atoms:
        raise ValueError(f"--keep {options.keep} and --atoms {' '.join(map(str, options.atoms))}: give one of them")
    if options.substitute and options.n_new:
        raise ValueError("--substitute adds no sites: leave --n-new out")
    reading = read_crystals(options.scaffold)
    if len(reading) > 1:
        say(f"{options.scaffold} holds {len(reading)} crystals: the first was taken")
    generator = load(options.model, device=options.device)
    if not isinstance(generator, CrystalGenerator):
        raise ValueError(f"{options.model} makes no crystals")
    seed_crystal = Seed.of(
        reading[0],
        keep=options.keep if options.keep is not None else list(options.atoms) or None,
        n_new=options.n_new or (1, 4),
        substitute=sites(options.substitute),
        keep_cell=not options.new_cell,
    )
    plan = generator.guide(
        chemical_system=options.chemical_system,
        elements=options.elements,
        forbid=options.forbid,
        require=options.require,
        target=targets(options.target),
        guidance=options.guidance,
        reward=reward(options.reward),
        particles=options.particles,
        strength=options.strength,
    )
    items = stream(
        generator,
        seed_crystal,
        n=options.number,
        seed=options.seed,
        steps=options.steps,
        batch_size=generator.check(options.number, options.batch_size),
        plan=plan,
        progress=sys.stderr.isatty() and not options.quiet,
    )
    return write_all(options, generator, items, plan)


def sites(words: Sequence[str]) -> str | list[int] | None:
    """Sites written as numbers, or in the words of `CrystalGenerator.complete`; None for none."""
    if not words:
        return None
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else ",".join(words)


def units(text: str | None) -> int | tuple[int, ...] | None:
    """Formula units written as 2 or 1-4.

    Raises:
        ValueError: for one that is written otherwise.
    """
    if text is None:
        return None
    parts = text.split("-")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--formula-units {text}: write a number, or the lowest and highest, as in 1-4")
    numbers = tuple(map(int, parts))
    return numbers[0] if len(numbers) == 1 else numbers


def write_all(
    options: Any,
    generator: CrystalGenerator,
    items: Iterable[DrawnCrystal],
    plan: CrystalPlan,
    *,
    symmetrise: bool = False,
    keep_invalid: bool = False,
) -> int:
    """Write crystals as they come, then summarise; Ctrl-C keeps everything finished so far."""
    from moldiff.data.writing import Writer
    from moldiff.generator.crystal_results import failure

    verdicts, lost, start = [], 0, time.perf_counter()
    with Writer(options.out, crystals=True, symmetrise=symmetrise) as writer:
        try:
            for item in items:
                verdicts.append(item.verdict)
                atoms = item.atoms
                if atoms is None and keep_invalid:
                    atoms = failure(item).mol
                    if atoms is None:
                        lost += 1
                        continue
                    atoms.info["name"] = f"{generator.name}-{options.seed}-{item.number}"
                if atoms is None:
                    continue
                if keep_invalid:
                    atoms.info["reason"] = "ok" if item.verdict.structure_valid else item.verdict.reason
                with whole():
                    writer.write(atoms)
        except KeyboardInterrupt:
            say(f"interrupted: {written(writer)}, out of {len(verdicts)} structures drawn so far")
            return INTERRUPTED
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            raise ValueError(f"cannot go on writing: {error.strerror}; {written(writer)}") from error
        report = generator.report(
            verdicts,
            asked=options.number,
            seconds=time.perf_counter() - start,
            steps=options.steps,
            seed=options.seed,
            batch_size=options.batch_size,
            guidance=plan,
        )
        if options.json:
            facts = {"model": options.model, "out": str(options.out), "written": writer.count}
            print(json.dumps(without_nan(facts | report.to_dict())))
        elif not options.quiet:
            print(report)
        if lost:
            say(f"{lost} invalid crystals could not even be written as they are")
        if writer.count == 0:
            say(f"no valid crystal was made, {written(writer)}")
            return NOTHING_MADE
        if writer.warning:
            say(writer.warning)
        if not options.quiet:
            say(written(writer))
    return DONE
