"""The Generator: from weights to molecules. Drawing States needs torch only; RDKit comes in with the molecules."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor
from tqdm import tqdm

from moldiff.allocator import keep_large_blocks
from moldiff.config import ModelConfig
from moldiff.data.batching import mix
from moldiff.denoiser import Network
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import Step
from moldiff.generator import targets
from moldiff.generator.drawing import check_counts, draw_until, in_order, split_sizes
from moldiff.generator.execution import Execution
from moldiff.generator.export import to_arrays
from moldiff.generator.given import settings
from moldiff.generator.guided import Guidance, Wishes
from moldiff.generator.ranks import Batches, Ranks
from moldiff.generator.results import Drawn, Molecules, Report, failure
from moldiff.generator.tasks import Tasks
from moldiff.networks.weights import alphabets
from moldiff.shipped import find_reference
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.molecules.validity import Verdict


class Generator(Tasks):
    """A trained model, ready to sample. Made by `moldiff.load`.

    Args:
        network: raw network, see `moldiff.denoiser.Network`.
        config: its configuration.
        path: where the weights came from; ``reference.npz`` beside them gives novelty.
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
        self.execution = Execution(network, example=self._example, device=device, precision=precision, compile=compile)
        self.network, self.device = self.execution.network, self.execution.device
        self.config, self.path = config, path
        self.alphabets: Mapping[str, Alphabet] = alphabets(config)
        self.sampler = config.sampler
        self.ranks = Ranks()

    @property
    def name(self) -> str:
        """Name of the data set the model was trained on."""
        return self.config.data

    def __repr__(self) -> str:
        return f"<moldiff Generator of {self.name}: {', '.join(self.config.alphabets['elements'])} on {self.device}>"

    @property
    def properties(self) -> tuple[targets.Property, ...]:
        """What can be asked for as a target: name, unit, level of theory, range in training."""
        return targets.properties(self.config)

    def guide(self, **wishes: Unpack[Wishes]) -> Guidance:
        """What a sample is steered towards, checked; `sample`, `stream` and `draw` do it themselves."""
        return Guidance(self.config, self.alphabets, reference=find_reference(self.path), wishes=wishes)

    def _sizes(self, n: int, seed: int, n_atoms: int | Sequence[int] | None, weights: Tensor | None = None) -> Tensor:
        """(n,) atom counts, drawn by weights (S,) or from the training set's unless given."""
        known = torch.tensor([int(size) for size in self.config.sizes])
        if n_atoms is None:
            if weights is None:
                weights = torch.tensor([float(count) for count in self.config.sizes.values()])
            generator = torch.Generator().manual_seed(mix(seed, 0))
            return known[torch.multinomial(weights, n, replacement=True, generator=generator)]
        sizes = (
            torch.as_tensor(n_atoms, dtype=torch.long).expand(n) if isinstance(n_atoms, int) else torch.tensor(n_atoms)
        )
        if len(sizes) != n or int(sizes.min()) < 1:
            raise ValueError(f"n_atoms must be a number of at least 1, or {n} of them, not {n_atoms!r}")
        if int(sizes.min()) < int(known.min()) or int(sizes.max()) > int(known.max()):
            warnings.warn(
                f"n_atoms {n_atoms} is outside the {int(known.min())}-{int(known.max())} atoms of the training set",
                stacklevel=3,
            )
        return sizes

    def _batches(
        self,
        n: int,
        *,
        seed: int,
        steps: int | None,
        n_atoms: int | Sequence[int] | None,
        batch_size: int,
        guidance: Guidance,
        bar: Any = None,
        round_: int = 0,
    ) -> Batches:
        """Finished batches and the numbers of their structures.

        A batch depends on n, batch_size and the seed alone.
        """
        keep_large_blocks()
        config = settings(self, steps)
        process = JointProcess.for_molecules(self.config.diffusion, self.alphabets, sampler=config)
        sizes = self._sizes(n, mix(seed, round_), guidance.sizes(n_atoms), guidance.size_weights)
        parts = split_sizes(sizes, batch_size // guidance.particles, seed=mix(seed, round_, 1))
        model = denoiser(self.network, process)
        # what is steered by gradients is never compiled
        work = 0 if guidance.gradient else n * config.steps * guidance.evaluations

        def advance(step: Step) -> None:
            if bar is not None:
                bar.update(len(step.state) / (config.steps * guidance.particles))

        def draw(place: int, blank: State) -> State:
            noise = torch.Generator(self.device).manual_seed(mix(seed, round_, 2, place))
            with self.execution.running(work, bar=bar):
                return guidance.draw(model, process, state=blank, generator=noise, config=config, callback=advance)

        yield from self.ranks.share(
            parts,
            blank=lambda rows: blank_state(sizes[rows]).to(self.device),
            draw=draw,
            arrived=lambda count: None if bar is None else bar.update(count),
            each=partial(self.execution.each, alone=guidance.goal.alone),
        )

    def _example(self, sizes: list[int]) -> tuple[JointProcess, State]:
        return JointProcess.for_molecules(self.config.diffusion, self.alphabets), blank_state(torch.tensor(sizes))

    def _check(self, n: int, batch_size: int | None) -> int:
        return check_counts(n, batch_size, self.device, noun="structures")

    def draw(
        self,
        n: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        n_atoms: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        **wishes: Unpack[Wishes],
    ) -> State:
        """Draw n structures as one padded State on the CPU, valid or not; needs no RDKit.

        Args:
            n: number of structures, at least 1.
            seed: the same seed, n and batch_size give the same structures.
            steps: sampler steps, one network evaluation each.
            n_atoms: atoms a structure, one number or n of them; drawn as in the training set by default.
            batch_size: structures a batch; 64 on a CPU, 1024 on a GPU by default.
            wishes: targets and other guidance as for `sample`.
        """
        size, guidance = self._check(n, batch_size), self.guide(**wishes)
        batches = self._batches(n, seed=seed, steps=steps, n_atoms=n_atoms, batch_size=size, guidance=guidance)
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
        plan: Guidance | None = None,
        **wishes: Unpack[Wishes],
    ) -> Iterator[Drawn]:
        """Structures one by one as their batches finish, valid or not. Arguments as for `sample`.

        `plan`: what `guide` made of the wishes, instead of them; its notes are for the report.
        """
        size, guidance = self._check(n, batch_size), plan or self.guide(**wishes)

        bar = tqdm(total=n, unit="mol", disable=not progress, bar_format=BAR)

        def batches(want: int, round_: int) -> Batches:
            return self._batches(
                want,
                seed=seed,
                steps=steps,
                n_atoms=n_atoms,
                batch_size=size,
                guidance=guidance,
                bar=bar,
                round_=round_,
            )

        return draw_until(
            n,
            fill=fill,
            batches=batches,
            judge=lambda finished, first: self._judge(finished, first=first),
            good=lambda item: item.mol is not None,
            ranks=self.ranks,
            bar=bar,
        )

    def _judge(self, batches: Iterator[tuple[Tensor, State]], *, first: int) -> Iterator[Drawn]:
        from moldiff.molecules.convert import stereo_from_3d
        from moldiff.molecules.validity import check

        for rows, state in batches:
            for number, arrays in zip(rows.tolist(), to_arrays(state, self.alphabets), strict=True):
                verdict = check(arrays)
                good = verdict.valid_connected and verdict.mol is not None
                yield Drawn(first + number, stereo_from_3d(verdict.mol) if good else None, arrays, verdict)

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
        **wishes: Unpack[Wishes],
    ) -> Molecules:
        """Sample molecules.

        Args:
            n: structures to draw, at least 1; the valid and connected ones are returned.
            seed: the same seed, n and batch_size give the same molecules in the same order.
            steps: sampler steps, one network evaluation each; 50 by default.
            n_atoms: atoms a molecule with hydrogens, one number or n of them; drawn as in the training set by default.
            batch_size: structures a batch; 64 on a CPU, 1024 on a GPU by default.
            fill: go on until n valid ones are made; the report says how many were drawn.
            progress: show a bar; only on a terminal by default.
            wishes: ``target={"gap": 5.0}`` with ``guidance=1.5``, see `moldiff.generator.guided.Wishes`.

        Returns:
            A list of `rdkit.Chem.Mol` with ``report`` and ``failed``.

        Raises:
            ValueError: for n, steps, n_atoms or batch_size out of range, and for wishes that cannot be met.
        """
        import sys

        guidance = self.guide(**wishes)
        start = time.perf_counter()
        show = sys.stderr.isatty() if progress is None else progress
        items = list(
            self.stream(
                n,
                seed=seed,
                steps=steps,
                n_atoms=n_atoms,
                batch_size=batch_size,
                fill=fill,
                progress=show,
                plan=guidance,
            )
        )
        items.sort(key=lambda item: item.number)
        report = self.report(
            [item.verdict for item in items],
            asked=n,
            seconds=time.perf_counter() - start,
            steps=steps,
            seed=seed,
            batch_size=batch_size,
            guidance=guidance,
        )
        failed = [failure(item) for item in items if item.mol is None]
        return Molecules([item.mol for item in items if item.mol is not None], report=report, failed=failed)

    def report(
        self,
        verdicts: Sequence[Verdict],
        *,
        asked: int,
        seconds: float,
        steps: int | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        guidance: Guidance | None = None,
    ) -> Report:
        """The report on a sample, with novelty if the training set's SMILES are at hand."""
        from moldiff.data.reference import Reference
        from moldiff.molecules.summary import reasons, summary

        training: frozenset[str] | None = None
        notes: tuple[str, ...] = ()
        reference = find_reference(self.path)
        if reference is not None:
            training = Reference.load(reference).train
        else:
            notes = ("novel: not known, there is no reference.npz beside the weights",)
        return Report(
            asked=asked,
            drawn=len(verdicts),
            made=sum(verdict.valid_connected for verdict in verdicts),
            reasons=reasons(verdicts),
            rates=summary(verdicts, training),
            seconds=seconds,
            evaluations=(steps or self.sampler.steps) * (guidance.evaluations if guidance else 1),
            seed=seed,
            batch_size=self._check(asked, batch_size),
            notes=(*notes, *(guidance.notes if guidance else ())),
        )


BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} molecules [{elapsed}<{remaining}]"


def blank_state(sizes: Tensor) -> State:
    """A State of the given atom counts (B,), everything else zero: what the sampler starts from."""
    mask = torch.arange(int(sizes.max()))[None] < sizes[:, None]
    b, n = mask.shape
    return State(
        mask=mask,
        positions=torch.zeros(b, n, 3),
        elements=torch.zeros(b, n, dtype=torch.long),
        charges=torch.zeros(b, n, dtype=torch.long),
        bonds=torch.zeros(b, n, n, dtype=torch.long),
    )
