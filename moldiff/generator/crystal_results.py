"""What sampling crystals returns: a list of `ase.Atoms` that knows how it was made and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from moldiff.generator.export import to_crystals
from moldiff.generator.results import Failed, Report
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.crystals.convert import CrystalArrays
    from moldiff.crystals.validity import Verdict


class DrawnCrystal(NamedTuple):
    """One crystal as it is finished.

    Attributes:
        number: its place in the sample, from 0; batches finish in another order.
        atoms: periodic `ase.Atoms`; None where sites are closer than 0.5 angstrom or the cell has no volume.
        arrays: the crystal as drawn. verdict: what is wrong with it, if anything.
    """

    number: int
    atoms: Any
    arrays: CrystalArrays
    verdict: Verdict


class Crystals(list[Any]):
    """The structurally valid crystals of a sample, a list of `ase.Atoms` in the order drawn; never None.

    Attributes:
        report: asked, made, rates. failed: the others with a reason each, as `ase.Atoms` where they are finite.
    """

    def __init__(self, crystals: Iterable[Any], *, report: Report, failed: list[Failed]) -> None:
        super().__init__(crystals)
        self.report = report
        self.failed = failed

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"<{len(self)} crystals>\n{self.report}")


def knows_charges() -> bool:
    """Whether SMACT is installed, without which compositions are not judged."""
    return find_spec("smact") is not None


def judge(arrays: CrystalArrays) -> Verdict:
    """The verdict on a crystal; of the structure alone, as a composition that balances, where SMACT is missing."""
    from moldiff.crystals.validity import MIN_DISTANCE, MIN_VOLUME, Verdict, check, shortest_distances

    if knows_charges():
        return check(arrays.numbers, arrays.fractional, arrays.cell)
    n = len(arrays.numbers)
    if not (np.isfinite(arrays.fractional).all() and np.isfinite(arrays.cell).all()):
        return Verdict("not_finite", "a coordinate or the cell is not a finite number", n)
    if arrays.volume < MIN_VOLUME:
        return Verdict("volume", f"a volume of {arrays.volume:.3g} cubic angstrom", n, volume=arrays.volume)
    try:
        distance, image = shortest_distances(arrays.fractional, arrays.cell)
    except ValueError as error:
        return Verdict("cell", str(error), n, volume=arrays.volume)
    apart = not distance < MIN_DISTANCE
    return Verdict(
        "ok" if apart else "overlap",
        "" if apart else f"two sites {distance:.3f} angstrom apart, less than {MIN_DISTANCE:g}",
        n,
        structure_valid=apart,
        composition_valid=True,
        distance=distance,
        image_distance=image,
        volume=arrays.volume,
    )


def atoms_of(arrays: CrystalArrays, name: str) -> Any:
    """`ase.Atoms` with a along x and b in the xy plane, named; fractional coordinates are those of the arrays."""
    from ase.cell import Cell

    from moldiff.crystals.convert import CrystalArrays, to_atoms

    cell = Cell.fromcellpar(Cell(arrays.cell).cellpar())
    atoms = to_atoms(CrystalArrays(arrays.numbers, arrays.fractional, np.array(cell)))
    atoms.info["name"] = name
    return atoms


def structures(state: State, alphabets: Mapping[str, Alphabet]) -> list[Any]:
    """The crystals of a State as `ase.Atoms`, None for one that is not structurally valid."""
    found = list(to_crystals(state, alphabets))
    return [atoms_of(arrays, "guess") if judge(arrays).structure_valid else None for arrays in found]


def failure(item: DrawnCrystal) -> Failed:
    """The record of an invalid crystal."""
    from moldiff.crystals.convert import to_atoms

    finite = np.isfinite(item.arrays.fractional).all() and np.isfinite(item.arrays.cell).all()
    atoms = to_atoms(item.arrays) if finite and item.arrays.volume > 0 else None
    return Failed(item.number, item.verdict.reason, item.verdict.message, atoms)


def rates(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    """Shares of all crystals drawn, with 95 % Wilson intervals: structure, composition (with SMACT) and both valid."""
    from moldiff.molecules.summary import wilson

    names = ("structure_valid", "composition_valid", "valid") if knows_charges() else ("structure_valid",)
    found = {}
    for name in names:
        count = sum(bool(getattr(verdict, name)) for verdict in verdicts)
        low, high = wilson(count, len(verdicts))
        value = count / len(verdicts) if verdicts else float("nan")
        found[name] = {"value": value, "low": low, "high": high, "n": count, "of": len(verdicts)}
    return found


def reasons(verdicts: Sequence[Verdict]) -> Mapping[str, int]:
    """How many crystals failed, by reason; a composition that does not balance is no failure."""
    return Counter("ok" if verdict.structure_valid else verdict.reason for verdict in verdicts)
