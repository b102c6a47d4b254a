"""Molecules larger than those trained on, perceived patch by patch.

The network reads bonds off the surroundings of an atom, but it has only ever seen whole molecules of the training set's
size: on larger ones it calls every bond single. So a large structure is cut into overlapping patches of that size.
Where a patch is cut out, a hydrogen takes the place of the atom beyond; every bond and charge is then taken from the
patch in which it lies deepest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays

#: Heavy atoms of a patch.
HEAVY = 9
#: Atoms touch within this multiple of the sum of their covalent radii.
TOUCH = 1.25
#: Length of a bond to a hydrogen that caps a cut, angstrom, by atomic number; of others, the sum of covalent radii.
CAPS = {6: 1.09, 7: 1.01, 8: 0.96}
#: Bonds shorter than this multiple of the sum of covalent radii may be multiple ones, which are not cut if it can be
#: helped: C-C 1.54 is 1.01, aromatic 1.39 is 0.91, the single bond of a conjugated chain 1.45 is 0.95.
SHORT = 0.94


@dataclass(frozen=True)
class Patch:
    """A part of a structure.

    Attributes:
        arrays: its atoms and then the hydrogens that cap it, without bonds.
        sources: (m,) indices of its own atoms in the structure.
        depth: (m,) bonds from each of them to the nearest cut, less where a multiple bond is cut; 99 where nothing is.
    """

    arrays: Arrays
    sources: NDArray[np.int64]
    depth: NDArray[np.int64]


def patches(arrays: Arrays, *, largest: int, heavy: int = HEAVY) -> list[Patch]:
    """Overlapping patches that hold every atom and every pair of touching atoms.

    Args:
        arrays: the structure; its bonds are not looked at.
        largest: most atoms of a patch, caps included, if a single heavy atom leaves room for more.
        heavy: most heavy atoms.
    """
    ratio = relative(arrays)
    touching = (ratio < TOUCH) & ~np.eye(len(arrays), dtype=bool)
    is_heavy = arrays.numbers > 1
    found: list[Patch] = []
    deepest = np.full(len(arrays), -9)
    covered = ~touching
    # every heavy atom is the middle of a patch, unless it lies deep in one already; loose hydrogens come alone
    for centre in np.flatnonzero(is_heavy).tolist():
        if deepest[centre] >= 3 and covered[centre].all():
            continue
        patch = grow(arrays, centre, ratio, touching, largest=largest, heavy=heavy)
        found.append(patch)
        deepest[patch.sources] = np.maximum(deepest[patch.sources], patch.depth)
        covered[np.ix_(patch.sources, patch.sources)] = True
    return found


def relative(arrays: Arrays) -> NDArray[np.float64]:
    """(n, n) distances as multiples of the sum of covalent radii."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(number)) for number in arrays.numbers])
    apart = np.linalg.norm(arrays.positions[:, None] - arrays.positions[None], axis=-1)
    return np.asarray(apart / (radii[:, None] + radii[None]), dtype=np.float64)


def grow(
    arrays: Arrays,
    centre: int,
    ratio: NDArray[np.float64],
    touching: NDArray[np.bool_],
    *,
    largest: int,
    heavy: int,
) -> Patch:
    """The patch around a heavy atom: its neighbours, then what is fewest single bonds away."""
    is_heavy = arrays.numbers > 1
    inside, steps = [centre], {centre: 0}

    def atoms(members: Sequence[int]) -> int:
        """Atoms of a patch with its hydrogens and caps."""
        chosen = np.zeros(len(arrays), dtype=bool)
        chosen[list(members)] = True
        return int(chosen.sum() + (touching[chosen] & ~chosen).sum())

    while len(inside) < heavy:
        near = [
            # all neighbours of the centre, so that no bond is missed
            (-1 if i == centre else steps[i] + int(ratio[i, j] >= SHORT), float(ratio[i, j]), j, i)
            for i in inside
            for j in np.flatnonzero(touching[i] & is_heavy).tolist()
            if j not in steps
        ]
        near = [option for option in near if atoms([*inside, option[2]]) <= largest]
        if not near:
            break
        _, _, new, host = min(near)
        inside.append(new)
        steps[new] = steps[host] + int(ratio[host, new] >= SHORT)
    chosen = np.zeros(len(arrays), dtype=bool)
    chosen[inside] = True
    own = chosen | ((touching & chosen[:, None]).any(0) & ~is_heavy)
    cut = [(i, j) for i in inside for j in np.flatnonzero(touching[i] & ~own).tolist()]
    sources = np.flatnonzero(own)
    depth = depths(touching, own, [i for i, _ in cut])
    # a hydrogen in place of a multiple bond misleads further
    depth = np.minimum(depth, depths(touching, own, [i for i, j in cut if ratio[i, j] < SHORT]) - 2)
    return Patch(capped(arrays, sources, cut), sources, depth[sources])


def capped(arrays: Arrays, sources: NDArray[np.int64], cut: Sequence[tuple[int, int]]) -> Arrays:
    """The atoms of a patch and hydrogens on its cut bonds, from an inner atom towards an outer one."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    places, numbers = [arrays.positions[sources]], [arrays.numbers[sources]]
    for i, j in cut:
        bond = arrays.positions[j] - arrays.positions[i]
        number = int(arrays.numbers[i])
        length = CAPS.get(number, table.GetRcovalent(number) + table.GetRcovalent(1))
        places.append((arrays.positions[i] + bond * (length / np.linalg.norm(bond)))[None])
        numbers.append(np.array([1]))
    n = len(sources) + len(cut)
    return type(arrays)(np.concatenate(numbers), np.concatenate(places), np.zeros(n), np.zeros((n, n)))


def depths(touching: NDArray[np.bool_], own: NDArray[np.bool_], edge: Sequence[int]) -> NDArray[np.int64]:
    """(n,) bonds from each own atom to the nearest at the edge; 99 where none is reached."""
    depth = np.full(len(own), 99)
    depth[list(edge)] = 0
    front = np.zeros(len(own), dtype=bool)
    front[list(edge)] = True
    step = 0
    while front.any():
        step += 1
        front = touching[front].any(0) & own & (depth == 99)
        depth[front] = step
    return depth


def joined(arrays: Arrays, parts: Sequence[Patch], answers: Sequence[Arrays]) -> Arrays:
    """The whole structure with each bond and charge from the patch in which it lies deepest.

    Args:
        arrays: the structure. parts: its patches. answers: the same patches with bonds and charges.
    """
    charges, bonds = np.zeros(len(arrays), dtype=np.int64), np.zeros((len(arrays), len(arrays)), dtype=np.int64)
    atom, pair = np.full(len(arrays), -9), np.full(bonds.shape, -9)
    for part, answer in zip(parts, answers, strict=True):
        m = len(part.sources)
        grid = np.ix_(part.sources, part.sources)
        better = part.depth > atom[part.sources]
        charges[part.sources] = np.where(better, answer.charges[:m], charges[part.sources])
        atom[part.sources] = np.maximum(part.depth, atom[part.sources])
        depth = np.minimum(part.depth[:, None], part.depth[None])
        bonds[grid] = np.where(depth > pair[grid], answer.bonds[:m, :m], bonds[grid])
        pair[grid] = np.maximum(depth, pair[grid])
    return type(arrays)(arrays.numbers, arrays.positions, charges, bonds)
