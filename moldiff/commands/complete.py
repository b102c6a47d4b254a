"""`moldiff complete`: new molecules around a kept part into a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from moldiff.commands import crystals
from moldiff.commands.options import Compile, Elements, Flag, Text, Whole, say
from moldiff.commands.writing import check, make

if TYPE_CHECKING:
    from moldiff.generator import Drawn


@dataclass(frozen=True)
class Complete:
    """Keep a part of a molecule or crystal where it is and make the rest anew: scaffolds, growing, substitution.

    The part is named by a pattern, by atom numbers, or by dummy atoms in the file where something new belongs:
        moldiff complete qm9 scaffold.sdf --keep c1ccoc1 --n-new 2 5 -n 50 -o out.sdf
        moldiff complete qm9 fragments.sdf --atoms 0 1 2 6 7 --n-new 1 3 -o linked.sdf
        moldiff complete qm9 with-dummies.sdf -o out.sdf

    Kept atoms come out with the elements, charges, bonds and coordinates they came in with, and first; the property
    `kept` of each molecule lists them. Hydrogens where something new is attached are made anew.

    Of a crystal the cell and the sites stay, and new sites are added; or every place stays and elements are drawn anew:
        moldiff complete mp20 seed.cif --n-new 1 2 --chemical-system Li-Fe-O -n 50 -o out.cif
        moldiff complete mp20 seed.cif --keep O --n-new 2 4 --new-cell -o out.cif
        moldiff complete mp20 seed.cif --substitute Fe --forbid Pb,Cd,Hg -n 50 -o variants.cif
        moldiff complete mp20 seed.cif --substitute all --target band_gap=2 --guidance 2 -o out.extxyz

    On several GPUs, with the same result as on one:
        torchrun --nproc-per-node 4 -m moldiff complete qm9 scaffold.sdf --keep c1ccoc1 -n 5000 -o out.sdf

    Attributes:
        model: a shipped model (see `moldiff models`), a run folder or a weights file.
        scaffold: file with the molecule in 3D or the crystal; of several the first is taken. Dummy atoms are attachment
            points.
        out: file to write; its suffix chooses the format: .sdf, .xyz, .extxyz or .smi; for crystals .cif, .extxyz or
            .vasp, and a name without suffix is a folder.
        keep: SMARTS of the part to keep, all but dummy atoms by default; of a crystal the elements, as Na,Cl.
        atoms: numbers of the atoms or sites to keep instead, from 0 as RDKit and ASE count.
        n_new: new heavy atoms, 2 to 5 by default, or new sites, 1 to 4: lowest and highest number.
        substitute: of a crystal: whose elements are drawn anew: all, elements as Na,Cl, or numbers of sites.
        new_cell: of a crystal: draw the cell anew too; kept sites stay at the same fractions of it.
        chemical_system: of a crystal: only these elements, each at least once, as Li-Fe-P-O, kept ones included.
        elements: of a crystal: the only elements allowed on new or redrawn sites, as Li,O.
        forbid: of a crystal: elements not allowed there.
        require: of a crystal: elements that must be there, as Li or Li,Li.
        target: of a crystal: a property and its value, as band_gap=2.0; may be given several times.
        guidance: weight of the targets: 1 is plain, 1.5 to 3 follow them closer at twice the cost.
        reward: steer crystals towards more density, charges that can balance (smact), symmetry, or a function of your
            own, as file.py:function; see `moldiff sample --help`.
        particles: crystals that compete for each place when there is a reward; each costs as much as one.
        strength: how much a unit of the reward counts.
        number: structures to draw; the valid and connected ones are written.
        keep_invalid: write the others too, with the property `reason` in an SDF.
        steps: sampler steps, one network evaluation each; the model's own by default.
        seed: starting point of all random numbers.
        batch_size: structures worked on at a time; 64 on a CPU and 1024 on a GPU by default.
        device: auto (a GPU if there is one), cpu or cuda.
        compile: torch.compile the network: on, off, or auto for large samples on a CPU, from 4,000 molecules at 50
            steps.
        quiet: no progress bar and no table.
        json: print the summary as JSON instead of the table.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    scaffold: Annotated[Positional[Path], arg(metavar="FILE")]
    out: Annotated[Path, arg(aliases=["-o"])]
    keep: Annotated[Text, arg(metavar="SMARTS", help_behavior_hint="")] = None
    atoms: Annotated[tuple[int, ...], arg(help_behavior_hint="")] = ()
    n_new: Annotated[tuple[int, int] | None, arg(metavar="INT INT", help_behavior_hint="")] = None
    substitute: Annotated[tuple[str, ...], arg(metavar="SITES", help_behavior_hint="")] = ()
    new_cell: Flag = False
    chemical_system: Elements = None
    elements: Elements = None
    forbid: Elements = None
    require: Elements = None
    target: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE", help_behavior_hint="")] = ()
    guidance: float = 1.0
    reward: Text = None
    particles: int = 4
    strength: float = 1.0
    number: Annotated[int, arg(aliases=["-n"])] = 50
    keep_invalid: Flag = False
    steps: Whole = None
    seed: int = 0
    batch_size: Whole = None
    device: str = "auto"
    compile: Compile = "auto"
    quiet: Flag = False
    json: Flag = False

    def run(self) -> int:
        """Read, complete, write, summarise."""
        from moldiff.data.files import read_molecules
        from moldiff.generator import complete, makes_crystals

        check(self)
        if self.keep is not None and self.atoms:
            raise ValueError(f"--keep {self.keep} and --atoms {' '.join(map(str, self.atoms))}: give one of them")
        if makes_crystals(self.model):
            return crystals.complete(self)
        crystals.refuse(self, crystals.COMPLETION_ONLY, model="molecules")
        reading = read_molecules(self.scaffold, hydrogens="implicit")

        def start(generator: Any) -> tuple[Iterator[Drawn], None]:
            items = complete.stream(
                generator,
                reading[0],
                self.keep if self.keep is not None else list(self.atoms) or None,
                n_new=self.n_new or (2, 5),
                n=self.number,
                seed=self.seed,
                steps=self.steps,
                batch_size=self.batch_size,
            )
            # not before, since a refusal is one line
            if len(reading) > 1:
                say(f"{self.scaffold} holds {len(reading)} molecules: the first was taken")
            return items, None

        return make(self, start, hint="draw more (-n) or keep another part")
