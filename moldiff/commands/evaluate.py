"""`moldiff evaluate`: numbers on molecules and crystals of any origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from moldiff.commands.options import DONE, USER_ERROR, Flag, say

File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class Evaluate:
    """Judge the molecules or crystals of a file: validity, novelty, geometry, with an interval and a floor each.

    A structure that cannot be read, crashes or takes too long is a counted failure. The floor is the same number for
    held-out real molecules.

    Molecules with bonds (SDF), without (XYZ, by the EDM protocol), and with GFN2-xTB relaxations:
        moldiff evaluate samples.sdf --reference qm9 --json r.json --csv per.csv
        moldiff evaluate samples.xyz
        moldiff evaluate samples.sdf --xtb 200 --posebusters 200

    Crystals are told by their content:
        moldiff evaluate samples.cif --reference mp20
        moldiff evaluate predicted.cif --csp truth.cif

    For scripts, the numbers alone on stdout:
        moldiff evaluate samples.sdf --json - --quiet

    Attributes:
        files: .sdf, .xyz, .extxyz, .smi, also .gz, or .npz; for crystals .cif, .extxyz, POSCAR, .db, .npz or a folder;
            several, or a pattern in quotes.
        reference: a shipped model, an archive (.npz), or a file of structures; "none" compares with nothing, auto is
            qm9 for molecules and mp20 for crystals.
        protocol: judge the bonds as given, or find them by EDM's distance table (edm-geom: with its rules for
            GEOM-Drugs); auto: bonds where there are any, else edm.
        hydrogens: explicit judges exactly the atoms given, implicit lets missing hydrogens be understood.
        json: write all numbers and their definitions; - prints them instead of the table.
        csv: write one line a structure.
        xtb: relax so many valid molecules with GFN2-xTB (extra xtb).
        posebusters: run PoseBusters' tests (extra posebusters) on so many structures, drawn at random, valid or not;
            without a number on 200.
        csp: crystals only: a file of the true crystals, one for each in the same order.
        calculator: crystals only: relax with this ASE calculator, a name of ASE's or module:factory.
        jobs: worker processes.
        time_limit: seconds for one structure.
        seed: of the bootstrap and of random choices.
        quiet: no progress bars and no table.
    """

    files: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE [FILE ...]")]
    reference: str = "auto"
    protocol: Literal["auto", "bonds", "edm", "edm-geom"] = "auto"
    hydrogens: Literal["explicit", "implicit"] = "explicit"
    json: File = None
    csv: File = None
    xtb: int = 0
    posebusters: Annotated[int, arg(metavar="[INT]")] = 0
    csp: File = None
    calculator: str | None = None
    jobs: int = 2
    time_limit: float = 30.0
    seed: int = 0
    quiet: Flag = False

    @staticmethod
    def spelled(arguments: Sequence[str]) -> list[str]:
        """The arguments with the number that ``--posebusters`` alone stands for."""
        found = list(arguments)
        for place in [i for i, text in enumerate(found) if text == "--posebusters"][::-1]:
            following = found[place + 1 : place + 2]
            if not following or not following[0].lstrip("-").isdecimal():
                found.insert(place + 1, "200")
        return found

    def run(self) -> int:
        """Evaluate and print the table."""
        from moldiff.evaluation import evaluate

        if not self.files:
            raise ValueError("no file to evaluate; give one, as in: moldiff evaluate samples.sdf")
        printed = self.json is not None and str(self.json) == "-"
        try:
            result = evaluate(
                list(self.files),
                reference=None if self.reference == "none" else self.reference,
                protocol=self.protocol,
                hydrogens=self.hydrogens,
                json=None if printed else self.json,
                csv=self.csv,
                xtb=self.xtb,
                posebusters=self.posebusters,
                csp=self.csp,
                calculator=self.calculator,
                jobs=self.jobs,
                time_limit=self.time_limit,
                seed=self.seed,
                progress=False if self.quiet else None,
            )
        except ImportError as error:
            # only an extra that was asked for is looked for here
            say(f"error: {error}")
            return USER_ERROR
        if printed:
            print(result.to_json(), end="")
        elif not self.quiet:
            print(result)
        return DONE
