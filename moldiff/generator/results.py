"""What sampling returns: a list of molecules that knows how it was made and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays
    from moldiff.molecules.validity import Verdict


class Drawn(NamedTuple):
    """One structure as it is finished.

    Attributes:
        number: its place in the sample, from 0; batches finish in another order.
        mol: `rdkit.Chem.Mol` with conformer, bonds, charges and stereochemistry; None unless valid and connected.
        arrays: the structure as drawn. verdict: what is wrong with it, if anything.
    """

    number: int
    mol: Any
    arrays: Arrays
    verdict: Verdict


class Failed(NamedTuple):
    """An invalid structure.

    Attributes:
        number: which of the drawn structures it was.
        reason: code, see `moldiff.molecules.validity.REASONS`. message: details in words.
        mol: the unsanitised `rdkit.Chem.Mol` as drawn, or None if not even that could be built.
    """

    number: int
    reason: str
    message: str
    mol: Any


def failure(item: Drawn) -> Failed:
    """The record of an invalid structure."""
    from moldiff.molecules.convert import MoleculeError, to_mol

    try:
        mol = to_mol(item.arrays, sanitise=False)
    except (MoleculeError, ValueError):
        mol = None
    return Failed(item.number, item.verdict.reason, item.verdict.message, mol)


@dataclass(frozen=True)
class Report:
    """How a sample was made and how good it is; ``str(report)`` is a table.

    Attributes:
        asked, drawn, made: structures asked for, drawn, and valid and connected among them.
        reasons: reason code -> number of structures that failed with it.
        rates: name -> value, low, high (95 % interval), n (count), of (denominator).
        seconds: wall-clock time, chemistry included.
        evaluations: network evaluations a structure.
        seed, batch_size: with `asked` they decide the sample.
        noun: what the structures are.
    """

    asked: int
    drawn: int
    made: int
    reasons: Mapping[str, int]
    rates: Mapping[str, Mapping[str, float]]
    seconds: float
    evaluations: int
    seed: int = 0
    batch_size: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)
    noun: str = "molecules"

    @property
    def molecules_per_second(self) -> float:
        """Structures drawn a second."""
        return self.drawn / self.seconds if self.seconds > 0 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "asked": self.asked,
            "drawn": self.drawn,
            "made": self.made,
            "reasons": dict(self.reasons),
            "rates": {name: dict(rate) for name, rate in self.rates.items()},
            "seconds": round(self.seconds, 3),
            "molecules_per_second": round(self.molecules_per_second, 3),
            "evaluations": self.evaluations,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{'':26}{'value':>8}{'95 % interval':>18}{'count':>16}"]
        for name, label in LABELS.items():
            if name not in self.rates:
                continue
            rate = self.rates[name]
            count = f"{rate['n']:.0f} of {rate['of']:.0f}"
            if rate["of"] == 0:
                lines.append(f"{label:26}{'-':>8}{'':>18}{count:>16}")
                continue
            interval = f"{100 * rate['low']:.1f} - {100 * rate['high']:.1f}"
            lines.append(f"{label:26}{100 * rate['value']:>7.1f}%{interval:>18}{count:>16}")
        failures = ", ".join(f"{reason} {n}" for reason, n in self.reasons.items() if reason != "ok" and n) or "none"
        lines.append(f"failures                  {failures}")
        lines.append(
            f"{self.drawn} drawn in {self.seconds:.1f} s, {self.molecules_per_second:.1f} {self.noun}/s, "
            f"{self.evaluations} network evaluations each; seed {self.seed}, batches of {self.batch_size}"
        )
        lines += self.notes
        return "\n".join(lines)


#: Rates of the summary table and how they are called there.
LABELS = {
    "valid_connected": "valid and connected",
    "molecule_stable": "molecule stable",
    "atom_stable": "atom stable",
    "unique": "unique (of valid)",
    "novel": "novel (of unique)",
    "structure_valid": "structure valid",
    "composition_valid": "composition valid",
}


class Molecules(list[Any]):
    """The valid and connected molecules of a sample, a list of `rdkit.Chem.Mol` in the order drawn; never None.

    Attributes:
        report: asked, made, rates. failed: the invalid structures with a reason each.
    """

    def __init__(self, mols: Iterable[Any], *, report: Report, failed: list[Failed]) -> None:
        super().__init__(mols)
        self.report = report
        self.failed = failed

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"<{len(self)} molecules>\n{self.report}")
