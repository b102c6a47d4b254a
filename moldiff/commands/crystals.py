"""`moldiff sample` and `moldiff complete` where the model makes crystals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from moldiff.commands.options import say
from moldiff.commands.streams import reward, targets
from moldiff.commands.writing import make, shows_progress, stream

if TYPE_CHECKING:
    from moldiff.generator import CrystalGenerator, DrawnCrystal
    from moldiff.generator.crystal_plan import CrystalPlan, CrystalWishes

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
    refuse(options, MOLECULES_ONLY, model="crystals")

    def start(generator: CrystalGenerator) -> tuple[Iterator[DrawnCrystal], CrystalPlan]:
        asked = wishes(options)
        asked["composition"], asked["formula_units"] = options.composition, units(options.formula_units)
        plan = generator.guide(**asked)
        return stream(options, generator, plan), plan

    return make(options, start, crystals=True, symmetrise=options.symmetrise, hint="--keep-invalid writes the others")


def complete(options: Any) -> int:
    """A part of the first crystal of a file kept, into a file; `options` is the `Complete` of the command."""
    from moldiff.data.crystal_files import read_crystals
    from moldiff.generator import crystal_complete

    if options.substitute and options.n_new:
        raise ValueError("--substitute adds no sites: leave --n-new out")
    reading = read_crystals(options.scaffold)
    kept = crystal_complete.Seed.of(
        reading[0],
        keep=options.keep if options.keep is not None else list(options.atoms) or None,
        n_new=options.n_new or (1, 4),
        substitute=sites(options.substitute),
        keep_cell=not options.new_cell,
    )

    def start(generator: CrystalGenerator) -> tuple[Iterator[DrawnCrystal], CrystalPlan]:
        plan = generator.guide(**wishes(options))
        items = crystal_complete.stream(
            generator,
            kept,
            n=options.number,
            seed=options.seed,
            steps=options.steps,
            batch_size=generator.check(options.number, options.batch_size),
            plan=plan,
            progress=shows_progress(options, generator),
        )
        # not before, since a refusal is one line
        if len(reading) > 1:
            say(f"{options.scaffold} holds {len(reading)} crystals: the first was taken")
        return items, plan

    return make(options, start, crystals=True, hint="draw more (-n) or keep another part")


def wishes(options: Any) -> CrystalWishes:
    """The wishes that both commands have."""
    return {
        "chemical_system": options.chemical_system,
        "elements": options.elements,
        "forbid": options.forbid,
        "require": options.require,
        "target": targets(options.target),
        "guidance": options.guidance,
        "reward": reward(options.reward),
        "particles": options.particles,
        "strength": options.strength,
    }


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
