"""Perception: bonds and formal charges from coordinates, by the vote of several samples."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.diffusion.tasks import given_fields
from moldiff.generator.export import to_arrays
from moldiff.generator.given import Model, settings, to_state, walk
from moldiff.generator.results import Failed
from moldiff.state import centred

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays

#: Symbols are drawn near their most probable values, since one answer is wanted and no variety.
TEMPERATURE = 0.5


def perceive(
    generator: Model,
    structures: Any,
    *,
    charge: int | None = None,
    samples: int = 5,
    fallback: bool = False,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Any:
    """Bonds and charges of structures; see `moldiff.generator.Generator.perceive`."""
    single, bare = read(structures)
    size = generator._check(samples, batch_size)
    warn_of_size(generator, bare)
    found: list[Any] = []
    known: list[tuple[int, Arrays]] = []
    for number, arrays in enumerate(bare):
        problem = refuse(arrays, generator)
        found.append(Failed(number, *problem, None) if problem else None)
        if not problem:
            known.append((number, arrays))
    if known:
        repeated = [arrays for _, arrays in known for _ in range(samples)]
        state = to_state(repeated, [len(arrays) for arrays in repeated], generator.alphabets)
        state = state.replace(positions=centred(state.field("positions"), state.mask))
        drawn: dict[int, Any] = {}
        for rows, done in walk(
            generator,
            state,
            given_fields(state, ("positions", "elements")),
            seed=seed,
            batch_size=size,
            sampler=settings(generator, steps, temperature=TEMPERATURE),
        ):
            drawn.update(zip(rows.tolist(), to_arrays(done, generator.alphabets), strict=True))
        for place, (number, arrays) in enumerate(known):
            votes = [drawn[place * samples + i] for i in range(samples)]
            found[number] = elect(number, arrays, votes, charge)
    if fallback:
        found = [
            by_rdkit(arrays, charge) or answer if isinstance(answer, Failed) else answer
            for answer, arrays in zip(found, bare, strict=True)
        ]
    return found[0] if single else found


def by_rdkit(arrays: Arrays, charge: int | None) -> Any:
    """What RDKit's DetermineBonds makes of a structure, marked as its answer; None where that is not valid either."""
    from moldiff.molecules.bonds import perceive as determine
    from moldiff.molecules.convert import stereo_from_3d
    from moldiff.molecules.validity import check

    answer = determine(arrays.numbers, arrays.positions, charge=charge or 0, max_iterations=100_000)
    verdict = None if answer.arrays is None else check(answer.arrays)
    if verdict is None or not verdict.valid_connected or verdict.mol is None:
        return None
    mol = stereo_from_3d(verdict.mol)
    mol.SetProp("source", "rdkit")
    return mol


def elect(number: int, arrays: Arrays, votes: Sequence[Arrays], charge: int | None) -> Any:
    """The valid answer most samples give, as a Mol with its share of all samples, or why there is none.

    Args:
        number: place of the structure.
        arrays: the structure, for its exact coordinates.
        votes: what the samples say.
        charge: total charge that an answer must have; any where None.
    """
    from moldiff.molecules.convert import perceive_aromatic, stereo_from_3d
    from moldiff.molecules.validity import check

    answers: dict[bytes, list[Any]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    messages: dict[str, str] = {}
    for vote in votes:
        verdict = check(type(vote)(arrays.numbers, arrays.positions, vote.charges, vote.bonds))
        reason, message = verdict.reason, verdict.message
        total = int(vote.charges.sum())
        if verdict.valid_connected and charge is not None and total != charge:
            reason, message = "charge", f"total charge {total:+d} instead of {charge:+d}"
        if reason != "ok" or verdict.mol is None:
            reasons[reason] += 1
            messages[reason] = message
            continue
        # Kekule forms of one aromatic ring are one answer
        kekulised = type(vote)(arrays.numbers, arrays.positions, vote.charges, vote.bonds).kekulised().bonds
        key = perceive_aromatic(arrays.numbers, vote.charges, kekulised).tobytes() + vote.charges.tobytes()
        answers[key].append(verdict.mol)
    if not answers:
        reason, count = reasons.most_common(1)[0]
        return Failed(number, reason, f"{count} of {len(votes)} samples: {messages[reason]}", None)
    winner = max(answers.values(), key=len)
    mol = stereo_from_3d(winner[0])
    mol.SetDoubleProp("confidence", len(winner) / len(votes))
    mol.SetProp("source", "moldiff")
    return mol


def refuse(arrays: Arrays, generator: Model) -> tuple[str, str] | None:
    """Reason and message for a structure that cannot be given to the network."""
    if len(arrays) == 0:
        return "empty", "no atoms"
    if not np.isfinite(arrays.positions).all():
        return "nonfinite", "positions are not finite"
    try:
        to_state([arrays], [len(arrays)], generator.alphabets)
    except (ValueError, IndexError) as error:
        return "element", str(error)
    return None


def warn_of_size(generator: Model, bare: Sequence[Arrays]) -> None:
    """Warn of structures larger than any trained on."""
    largest, most = max(map(int, generator.config.sizes)), max(map(len, bare), default=0)
    if most > largest:
        warnings.warn(f"{most} atoms are more than the {largest} of the largest molecule trained on", stacklevel=4)


def read(structures: Any) -> tuple[bool, list[Arrays]]:
    """Whether it is a single structure, and all of them as atoms without bonds.

    Raises:
        ValueError: for something else than ase.Atoms, an RDKit Mol with a conformer, a path, a pair of atomic numbers
            and positions, or a list of these.
    """
    from ase import Atoms
    from rdkit import Chem

    if isinstance(structures, Atoms):
        return True, [bare(structures.numbers, structures.positions)]
    if isinstance(structures, Chem.Mol):
        if not structures.GetNumConformers():
            raise ValueError("the molecule has no conformer: perception needs coordinates")
        numbers = [atom.GetAtomicNum() for atom in structures.GetAtoms()]
        return True, [bare(numbers, structures.GetConformer().GetPositions())]
    if isinstance(structures, str | os.PathLike):
        from moldiff.data.files import read_molecules

        frames = [read(mol)[1][0] for mol in read_molecules(structures, bonds=False)]
        return len(frames) == 1, frames
    if isinstance(structures, tuple) and len(structures) == 2 and np.ndim(structures[1]) == 2:
        return True, [bare(*structures)]
    if isinstance(structures, list | tuple):
        return False, [read(item)[1][0] for item in structures]
    raise ValueError(
        f"{type(structures).__name__} is no structure: give ase.Atoms, a Mol, a path, (numbers, positions), or a list"
    )


def bare(numbers: Any, positions: Any) -> Arrays:
    """Atoms without bonds and charges."""
    from moldiff.molecules.convert import Arrays

    n = len(numbers)
    return Arrays(np.asarray(numbers), np.asarray(positions), np.zeros(n), np.zeros((n, n)))
