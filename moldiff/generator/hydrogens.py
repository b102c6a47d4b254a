"""How many hydrogens a completion needs, learned from cutting molecules of the training set as training does.

The atom count is fixed before sampling, so hydrogens are counted first: given the new heavy atoms n and the open
valences f of the kept part (bond orders to what is cut off, plus hydrogens made anew), the number h is drawn from the
cuts with the same n and f. Where these are rare, h - f of all cuts with that n is used, which sums (valence - 2) over
the new heavy atoms less 2 a ring or multiple bond, and so adds up over larger n.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

#: Molecules of the training set that are cut, and cuts of each.
MOLECULES, CUTS = 3000, 4
#: Cuts needed to trust a pair (n, f).
ENOUGH = 20
#: Without a training set at hand: valences of the new heavy atoms with shares like those of organic molecules, and the
#: share of them that adds a ring or a multiple bond.
VALENCES: Mapping[int, float] = {4: 0.72, 3: 0.12, 2: 0.16}
UNSATURATED = 0.35


@dataclass(frozen=True)
class Hydrogens:
    """Counts of new hydrogens in cuts of training molecules.

    Attributes:
        table: (new heavy atoms, open valences) -> hydrogens of each cut.
        excess: new heavy atoms -> hydrogens less open valences of each cut.
        largest: heavy atoms of the largest molecule cut; 0 if none was.
    """

    table: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)
    excess: Mapping[int, np.ndarray] = field(default_factory=dict)
    largest: int = 0

    @staticmethod
    def of(smiles: Iterable[str], *, seed: int = 0) -> Hydrogens:
        """Cut molecules. SMILES that RDKit refuses are left out."""
        from rdkit import Chem, rdBase

        rng = np.random.default_rng(seed)
        table: dict[tuple[int, int], list[int]] = defaultdict(list)
        excess: dict[int, list[int]] = defaultdict(list)
        largest = 0
        with rdBase.BlockLogs():
            mols = [Chem.MolFromSmiles(text) for text in smiles]
        for mol in mols:
            if mol is None or mol.GetNumAtoms() < 2:
                continue
            largest = max(largest, mol.GetNumAtoms())
            Chem.Kekulize(mol)
            orders = Chem.GetAdjacencyMatrix(mol, useBO=True)
            hydrogens = np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()])
            distances = Chem.GetDistanceMatrix(mol)
            for _ in range(CUTS):
                part = cut(distances, rng)
                across = orders[part][:, ~part].sum(1)
                free = hydrogens[part][across > 0].sum()
                n, f = int((~part).sum()), int(across.sum() + free)
                h = int(hydrogens[~part].sum() + free)
                table[n, f].append(h)
                excess[n].append(h - f)
        return Hydrogens(
            {key: np.array(values) for key, values in table.items()},
            {key: np.array(values) for key, values in excess.items()},
            largest,
        )

    def draw(self, heavy: Sequence[int], open_: int, *, most: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw new heavy atoms and their hydrogens together.

        Args:
            heavy: choices for the number of new heavy atoms, equally likely.
            open_: open valences of the kept part.
            most: largest sum of both.
            rng: random numbers.

        Raises:
            ValueError: if nothing that fits was found in a thousand draws.
        """
        for _ in range(1000):
            n = int(rng.choice(np.asarray(heavy)))
            h = self._hydrogens(n, open_, rng)
            if h >= 0 and n + h <= most:
                return n, h
        raise ValueError(
            f"{min(heavy)} or more new heavy atoms with their hydrogens do not fit into the {most} atoms that are left "
            "of the largest molecule trained on: lower n_new or keep less"
        )

    def _hydrogens(self, n: int, open_: int, rng: np.random.Generator) -> int:
        known = self.table.get((n, open_))
        if known is not None and len(known) >= ENOUGH:
            return int(rng.choice(known))
        total, rest = open_, n
        while self.excess and rest:
            step = max((size for size in self.excess if size <= rest), default=0)
            if not step:
                break
            total, rest = total + int(rng.choice(self.excess[step])), rest - step
        if rest:
            valences = rng.choice(list(VALENCES), size=rest, p=list(VALENCES.values()))
            total += int((valences - 2).sum()) - 2 * int(rng.binomial(rest, UNSATURATED))
        return total


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
    if path is None or not (path.parent / "reference.npz").is_file():
        return Hydrogens()
    reference = path.parent / "reference.npz"
    return _learned(reference, reference.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _learned(path: Path, _: Any) -> Hydrogens:
    from moldiff.data.reference import Reference

    smiles = sorted(Reference.load(path).train)
    chosen = np.random.default_rng(0).permutation(len(smiles))[:MOLECULES]
    return Hydrogens.of([smiles[i] for i in chosen])
