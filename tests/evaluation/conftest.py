"""Molecules worked out by hand, and a small archive with geometry to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.data.archive import Archive
from moldiff.data.files import record_of
from moldiff.evaluation import chemnet
from moldiff.molecules.convert import Arrays

TRAIN = ("C", "CC", "CCO", "CCC", "C1CC1", "CC(=O)C", "CN", "C#N", "CC=O", "c1ccncc1", "CCN", "OCC1CO1")
TEST = ("CO", "CCCO", "C=C", "CC#N", "COC", "c1ccccc1")


def embed(smiles: str, *, seed: int = 1) -> Any:
    """A molecule with hydrogens and MMFF94 geometry."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed)
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    return mol


def draw(symbols: str, bonds: Sequence[tuple[int, int, int]], charges: dict[int, int] | None = None) -> Arrays:
    """Atoms, bonds (i, j, order; 4 aromatic) and charges, at positions of no meaning."""
    table = Chem.GetPeriodicTable()
    n = len(symbols.split())
    matrix = np.zeros((n, n), np.int64)
    for i, j, order in bonds:
        matrix[i, j] = matrix[j, i] = order
    q = np.zeros(n, np.int64)
    for atom, charge in (charges or {}).items():
        q[atom] = charge
    numbers = np.array([table.GetAtomicNumber(symbol) for symbol in symbols.split()])
    return Arrays(numbers, np.random.default_rng(0).normal(size=(n, 3)) * 2, q, matrix)


@pytest.fixture(scope="session")
def archive() -> Archive:
    """12 training and 6 test molecules."""
    found = [record_of(embed(smiles)) for smiles in (*TRAIN, *TEST)]
    split = [0] * len(TRAIN) + [2] * len(TEST)
    return Archive.build([record for record, _ in found], smiles=[smiles for _, smiles in found], split=split)


@pytest.fixture(autouse=True)
def without_chemnet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """ChemNet costs seconds an evaluation where fcd_torch is installed: only its own tests run it."""
    if not request.node.path.stem.endswith("chemnet"):
        monkeypatch.setattr(chemnet, "installed", lambda: False)


@pytest.fixture
def embedded() -> Callable[..., Any]:
    """`embed`: SMILES -> molecule with geometry."""
    return embed


@pytest.fixture
def drawing() -> Callable[..., Arrays]:
    """`draw`: symbols, bonds, charges -> arrays."""
    return draw
