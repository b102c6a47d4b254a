"""Sampling with parts given: batches of structures, each with its own given entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from moldiff.allocator import keep_large_blocks
from moldiff.data.batching import PERIODIC_TABLE, mix
from moldiff.denoiser import Denoiser
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.sampler import Callback, sample
from moldiff.generator.drawing import near_sizes
from moldiff.generator.execution import Execution
from moldiff.generator.goal import chain
from moldiff.generator.ranks import Ranks
from moldiff.generator.threads import go_on
from moldiff.guidance.constraints import Constrained, Constraints
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.config import ModelConfig, SamplerConfig
    from moldiff.denoiser import Network
    from moldiff.generator.results import Report
    from moldiff.molecules.convert import Arrays
    from moldiff.molecules.validity import Verdict


class Model(Protocol):
    """What the tasks need of a `Generator`, which is built on them and cannot be imported here."""

    network: Network
    config: ModelConfig
    alphabets: Mapping[str, Alphabet]
    sampler: SamplerConfig
    device: torch.device
    execution: Execution
    path: Path | None
    ranks: Ranks

    def _check(self, n: int, batch_size: int | None) -> int: ...

    def report(
        self,
        verdicts: Sequence[Verdict],
        *,
        asked: int,
        seconds: float,
        steps: int | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> Report:
        """The report on a sample."""
        ...


Rules = Callable[[Tensor], Constraints]
"""``rules(rows)``: what those rows of the state must satisfy."""


def walk(
    generator: Model,
    state: State,
    given: Mapping[str, Tensor],
    *,
    seed: int,
    batch_size: int,
    sampler: SamplerConfig,
    rules: Rules | None = None,
    ranks: Ranks | None = None,
) -> Iterator[tuple[Tensor, State]]:
    """Sample the structures of a state in batches of near sizes.

    Args:
        generator: the model.
        state: M structures on the CPU with the values of what is given.
        given: field -> bool mask of the given entries.
        seed: decides all noise, with the place of the batch.
        batch_size: structures a batch.
        sampler: steps, churn, re-masking.
        rules: constraints of a batch, none by default.
        ranks: the processes that share the batches, this one alone by default.

    Returns:
        pairs (rows, finished State of them, on the CPU, padding cut off); all in process 0, none in the others.
    """
    keep_large_blocks()
    process = JointProcess.for_molecules(generator.config.diffusion, generator.alphabets, sampler=sampler)
    model = denoiser(generator.network, process)
    parts = near_sizes(state.n_atoms, batch_size)

    def blank(rows: Tensor) -> State:
        return crop(state.index(rows), int(state.n_atoms[rows].max()))

    def draw(place: int, part: State) -> State:
        rows = parts[place]
        noise = torch.Generator(generator.device).manual_seed(mix(seed, 3, place))
        masks = {name: cut(name, mask[rows], part.size).to(generator.device) for name, mask in given.items()}
        guided: Denoiser = model
        callbacks: list[Callback] = [go_on]
        if rules is not None:
            constrained = Constrained(model, rules(rows), generator=noise, temperature=sampler.temperature)
            guided = constrained
            callbacks.append(constrained.restore)
        with generator.execution.running(len(state) * sampler.steps):
            return sample(
                guided,
                process,
                state=part.to(generator.device),
                generator=noise,
                config=sampler,
                given=masks,
                callback=chain(callbacks),
            )

    for rows, done in (ranks or Ranks()).share(parts, blank=blank, draw=draw, each=generator.execution.each):
        yield rows, done.to("cpu")


def settings(generator: Model, steps: int | None, **changes: float) -> SamplerConfig:
    """The generator's sampler settings with some exchanged."""
    config = generator.sampler if steps is None else generator.sampler.in_steps(steps)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]  # the callers name float fields


def cut(name: str, value: Tensor, size: int) -> Tensor:
    """A field or its mask cut to the first `size` atoms."""
    return value[:, :size, :size] if name == "bonds" else value[:, :size]


def crop(state: State, size: int) -> State:
    """A state padded to `size` atoms only."""
    fields = {name: cut(name, state.field(name), size) for name in state.present}
    return State(mask=state.mask[:, :size], **fields)


def to_state(molecules: Sequence[Arrays], sizes: Sequence[int], alphabets: Mapping[str, Alphabet]) -> State:
    """Molecules or parts of such as a State; atoms beyond a part's own are blank.

    Args:
        molecules: atoms, places (angstrom, as they are: nothing is centred), charges and bonds.
        sizes: atoms of each structure, at least those of its part.
        alphabets: of elements, charges and bonds.

    Raises:
        ValueError: for an element, charge or kind of bond that the model does not know.
    """
    b, n = len(molecules), max(sizes)
    mask = np.arange(n)[None] < np.asarray(sizes)[:, None]
    elements, charges = np.zeros((b, n), np.int64), np.zeros((b, n), np.int64)
    positions, bonds = np.zeros((b, n, 3), np.float32), np.zeros((b, n, n), np.int64)
    for row, arrays in enumerate(molecules):
        m = len(arrays)
        elements[row, :m], charges[row, :m] = encode(arrays, alphabets)
        positions[row, :m] = arrays.positions
        bonds[row, :m, :m] = arrays.bonds
    return State(*map(torch.from_numpy, (mask, positions, elements, charges, bonds)))


def encode(arrays: Arrays, alphabets: Mapping[str, Alphabet]) -> tuple[list[int], list[int]]:
    """Indices of the elements and charges of a molecule.

    Raises:
        ValueError: for one that the model does not know.
    """
    symbols = [PERIODIC_TABLE[number] for number in arrays.numbers.tolist()]
    for names, kind in ((symbols, "elements"), ([str(q) for q in arrays.charges.tolist()], "charges")):
        unknown = sorted(set(names) - set(alphabets[kind].symbols))
        if unknown:
            known = ", ".join(alphabets[kind].symbols)
            word = "element" if kind == "elements" else "formal charge"
            raise ValueError(f"{word} {', '.join(unknown)} is unknown to this model: it was trained on {known}")
    return (
        [alphabets["elements"].index(symbol) for symbol in symbols],
        [alphabets["charges"].index(str(charge)) for charge in arrays.charges.tolist()],
    )
