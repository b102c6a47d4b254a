"""Perception: bonds and formal charges from coordinates, by the vote of several samples.

Structures larger than those trained on are perceived patch by patch (`moldiff.generator.patches`): as a whole, none of
10 molecules of dft8k with 32 to 42 atoms was right, in patches 14 of 16 with 25 to 40, on the first shipped weights.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.diffusion.tasks import given_fields
from moldiff.generator.export import to_arrays
from moldiff.generator.given import Model, settings, to_state, walk
from moldiff.generator.patches import Patch, joined, patches
from moldiff.generator.results import Failed
from moldiff.state import centred

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays

#: Symbols are drawn near their most probable values, since one answer is wanted and no variety.
TEMPERATURE = 0.5
#: Sampler steps, and no symbol is hidden again: where places are given, more change nothing (on 24 molecules of dft8k
#: with at most ten heavy atoms, 8 steps and 50 steps with re-masking both found all).
STEPS = 10
#: Heavy atoms more than in any molecule trained on up to which a structure is taken as a whole.
BEYOND = 1


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
    found: list[Any] = []
    cuts: list[tuple[int, list[list[Patch]]]] = []
    for number, arrays in enumerate(bare):
        problem = refuse(arrays, generator)
        found.append(Failed(number, *problem, None) if problem else None)
        if not problem:
            cuts.append((number, [cut(arrays, generator, vote) for vote in range(samples)]))
    pieces = [patch.arrays for _, votes in cuts for vote in votes for patch in vote]
    if pieces:
        state = to_state(pieces, [len(arrays) for arrays in pieces], generator.alphabets)
        state = state.replace(positions=centred(state.field("positions"), state.mask))
        drawn: dict[int, Any] = {}
        for rows, done in walk(
            generator,
            state,
            given_fields(state, ("positions", "elements")),
            seed=seed,
            batch_size=size,
            sampler=settings(generator, steps or STEPS, temperature=TEMPERATURE, cooled=1.0, remask=0.0),
        ):
            drawn.update(zip(rows.tolist(), to_arrays(done, generator.alphabets), strict=True))
        place = 0
        for number, votes in cuts:
            whole = []
            for vote in votes:
                whole.append(joined(bare[number], vote, [drawn[place + i] for i in range(len(vote))]))
                place += len(vote)
            found[number] = elect(number, bare[number], whole, charge)
            if len(votes[0]) > 1 and not isinstance(found[number], Failed):
                found[number].SetIntProp("patches", len(votes[0]))
    if fallback:
        found = [
            by_rdkit(arrays, charge) or answer if isinstance(answer, Failed) else answer
            for answer, arrays in zip(found, bare, strict=True)
        ]
    return found[0] if single else found


def cut(arrays: Arrays, generator: Model, vote: int) -> list[Patch]:
    """The whole structure as one patch, or patches of the size trained on where it is larger.

    Each vote cuts in another way, so that a cut at a bad place is outvoted.
    """
    heavy = next((int(p.high) for p in generator.config.properties if p.name == "heavy_atoms"), None)
    largest = max(map(int, generator.config.sizes))
    if len(arrays) <= largest and (heavy is None or int((arrays.numbers > 1).sum()) <= heavy + BEYOND):
        n = len(arrays)
        return [Patch(arrays, np.arange(n), np.full(n, 99))]
    size = (heavy or largest // 3) + (0, 1, -1)[vote % 3]
    return patches(arrays, largest=largest, heavy=max(size, 2))


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
