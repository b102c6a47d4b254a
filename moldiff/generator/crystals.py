"""The Generator of crystals: from weights to `ase.Atoms`. Drawing States needs torch only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, final

import torch
from torch import Tensor
from tqdm import tqdm

from moldiff.allocator import keep_large_blocks
from moldiff.config import ModelConfig
from moldiff.data.batching import blank_crystals, mix
from moldiff.denoiser import Network
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import Step
from moldiff.generator import crystal_results as results
from moldiff.generator import targets
from moldiff.generator.crystal_plan import CrystalPlan, CrystalWishes, settings
from moldiff.generator.crystal_results import Crystals, DrawnCrystal
from moldiff.generator.drawing import check_counts, draw_until, in_order, split_sizes
from moldiff.generator.execution import Execution
from moldiff.generator.export import to_crystals
from moldiff.generator.ranks import Batches, Ranks
from moldiff.generator.results import Report
from moldiff.networks.weights import alphabets
from moldiff.shipped import find_reference
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.crystals.validity import Verdict
    from moldiff.data.trajectory import Trajectory

BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} crystals [{elapsed}<{remaining}]"


@final
class CrystalGenerator:
    """A trained model of crystals, ready to sample. Made by `moldiff.load`.

    Args:
        network: raw network, see `moldiff.denoiser.Network`.
        config: its configuration.
        path: where the weights came from.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        compile: ``"auto"``, ``"on"`` or ``"off"``, see `moldiff.load`.
    """

    def __init__(
        self,
        network: Network,
        config: ModelConfig,
        *,
        path: Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        compile: str = "auto",
    ) -> None:
        if config.kind != "crystal":
            raise ValueError(f"this model makes {config.kind}s: use moldiff.load, which knows both")
        self.execution = Execution(network, example=self._example, device=device, precision=precision, compile=compile)
        self.network: Network = self.execution.network
        self.device = self.execution.device
        self.config, self.path = config, path
        self.alphabets: Mapping[str, Alphabet] = alphabets(config)
        self.sampler = config.sampler
        self.ranks = Ranks()

    @property
    def name(self) -> str:
        """Name of the data set the model was trained on."""
        return self.config.data

    @property
    def largest(self) -> int:
        """Atoms of the largest crystal trained on."""
        return max(map(int, self.config.sizes))

    def __repr__(self) -> str:
        known = len(self.config.alphabets["elements"])
        return f"<moldiff CrystalGenerator of {self.name}: {known} elements, up to {self.largest} atoms, {self.device}>"

    @property
    def properties(self) -> tuple[targets.Property, ...]:
        """What can be asked for as a target: name, unit, level of theory, range in training."""
        return targets.properties(self.config)

    def guide(self, **wishes: Unpack[CrystalWishes]) -> CrystalPlan:
        """What a sample is steered towards, checked; `sample`, `stream` and `draw` do it themselves."""
        return CrystalPlan(self.config, self.alphabets, reference=find_reference(self.path), wishes=wishes)

    def draw(
        self,
        n: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        n_atoms: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        **wishes: Unpack[CrystalWishes],
    ) -> State:
        """Draw n crystals as one padded State on the CPU, valid or not; needs neither ASE nor pymatgen.

        Arguments as for `sample`.
        """
        size, plan = self.check(n, batch_size), self.guide(**wishes)
        batches = self._batches(n, seed=seed, steps=steps, n_atoms=n_atoms, batch_size=size, plan=plan)
        return in_order(batches)

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        n_atoms: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        fill: bool = False,
        progress: bool = False,
        plan: CrystalPlan | None = None,
        **wishes: Unpack[CrystalWishes],
    ) -> Iterator[DrawnCrystal]:
        """Crystals one by one as their batches finish, valid or not. Arguments as for `sample`.

        `plan`: what `guide` made of the wishes, instead of them; its notes are for the report.
        """
        size, chosen = self.check(n, batch_size), plan or self.guide(**wishes)
        # refuses what cannot be met now and not at the first batch
        chosen.sizes(n, n_atoms, generator=torch.Generator())

        bar = tqdm(total=n, unit="crystal", disable=not progress, bar_format=BAR)

        def batches(want: int, round_: int) -> Batches:
            return self._batches(
                want,
                seed=seed,
                steps=steps,
                n_atoms=n_atoms,
                batch_size=size,
                plan=chosen,
                bar=bar,
                round_=round_,
            )

        return draw_until(
            n,
            fill=fill,
            batches=batches,
            judge=lambda finished, first: self._judge(finished, seed=seed, first=first),
            good=lambda item: item.atoms is not None,
            ranks=self.ranks,
            bar=bar,
        )

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        n_atoms: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        fill: bool = False,
        progress: bool | None = None,
        **wishes: Unpack[CrystalWishes],
    ) -> Crystals:
        """Sample crystals.

        Args:
            n: crystals to draw, at least 1; the structurally valid ones are returned.
            seed: the same seed, n and batch_size give the same crystals in the same order.
            steps: sampler steps, one network evaluation each.
            n_atoms: atoms a cell, one number or n of them; drawn as in the training set by default.
            batch_size: crystals a batch; 64 on a CPU, 1024 on a GPU by default.
            fill: go on until n valid ones are made; the report says how many were drawn.
            progress: show a bar; only on a terminal by default.
            wishes: ``composition="LiFePO4"``, ``chemical_system="Li-Fe-P-O"``, ``target={"band_gap": 1.5}``, see
                `moldiff.generator.crystal_plan.CrystalWishes`.

        Returns:
            A list of `ase.Atoms` with ``report`` and ``failed``. A crystal is left out of the list, and counted, where
            two sites are closer than 0.5 angstrom or the cell has no volume; ``info`` holds its name.

        Raises:
            ValueError: for n, steps, n_atoms or batch_size out of range, and for wishes that cannot be met.
        """
        plan, start = self.guide(**wishes), time.perf_counter()
        show = sys.stderr.isatty() if progress is None else progress
        items = self.stream(
            n, seed=seed, steps=steps, n_atoms=n_atoms, batch_size=batch_size, fill=fill, progress=show, plan=plan
        )
        return self.collect(items, start=start, asked=n, steps=steps, seed=seed, batch_size=batch_size, guidance=plan)

    def complete(
        self,
        atoms: Any,
        *,
        keep: str | Sequence[int] | None = None,
        n_new: int | Sequence[int] = (1, 4),
        substitute: str | Sequence[int] | None = None,
        keep_cell: bool = True,
        n: int = 16,
        seed: int = 0,
        steps: int | None = None,
        batch_size: int | None = None,
        progress: bool | None = None,
        **wishes: Unpack[CrystalWishes],
    ) -> Crystals:
        """Keep a part of a crystal and make the rest anew: sites around a seed, or elements on given sites.

        Args:
            atoms: periodic `ase.Atoms`, or a file of one crystal.
            keep: indices of the sites that stay with their element, or elements, ``"Na,Cl"``; all by default. New sites
                come after them.
            n_new: new sites, a number or (lowest, highest), all equally likely; not with `substitute`.
            substitute: ``"all"``, elements, or indices of sites, whose elements are drawn anew, every place as it is.
            keep_cell: the cell stays too; otherwise it is drawn anew, with the kept sites at the same fractions of it.
            n: crystals to draw; the structurally valid ones are returned.
            seed: the same seed and arguments give the same crystals.
            steps: sampler steps.
            batch_size: crystals a batch.
            progress: show a bar; only on a terminal by default.
            wishes: elements and forbid, of what is drawn; require and chemical_system, of the whole crystal; target,
                guidance and reward, see `CrystalWishes`.

        Returns:
            Crystals with report and failures. Kept sites come first, with their very coordinates where the cell is
            kept; ``info["kept"]`` lists their indices in `atoms`.

        Raises:
            ValueError: no crystal, an unknown element, more atoms than any crystal trained on, indices out of range,
                or wishes that contradict what is kept.
        """
        from moldiff.generator.crystal_complete import Seed, stream

        plan, start = self.guide(**wishes), time.perf_counter()
        seed_crystal = Seed.of(atoms, keep=keep, n_new=n_new, substitute=substitute, keep_cell=keep_cell)
        items = stream(
            self,
            seed_crystal,
            n=n,
            seed=seed,
            steps=steps,
            batch_size=self.check(n, batch_size),
            plan=plan,
            progress=sys.stderr.isatty() if progress is None else progress,
        )
        return self.collect(items, start=start, asked=n, steps=steps, seed=seed, batch_size=batch_size, guidance=plan)

    def trajectory(
        self,
        *,
        seed: int = 0,
        steps: int | None = None,
        n_atoms: int | None = None,
        **wishes: Unpack[CrystalWishes],
    ) -> Trajectory:
        """Sample one crystal and keep every step of it; `moldiff.view` makes a movie of what comes back.

        Arguments as for `sample`; the crystal is not the first of a sample, whose noise depends on its batch. The
        finished one is the ``structure``, None if it is not structurally valid.
        """
        from moldiff.generator.crystal_trajectory import trajectory

        return trajectory(self, seed=seed, steps=steps, n_atoms=n_atoms, plan=self.guide(**wishes))

    def collect(
        self,
        items: Iterator[DrawnCrystal],
        *,
        start: float,
        **settings: Any,
    ) -> Crystals:
        """What `stream` yields as `Crystals`; `start` is of `time.perf_counter`, `settings` are those of `report`."""
        drawn = sorted(items, key=lambda item: item.number)
        verdicts = [item.verdict for item in drawn]
        report = self.report(verdicts, seconds=time.perf_counter() - start, **settings)
        failed = [results.failure(item) for item in drawn if item.atoms is None]
        return Crystals([item.atoms for item in drawn if item.atoms is not None], report=report, failed=failed)

    def report(
        self,
        verdicts: Sequence[Verdict],
        *,
        asked: int,
        seconds: float,
        steps: int | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        guidance: CrystalPlan | None = None,
    ) -> Report:
        """The report on a sample; uniqueness and novelty are for `moldiff.evaluate`."""
        notes = () if results.knows_charges() else ("composition_valid: not known without SMACT (extra crystal)",)
        return Report(
            asked=asked,
            drawn=len(verdicts),
            made=sum(verdict.structure_valid for verdict in verdicts),
            reasons=results.reasons(verdicts),
            rates=results.rates(verdicts),
            seconds=seconds,
            evaluations=(steps or self.sampler.steps) * (guidance.evaluations if guidance else 1),
            seed=seed,
            batch_size=self.check(asked, batch_size),
            notes=(*notes, *(guidance.notes if guidance else ())),
            noun="crystals",
        )

    def _batches(
        self,
        n: int,
        *,
        seed: int,
        steps: int | None,
        n_atoms: int | Sequence[int] | None,
        batch_size: int,
        plan: CrystalPlan,
        bar: Any = None,
        round_: int = 0,
    ) -> Batches:
        """Finished batches and the numbers of their crystals."""
        keep_large_blocks()
        config = settings(self, steps)
        process = JointProcess.for_crystals(self.config.diffusion, self.alphabets, sampler=config)
        source = torch.Generator().manual_seed(mix(seed, round_, 0))
        sizes = plan.sizes(n, n_atoms, generator=source, again=round_ > 0)
        parts = split_sizes(sizes, batch_size // plan.particles, seed=mix(seed, round_, 1))
        model = denoiser(self.network, process)
        work = n * config.steps * plan.evaluations

        def advance(step: Step) -> None:
            if bar is not None:
                bar.update(len(step.state) / (config.steps * plan.particles))

        def draw(place: int, blank: State) -> State:
            noise = torch.Generator(self.device).manual_seed(mix(seed, round_, 2, place))
            with self.execution.running(work, bar=bar):
                return plan.draw(model, process, state=blank, generator=noise, config=config, callback=advance)

        yield from self.ranks.share(
            parts,
            blank=lambda rows: blank_crystals(sizes[rows].tolist(), device=self.device),
            draw=draw,
            arrived=lambda count: None if bar is None else bar.update(count),
            each=partial(self.execution.each, alone=plan.goal.alone),
        )

    def _judge(self, batches: Iterator[tuple[Tensor, State]], *, seed: int, first: int) -> Iterator[DrawnCrystal]:
        for rows, state in batches:
            for number, arrays in zip(rows.tolist(), to_crystals(state, self.alphabets), strict=True):
                verdict = results.judge(arrays)
                name = f"{self.name}-{seed}-{first + number}"
                atoms = results.atoms_of(arrays, name) if verdict.structure_valid else None
                yield DrawnCrystal(first + number, atoms, arrays, verdict)

    def _example(self, sizes: list[int]) -> tuple[JointProcess, State]:
        return JointProcess.for_crystals(self.config.diffusion, self.alphabets), blank_crystals(sizes)

    def check(self, n: int, batch_size: int | None) -> int:
        """The size of a batch, after checking the numbers.

        Raises:
            ValueError: for a number or a batch size below 1.
        """
        return check_counts(n, batch_size, self.device, noun="crystals")
