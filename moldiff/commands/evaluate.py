"""`moldiff evaluate`: numbers on molecules of any origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, USER_ERROR, Flag, say

File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class Evaluate:
    """Judge the molecules of a file: validity, novelty, geometry, energy, each with an interval and a floor.

    A structure that cannot be read, crashes or takes too long is a counted failure. The floor is the same number for
    held-out real molecules.

    Example: moldiff evaluate samples.sdf --reference qm9 --json r.json --csv per.csv

    Attributes:
        files: .sdf, .xyz, .extxyz, .smi, also .gz, or .npz; several, or a pattern in quotes.
        reference: a shipped model, an archive (.npz), or a file of molecules; "none" compares with nothing.
        protocol: judge the bonds as given, or find them by EDM's distance table (edm-geom: with its rules for
            GEOM-Drugs); auto: bonds where there are any, else edm.
        hydrogens: explicit judges exactly the atoms given, implicit lets missing hydrogens be understood.
        json: write all numbers and their definitions.
        csv: write one line a structure.
        xtb: relax so many valid molecules with GFN2-xTB (extra xtb).
        posebusters: run PoseBusters' tests (extra posebusters).
        jobs: worker processes.
        time_limit: seconds for one structure.
        seed: of the bootstrap and of random choices.
    """

    files: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE [FILE ...]")]
    reference: str = "qm9"
    protocol: Literal["auto", "bonds", "edm", "edm-geom"] = "auto"
    hydrogens: Literal["explicit", "implicit"] = "explicit"
    json: File = None
    csv: File = None
    xtb: int = 0
    posebusters: Flag = False
    jobs: int = 2
    time_limit: float = 30.0
    seed: int = 0

    def run(self) -> int:
        """Evaluate and print the table."""
        from moldiff.evaluation import evaluate

        if not self.files:
            raise ValueError("no file to evaluate; give one, as in: moldiff evaluate samples.sdf")
        try:
            result = evaluate(
                list(self.files),
                reference=None if self.reference == "none" else self.reference,
                protocol=self.protocol,
                hydrogens=self.hydrogens,
                json=self.json,
                csv=self.csv,
                xtb=self.xtb,
                posebusters=self.posebusters,
                jobs=self.jobs,
                time_limit=self.time_limit,
                seed=self.seed,
            )
        except ImportError as error:
            # only an extra that was asked for is looked for here
            say(f"error: {error}")
            return USER_ERROR
        print(result)
        return DONE
