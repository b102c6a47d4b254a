"""`moldiff sample`: molecules or crystals from a model into a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from moldiff.commands import crystals
from moldiff.commands.options import Compile, Elements, Flag, Formula, Numbers, Text, Whole
from moldiff.commands.streams import reward, targets
from moldiff.commands.writing import check, make, stream

if TYPE_CHECKING:
    from moldiff.generator import Drawn, Generator
    from moldiff.generator.guided import Guidance


@dataclass(frozen=True)
class Sample:
    """Sample molecules or crystals from a model into a file, each written as soon as it is made.

    Molecules, at random, of an exact formula, near a target, and of one size until a hundred are valid:
        moldiff sample qm9 -n 1000 -o out.sdf --steps 50 --seed 0
        moldiff sample qm9 -n 100 -o out.sdf --formula C7H10O2
        moldiff sample qm9 -n 100 -o out.sdf --target gap=5.0 --guidance 2
        moldiff sample qm9 -n 100 -o out.sdf --n-atoms 18 --fill

    Crystals of a composition, and steered by a reward, by name or as a function in a file of your own:
        moldiff sample mp20 -n 100 -o out.cif --composition LiFePO4 --formula-units 1-2
        moldiff sample qm9 -n 100 -o near.sdf --target polarizability=60 --reward target
        moldiff sample mp20 -n 100 -o out.cif --chemical-system Li-Fe-O --reward symmetry --particles 8
        moldiff sample mp20 -n 100 -o out.cif --reward rewards.py:light --strength 2

    On several GPUs, with the same result as on one:
        torchrun --nproc-per-node 4 -m moldiff sample qm9 -n 100000 -o out.sdf

    At the end a table says how many are valid and connected, stable, unique and novel, with 95 % intervals. The same
    model, number, seed and batch size give the same molecules. Ctrl-C keeps everything finished so far.

    Attributes:
        model: a shipped model (see `moldiff models`), a run folder or a weights file.
        out: file to write; its suffix chooses the format: .sdf, .xyz, .extxyz or .smi; for crystals .cif, .extxyz or
            .vasp, and a name without suffix is a folder that gets one .cif each.
        number: structures to draw; the valid and connected ones are written.
        target: a property and its value, as gap=5.0; may be given several times. `moldiff models` names the properties.
        guidance: weight of the targets: 1 is plain, 1.5 to 3 follow them closer at twice the cost.
        gradient: follow the targets by the slope of the property head, too: 10 to 50; about three times the cost.
        composition: of crystals: elements and their proportions, as LiFePO4.
        formula_units: formula units of the composition in a cell, 2 or 1-4; as in the training set by default.
        chemical_system: of crystals: only these elements, each at least once, as Li-Fe-P-O.
        symmetrise: move crystals to their exact symmetry before writing.
        formula: of molecules: exact elements, as C7H10O2; fixes the atom count.
        elements: the only elements allowed, as C,H,N.
        forbid: elements not allowed, as O.
        require: elements that must be there, as N,O or N,N.
        charge: net charge of every molecule.
        reward: steer molecules towards more of qed, logp, tpsa, rings, ease of synthesis (sa), GFN2-xTB gap (xtb-gap),
            or less strain; crystals towards more density, charges that can balance (smact), or symmetry; both towards
            their targets as the property head sees them (target): closest, at the cost of all particles. Or a function
            of a list of molecules (RDKit) or crystals (ASE) that returns a number for each, more is better, as
            file.py:function or module:function.
        particles: structures that compete for each place when there is a reward; each costs as much as one.
        strength: how much a unit of the reward counts; that of a name is about one deviation in training.
        steps: sampler steps, one network evaluation each: 30 are fast, 100 are best; the model's own by default.
        seed: starting point of all random numbers.
        n_atoms: atoms of every structure, hydrogens included; as in the training set by default.
        fill: go on until so many valid molecules are made.
        keep_invalid: write the others too, with the property `reason` in an SDF.
        batch_size: structures worked on at a time; 64 on a CPU and 1024 on a GPU by default.
        device: auto (a GPU if there is one), cpu or cuda.
        compile: torch.compile the network: on, off, or auto for large samples on a CPU, from 4,000 molecules at 50
            steps.
        quiet: no progress bar and no table.
        json: print the summary as JSON instead of the table.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    out: Annotated[Path, arg(aliases=["-o"])]
    number: Annotated[int, arg(aliases=["-n"])] = 100
    target: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE", help_behavior_hint="")] = ()
    guidance: float = 1.0
    gradient: float = 0.0
    composition: Formula = None
    formula_units: Numbers = None
    chemical_system: Elements = None
    symmetrise: Flag = False
    formula: Formula = None
    elements: Elements = None
    forbid: Elements = None
    require: Elements = None
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
    compile: Compile = "auto"
    quiet: Flag = False
    json: Flag = False

    def run(self) -> int:
        """Sample, write, summarise."""
        from moldiff.generator import makes_crystals

        check(self)
        if makes_crystals(self.model):
            return crystals.sample(self)
        crystals.refuse(self, crystals.CRYSTALS_ONLY, model="molecules")
        return make(self, self._start, hint="--keep-invalid writes the others")

    def _start(self, generator: Generator) -> tuple[Iterator[Drawn], Guidance]:
        plan = generator.guide(
            target=targets(self.target),
            guidance=self.guidance,
            gradient=self.gradient,
            formula=self.formula,
            elements=self.elements,
            forbid=self.forbid,
            require=self.require,
            charge=self.charge,
            reward=reward(self.reward),
            particles=self.particles,
            strength=self.strength,
        )
        return stream(self, generator, plan), plan
