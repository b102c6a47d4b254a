"""Which part of a molecule is kept for a completion: from indices, a SMARTS, or a pattern with attachment points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.generator.hydrogens import pieces

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays

Keep = "str | Sequence[int] | Any | None"
"""Atom indices, a SMARTS, or an `rdkit.Chem.Mol`."""


@dataclass(frozen=True)
class Part:
    """What is given to a completion.

    Attributes:
        arrays: the kept atoms in the order of the molecule, places in angstrom.
        sources: their indices in the molecule.
        orders, cuts, aromatic: bonds to atoms that are cut off: their orders added up, their number, and how many of
            them are aromatic.
        free: hydrogens that are made anew.
        pieces: connected pieces that the kept atoms form.
    """

    arrays: Arrays
    sources: tuple[int, ...]
    orders: int
    cuts: int
    aromatic: int
    free: int
    pieces: int

    @property
    def open(self) -> int:
        """Open valences."""
        return self.orders + self.free


def parts(mol: Any, keep: Any = None, *, attach: Iterable[int] | None = None) -> list[Part]:
    """The part to keep, as training would give it: one, or one for each place where it may grow.

    Hydrogens follow their heavy atom, but on attachment atoms they are left out and made anew, unless they are kept
    themselves (listed, or matched by the pattern). Attachment atoms are those with a heavy neighbour that is cut off
    or with an attachment point. Where there is none, any kept atom with a hydrogen may be the one.

    Args:
        mol: `rdkit.Chem.Mol` with a conformer; hydrogens it lacks are added, dummy atoms are attachment points.
        keep: atom indices; a SMARTS, all of whose matched atoms are kept; a Mol whose dummy atoms ``[*]`` are
            attachment points and whose other atoms are kept; or None for all but dummy atoms.
        attach: indices of the attachment atoms, instead of the rule above.

    Raises:
        ValueError: no conformer, nothing matched, indices out of range, or no place to attach anything.
    """
    from rdkit import Chem

    from moldiff.molecules.kekule import AROMATIC

    if not mol.GetNumConformers():
        raise ValueError(
            f"{Chem.MolToSmiles(mol)} has no conformer, and a completion starts from coordinates: embed it first "
            "(rdkit.Chem.AllChem.EmbedMolecule)"
        )
    whole, dummies = without_dummies(mol)
    chosen, points = matched(whole, keep, dummies)
    heavy = {i for i in chosen if whole.GetAtomWithIdx(i).GetAtomicNum() > 1}
    heavy = heavy or chosen
    hydrogens = {
        i: {a.GetIdx() for a in whole.GetAtomWithIdx(i).GetNeighbors() if a.GetAtomicNum() == 1} - heavy - dummies
        for i in heavy
    }
    arrays, orders = read(whole)
    lost = [i for i in range(len(arrays)) if i not in heavy and (arrays.numbers[i] > 1 or i in dummies)]
    if attach is None:
        cut_off = {i for i in heavy if orders[i, lost].any()}
        attached = [(points | cut_off) & heavy]
        if not attached[0]:
            attached = [{i} for i in sorted(heavy) if hydrogens[i] - chosen]
    else:
        attached = [set(attach)]
        if not attached[0] or not attached[0] <= heavy:
            raise ValueError(f"attach {sorted(attached[0])}: choose among the kept heavy atoms {sorted(heavy)}")
    found = []
    for hosts in attached:
        free = set().union(*(hydrogens[i] for i in hosts)) - chosen
        stay = set().union(*(hydrogens[i] for i in heavy - hosts))
        kept = sorted(heavy | (chosen - dummies) | stay)
        across = orders[np.ix_(sorted(heavy), lost)]
        torn = arrays.bonds[np.ix_(sorted(heavy), lost)] == AROMATIC
        pick = np.array(kept)
        sub = type(arrays)(
            arrays.numbers[pick], arrays.positions[pick], arrays.charges[pick], arrays.bonds[np.ix_(pick, pick)]
        )
        part = Part(
            sub,
            tuple(kept),
            orders=int(across.sum()),
            cuts=int((across > 0).sum()),
            aromatic=int(torn.sum()),
            free=len(free),
            pieces=pieces(sub.bonds),
        )
        if part.open:
            found.append(part)
    if not found:
        raise ValueError("every valence of the kept atoms is full: leave hydrogens out of keep, or keep fewer atoms")
    return found


def without_dummies(mol: Any) -> tuple[Any, set[int]]:
    """The molecule with all hydrogens and hydrogen or carbon in place of dummy atoms, and the places of these.

    Raises:
        ValueError: for a molecule that RDKit refuses.
    """
    from rdkit import Chem, rdBase

    from moldiff.molecules.convert import sanitise_mol

    whole = Chem.RWMol(mol)
    dummies = {atom.GetIdx() for atom in whole.GetAtoms() if atom.GetAtomicNum() == 0}
    for i in dummies:
        atom = whole.GetAtomWithIdx(i)
        single = atom.GetDegree() == 1 and atom.GetBonds()[0].GetBondType() == Chem.BondType.SINGLE
        plain = Chem.Atom(1 if single else 6)
        plain.SetNoImplicit(True)
        whole.ReplaceAtom(i, plain)
    with rdBase.BlockLogs():
        sanitise_mol(whole)
        return Chem.AddHs(whole, addCoords=True), dummies


def read(whole: Any) -> tuple[Arrays, np.ndarray]:
    """The molecule as arrays, aromatic bonds perceived, and its kekulised bond orders (n, n)."""
    from moldiff.molecules.convert import from_mol, kekule_orders

    return from_mol(whole, as_drawn=True), kekule_orders(whole, as_drawn=True)


def matched(whole: Any, keep: Any, dummies: set[int]) -> tuple[set[int], set[int]]:
    """Indices of the kept atoms, and of those next to an attachment point."""
    from rdkit import Chem

    n = whole.GetNumAtoms()
    points = {a.GetIdx() for i in dummies for a in whole.GetAtomWithIdx(i).GetNeighbors()} - dummies
    if keep is None:
        return {a.GetIdx() for a in whole.GetAtoms() if a.GetAtomicNum() > 1} - dummies, points
    if isinstance(keep, str):
        pattern = Chem.MolFromSmarts(keep)
        if pattern is None:
            raise ValueError(f"keep {keep!r} is no SMARTS")
        return first_match(whole, pattern, keep) - dummies, points
    if isinstance(keep, Chem.Mol):
        query = Chem.AdjustQueryParameters.NoAdjustments()
        query.makeDummiesQueries = True
        pattern = Chem.AdjustQueryProperties(keep, query)
        own = [a.GetIdx() for a in pattern.GetAtoms() if a.GetAtomicNum() == 0]
        match = whole.GetSubstructMatch(pattern)
        if not match:
            raise ValueError(f"keep {Chem.MolToSmiles(keep)} matches nothing in {Chem.MolToSmiles(whole)}")
        nearby = {match[a.GetIdx()] for i in own for a in pattern.GetAtomWithIdx(i).GetNeighbors()}
        return set(match) - {match[i] for i in own} - dummies, points | nearby
    indices = {int(i) for i in keep}
    wrong = sorted(i for i in indices if not 0 <= i < n)
    if wrong or not indices - dummies:
        raise ValueError(f"keep {sorted(indices)}: give indices of atoms from 0 to {n - 1} (hydrogens included)")
    return indices - dummies, points


def first_match(whole: Any, pattern: Any, text: str) -> set[int]:
    """The atoms of the first match; further ones are told."""
    import warnings

    from rdkit import Chem

    matches: Sequence[tuple[int, ...]] = whole.GetSubstructMatches(pattern)
    if not matches:
        raise ValueError(f"keep {text!r} matches nothing in {Chem.MolToSmiles(Chem.RemoveHs(whole))}")
    if len(matches) > 1:
        warnings.warn(
            f"keep {text!r} matches {len(matches)} times: the first is kept; give indices for another", stacklevel=5
        )
    return set(matches[0])
