"""How many hydrogens a completion needs, learned from cutting molecules of the training set as training does.

The atom count is fixed before sampling, so hydrogens are counted first. Let n heavy atoms be cut off a part, over c
bonds of orders that add up to o. With u rings and multiple bonds among the n atoms, which hang together in m pieces,
the hydrogens on them are sum (valence - 2) + 2 m - 2 u - o. So for a completion with n new heavy atoms their number
is drawn from the cuts with the same n, o and c of a part in as many pieces as the kept one, since a linker is one
piece where two ends are two, and with as many aromatic bonds cut, since what closes an aromatic ring has few
hydrogens. Where these are rare it is drawn from all cuts with that n after adding o, which leaves what does not depend
on the part; pieces add up over larger n. Hydrogens of the part that are made anew come on top.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.shipped import find_reference

#: Molecules of the training set that are cut, and cuts of each.
MOLECULES, CUTS = 6000, 4
#: Cuts needed to trust a pair (n, f).
ENOUGH = 20
#: Without a training set at hand: valences of the new heavy atoms with shares like those of organic molecules, and the
#: share of them that adds a ring or a multiple bond.
VALENCES: Mapping[int, float] = {4: 0.72, 3: 0.12, 2: 0.16}
UNSATURATED = 0.35


@dataclass(frozen=True)
class Hydrogens:
    """Counts of hydrogens on what was cut off molecules of the training set.

    Attributes:
        table: (heavy atoms cut off, orders of the bonds cut, bonds cut, aromatic ones of them, pieces of the part) ->
            hydrogens of each cut.
        excess: heavy atoms cut off -> hydrogens plus orders of the bonds cut, of each cut.
        largest: heavy atoms of the largest molecule cut; 0 if none was.
    """

    table: Mapping[tuple[int, int, int, int, int], np.ndarray] = field(default_factory=dict)
    excess: Mapping[int, np.ndarray] = field(default_factory=dict)
    largest: int = 0

    @staticmethod
    def of(smiles: Iterable[str], *, seed: int = 0) -> Hydrogens:
        """Cut molecules. SMILES that RDKit refuses are left out."""
        from rdkit import Chem, rdBase

        rng = np.random.default_rng(seed)
        table: dict[tuple[int, int, int, int, int], list[int]] = defaultdict(list)
        excess: dict[int, list[int]] = defaultdict(list)
        largest = 0
        with rdBase.BlockLogs():
            mols = [Chem.MolFromSmiles(text) for text in smiles]
        for mol in mols:
            if mol is None or mol.GetNumAtoms() < 2:
                continue
            largest = max(largest, mol.GetNumAtoms())
            aromatic = Chem.GetAdjacencyMatrix(mol, useBO=True) == 1.5
            Chem.Kekulize(mol)
            orders = Chem.GetAdjacencyMatrix(mol, useBO=True)
            hydrogens = np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()])
            distances = Chem.GetDistanceMatrix(mol)
            for _ in range(CUTS):
                part = cut(distances, rng)
                across = orders[part][:, ~part]
                n, order, h = int((~part).sum()), int(across.sum()), int(hydrogens[~part].sum())
                together = pieces(orders[np.ix_(part, part)])
                torn = int(aromatic[part][:, ~part].sum())
                table[n, order, int((across > 0).sum()), torn, together].append(h)
                excess[n].append(h + order)
        return Hydrogens(
            {key: np.array(values) for key, values in table.items()},
            {key: np.array(values) for key, values in excess.items()},
            largest,
        )

    def draw(
        self,
        heavy: Sequence[int],
        *,
        orders: int,
        cuts: int,
        free: int,
        aromatic: int = 0,
        kept: int = 1,
        most: int,
        rng: np.random.Generator,
    ) -> tuple[int, int]:
        """Draw new heavy atoms and their hydrogens together.

        Args:
            heavy: choices for the number of new heavy atoms, equally likely.
            orders, cuts: bonds of the kept part that are cut, their orders added up and their number. Where there is
                none, new atoms take the place of a hydrogen. `aromatic`: how many of them are aromatic.
            free: hydrogens of the kept part that are made anew.
            kept: pieces of the kept part.
            most: largest sum of both.
            rng: random numbers.

        Raises:
            ValueError: if nothing that fits was found in a thousand draws.
        """
        if not cuts:
            orders, cuts, free = 1, 1, free - 1
        for _ in range(1000):
            n = int(rng.choice(np.asarray(heavy)))
            h = free + self._hydrogens(n, (orders, cuts, aromatic, kept), rng)
            if h >= 0 and n + h <= most:
                return n, h
        raise ValueError(
            f"{min(heavy)} or more new heavy atoms with their hydrogens do not fit into the {most} atoms that are left "
            "of the largest molecule trained on: lower n_new or keep less"
        )

    def _hydrogens(self, n: int, part: tuple[int, int, int, int], rng: np.random.Generator) -> int:
        """Hydrogens on n new heavy atoms beside a part: orders and numbers of its bonds cut, its pieces."""
        orders = part[0]
        known = self.table.get((n, *part))
        if known is not None and len(known) >= ENOUGH:
            return int(rng.choice(known))
        total, rest, added = -orders, n, 0
        while self.excess and rest:
            step = max((size for size in self.excess if size <= rest), default=0)
            if not step:
                break
            total, rest, added = total + int(rng.choice(self.excess[step])), rest - step, added + 1
        if rest:
            valences = rng.choice(list(VALENCES), size=rest, p=list(VALENCES.values()))
            total += int((valences - 2).sum()) + 2 - 2 * int(rng.binomial(rest, UNSATURATED))
            added += 1
        return total - 2 * (added - 1)


def pieces(bonds: np.ndarray) -> int:
    """How many connected pieces atoms with these bonds (n, n) form."""
    linked = (bonds > 0).astype(float)
    return len(bonds) - int(np.linalg.matrix_rank(np.diag(linked.sum(1)) - linked))


def cut(distances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) bool, a part of a molecule with the bond distances (n, n) between its heavy atoms.

    The rule of `moldiff.diffusion.tasks.draw_part`: the atoms nearest to a random one, or the others.
    """
    n = len(distances)
    order = np.argsort(distances[rng.integers(n)] + rng.random(n))
    part = np.zeros(n, dtype=bool)
    part[order[: rng.integers(1, n)]] = True
    return part if rng.random() < 0.5 else ~part


def hydrogens_of(path: Path | None) -> Hydrogens:
    """The counts learned from the ``reference.npz`` beside some weights; those without data where there is none."""
    reference = find_reference(path)
    return Hydrogens() if reference is None else _learned(reference, reference.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _learned(path: Path, _: Any) -> Hydrogens:
    from moldiff.data.reference import Reference

    smiles = sorted(Reference.load(path).train)
    chosen = np.random.default_rng(0).permutation(len(smiles))[:MOLECULES]
    return Hydrogens.of([smiles[i] for i in chosen])
