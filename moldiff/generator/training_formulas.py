"""Formulas of training molecules that satisfy constraints on elements, to be given to a sample.

A constraint on elements that only masks what is drawn on the way leaves the network a geometry that was meant for other
elements. So a formula of a training molecule of the same atom count that satisfies the constraint is drawn first, as
often as it occurs, and its atoms are given, as for an exact formula.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: At most so many fitting molecules are read.
MOLECULES = 3000
#: Heavy atoms in a SMILES; what it gets wrong is left to RDKit.
TOKENS = re.compile(r"Cl|Br|Si|Se|As|[BCNOPSFIbcnops]")


def fitting(
    reference: Path | None, symbols: Sequence[str], *, allowed: Sequence[str], require: Mapping[str, int]
) -> NDArray[np.int64]:
    """Counts (M, K) of K elements in at most `MOLECULES` training molecules that satisfy constraints.

    Args:
        reference: the ``reference.npz`` beside some weights; None where there is none.
        symbols: the K elements.
        allowed: elements that may be there.
        require: element -> least count.

    Returns:
        one row a molecule, hydrogens included; no rows where nothing fits, or where there is no file or no RDKit.
    """
    none = np.zeros((0, len(symbols)), dtype=np.int64)
    if reference is None or not reference.is_file():
        return none
    wanted = tuple(sorted(require.items()))
    try:
        return _read(reference, reference.stat().st_mtime_ns, tuple(symbols), tuple(allowed), wanted)
    except ImportError:
        return none


@lru_cache(maxsize=8)
def _read(
    path: Path, _: int, symbols: tuple[str, ...], allowed: tuple[str, ...], require: tuple[tuple[str, int], ...]
) -> NDArray[np.int64]:
    from rdkit import Chem, rdBase

    from moldiff.data.reference import Reference

    smiles = sorted(Reference.load(path).train)
    least = np.array([dict(require).get(symbol, 0) for symbol in symbols])
    most = np.array([10**6 if symbol in allowed else 0 for symbol in symbols])
    barred, heavy = set(symbols) - set(allowed), {symbol for symbol, _ in require if symbol != "H"}
    rows: list[NDArray[np.int64]] = []
    with rdBase.BlockLogs():
        for i in np.random.default_rng(0).permutation(len(smiles)).tolist():
            there = {token.capitalize() for token in TOKENS.findall(smiles[i])}
            if there & barred or heavy - there:
                continue
            mol = Chem.MolFromSmiles(smiles[i])
            if mol is None:
                continue
            counts = count(mol, symbols)
            if counts is not None and (counts >= least).all() and (counts <= most).all():
                rows.append(counts)
            if len(rows) == MOLECULES:
                break
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(symbols))


def count(mol: object, symbols: Sequence[str]) -> NDArray[np.int64] | None:
    """Atoms of each element, implicit hydrogens included; None for a molecule with another element."""
    counts = dict.fromkeys(symbols, 0)
    for atom in mol.GetAtoms():  # type: ignore[attr-defined]  # an rdkit.Chem.Mol
        hydrogens = atom.GetTotalNumHs()
        if atom.GetSymbol() not in counts or (hydrogens and "H" not in counts):
            return None
        counts[atom.GetSymbol()] += 1
        if hydrogens:
            counts["H"] += hydrogens
    return np.array(list(counts.values()), dtype=np.int64)
