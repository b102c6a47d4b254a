"""Completion of crystals: new sites around a seed, or new elements on given sites."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from moldiff.allocator import keep_large_blocks
from moldiff.data.batching import PERIODIC_TABLE, blank_crystals, mix, symmetric_cells
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import Step
from moldiff.generator.crystal_plan import settings
from moldiff.generator.crystal_results import DrawnCrystal, atoms_of, judge
from moldiff.generator.drawing import near_sizes
from moldiff.generator.export import to_crystals
from moldiff.generator.formulas import symbols
from moldiff.state import State

if TYPE_CHECKING:
    from moldiff.crystals.convert import CrystalArrays
    from moldiff.generator.crystal_plan import CrystalModel, CrystalPlan


@dataclass(frozen=True, eq=False)
class Seed:
    """What is kept of a crystal of n sites.

    Attributes:
        arrays: the sites that come first in every result: all of them for substitution, else those kept.
        positions: (sites, 3) where the user has them, angstrom; they may lie outside the cell.
        sources: their indices in the crystal of the user.
        redrawn: (sites,) bool, those whose elements are drawn anew.
        new: the numbers of new sites to choose from.
        keep_cell: whether the cell is given.
    """

    arrays: CrystalArrays
    positions: np.ndarray
    sources: tuple[int, ...]
    redrawn: np.ndarray
    new: range
    keep_cell: bool

    @staticmethod
    def of(
        atoms: Any,
        *,
        keep: str | Sequence[int] | None = None,
        n_new: int | Sequence[int] = (1, 4),
        substitute: str | Sequence[int] | None = None,
        keep_cell: bool = True,
    ) -> Seed:
        """The seed of a user's arguments, see `CrystalGenerator.complete`.

        Raises:
            ValueError: for no crystal, indices out of range, and arguments that contradict one another.
        """
        from moldiff.crystals.convert import CrystalArrays, from_atoms

        if isinstance(atoms, str | os.PathLike):
            from moldiff.data.crystal_files import read_crystals

            reading = read_crystals(atoms)
            if len(reading) > 1:
                raise ValueError(f"{reading.path} has {len(reading)} crystals: give one of moldiff.read(...)")
            atoms = reading[0]
        arrays = from_atoms(atoms)
        count = len(arrays.numbers)
        if substitute is not None:
            if keep is not None or not keep_cell:
                raise ValueError("substitute keeps every place and the cell: leave keep and keep_cell out")
            sites = list(range(count)) if substitute == "all" else _sites("substitute", substitute, arrays)
            redrawn = np.isin(np.arange(count), sites)
            return Seed(arrays, np.array(atoms.positions), tuple(range(count)), redrawn, range(1), True)
        kept = list(range(count)) if keep is None else _sites("keep", keep, arrays)
        part = CrystalArrays(arrays.numbers[kept], arrays.fractional[kept], arrays.cell)
        ends = [n_new, n_new] if isinstance(n_new, int) else [int(value) for value in n_new]
        if len(ends) != 2 or not 1 <= ends[0] <= ends[1]:
            raise ValueError(f"n_new {n_new!r}: give the number of new sites, at least 1, or (lowest, highest)")
        redrawn = np.zeros(len(kept), bool)
        return Seed(part, np.array(atoms.positions)[kept], tuple(kept), redrawn, range(ends[0], ends[1] + 1), keep_cell)

    def elements(self, model: CrystalModel) -> torch.Tensor:
        """(sites,) indices of the elements, 0 where they are drawn anew.

        Raises:
            ValueError: for one that the model does not know.
        """
        known = model.alphabets["elements"]
        found = []
        for number, redrawn in zip(self.arrays.numbers.tolist(), self.redrawn.tolist(), strict=True):
            symbol = PERIODIC_TABLE[number]
            if symbol not in known.symbols and not redrawn:
                raise ValueError(f"element {symbol!r} is unknown to this model: it knows {', '.join(known.symbols)}")
            found.append(0 if redrawn else known.index(symbol))
        return torch.tensor(found, dtype=torch.long)


def _sites(name: str, value: str | Sequence[int], arrays: CrystalArrays) -> list[int]:
    count = len(arrays.numbers)
    if isinstance(value, str):
        there = [PERIODIC_TABLE[number] for number in arrays.numbers.tolist()]
        wanted = symbols(value)
        missing = [symbol for symbol in wanted if symbol not in there]
        if missing or not wanted:
            words = 'indices of sites, elements as "Na,Cl"' + (', or "all"' if name == "substitute" else "")
            raise ValueError(f"{name} {value!r}: give {words}; the crystal has {', '.join(dict.fromkeys(there))}")
        return [site for site, symbol in enumerate(there) if symbol in wanted]
    sites = list(dict.fromkeys(int(site) for site in value))
    outside = [site for site in sites if not 0 <= site < count]
    if outside or not sites:
        raise ValueError(f"{name} {list(value)!r}: give indices between 0 and {count - 1}, at least one")
    return sites


def stream(
    model: CrystalModel,
    seed_crystal: Seed,
    *,
    n: int,
    seed: int,
    steps: int | None,
    batch_size: int,
    plan: CrystalPlan,
    progress: bool = False,
) -> Iterator[DrawnCrystal]:
    """Completions as their batches finish, valid or not; arguments as for `CrystalGenerator.complete`.

    Raises:
        ValueError: for an unknown element, a composition among the wishes, kept elements outside the chemical system,
            or more atoms than the model knows.
    """
    if plan.ingredients.composition is not None:
        raise ValueError("a composition says every element: use chemical_system, elements or require to complete")
    elements = seed_crystal.elements(model)
    kept = len(elements)
    there = [PERIODIC_TABLE[number] for number in seed_crystal.arrays.numbers[~seed_crystal.redrawn].tolist()]
    outside = [symbol for symbol in dict.fromkeys(there) if plan.system and symbol not in plan.system]
    if outside:
        raise ValueError(
            f"chemical_system {'-'.join(plan.system)} lacks {', '.join(outside)}, which is kept: add it, or say "
            "elements, which is of new sites only"
        )
    if kept + seed_crystal.new[-1] > model.largest:
        raise ValueError(
            f"{kept} kept and {seed_crystal.new[-1]} new sites are more than the {model.largest} of the largest "
            "crystal trained on: keep fewer or lower n_new"
        )
    draw = torch.Generator().manual_seed(mix(seed, 5))
    new = torch.randint(seed_crystal.new[0], seed_crystal.new[-1] + 1, (n,), generator=draw)
    sizes = kept + new
    fractional = torch.from_numpy(seed_crystal.arrays.fractional).float()
    cell = torch.from_numpy(symmetric_cells(seed_crystal.arrays.cell[None])).float()
    fixed = torch.from_numpy(~seed_crystal.redrawn)

    def blank(rows: torch.Tensor) -> State:
        state = blank_crystals(sizes[rows].tolist())
        state.field("fractional")[:, :kept] = fractional
        state.field("elements")[:, :kept] = elements
        return state.replace(cell=cell.repeat(len(rows), 1, 1)) if seed_crystal.keep_cell else state

    def given(state: State) -> dict[str, torch.Tensor]:
        places, symbols = torch.zeros_like(state.mask), torch.zeros_like(state.mask)
        places[:, :kept], symbols[:, :kept] = True, fixed
        masks = {"fractional": places, "elements": symbols}
        if seed_crystal.keep_cell:
            masks["cell"] = torch.ones(len(state), dtype=torch.bool)
        return {name: mask.to(model.device) for name, mask in masks.items()}

    def items() -> Iterator[DrawnCrystal]:
        keep_large_blocks()
        config = settings(model, steps)
        process = JointProcess.for_crystals(model.config.diffusion, model.alphabets, sampler=config)
        guess = denoiser(model.network, process)
        parts = near_sizes(sizes, batch_size // plan.particles)
        with tqdm(total=n, unit="crystal", disable=not progress) as bar:

            def advance(step: Step) -> None:
                bar.update(len(step.state) / (config.steps * plan.particles))

            def draw(place: int, state: State) -> State:
                noise = torch.Generator(model.device).manual_seed(mix(seed, 6, place))
                with model.execution.running(n * config.steps * plan.evaluations, bar=bar):
                    return plan.draw(
                        guess,
                        process,
                        state=state.to(model.device),
                        generator=noise,
                        config=config,
                        given=given(state),
                        callback=advance,
                    )

            each = partial(model.execution.each, alone=plan.goal.alone)
            for rows, done in model.ranks.share(parts, blank=blank, draw=draw, arrived=bar.update, each=each):
                for number, arrays in zip(rows.tolist(), to_crystals(done, model.alphabets), strict=True):
                    yield finished(seed_crystal, arrays, number, f"{model.name}-{seed}-{number}")

    return items()


def finished(seed_crystal: Seed, arrays: CrystalArrays, number: int, name: str) -> DrawnCrystal:
    """A drawn crystal with the very coordinates of the kept sites and, where it is kept, the very cell."""
    from moldiff.crystals.convert import to_atoms

    kept = len(seed_crystal.sources)
    fractional = arrays.fractional.copy()
    fractional[:kept] = seed_crystal.arrays.fractional
    cell = seed_crystal.arrays.cell if seed_crystal.keep_cell else arrays.cell
    result = type(arrays)(arrays.numbers, fractional, cell)
    verdict = judge(result)
    if not verdict.structure_valid:
        return DrawnCrystal(number, None, result, verdict)
    atoms = to_atoms(result) if seed_crystal.keep_cell else atoms_of(result, name)
    if seed_crystal.keep_cell:
        atoms.positions[:kept] = seed_crystal.positions
    atoms.info |= {"name": name, "kept": " ".join(map(str, seed_crystal.sources))}
    return DrawnCrystal(number, atoms, result, verdict)
