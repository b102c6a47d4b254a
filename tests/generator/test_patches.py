"""Patches hold every bond, respect their limits, and give the whole back when each knows the truth about itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.config import PropertyConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.generator import Generator
from moldiff.generator.patches import joined, patches
from moldiff.molecules.convert import Arrays, canonical_smiles, from_mol
from moldiff.state import State

from .oracles import ELEMENTS, config, made

LARGE = ("CCCCCC(=O)OCC#CC1CC1C(N)=O", "c1ccc2cc(CCOC)ccc2c1", "C[N+](C)(C)CCCCCC(=O)[O-]")


def bare(arrays: Arrays) -> Arrays:
    n = len(arrays)
    return Arrays(arrays.numbers, arrays.positions, np.zeros(n), np.zeros((n, n)))


def told(truth: Arrays, patch: Any) -> Arrays:
    """The patch with the bonds and charges of the whole."""
    n, m = len(patch.arrays), len(patch.sources)
    charges, bonds = np.zeros(n, int), np.zeros((n, n), int)
    charges[:m] = truth.charges[patch.sources]
    bonds[:m, :m] = truth.bonds[np.ix_(patch.sources, patch.sources)]
    return Arrays(patch.arrays.numbers, patch.arrays.positions, charges, bonds)


@pytest.mark.parametrize("smiles", LARGE)
@pytest.mark.parametrize("heavy", [5, 9])
def test_the_whole_comes_back(smiles: str, heavy: int) -> None:
    truth = from_mol(made(smiles))
    parts = patches(bare(truth), largest=29, heavy=heavy)
    assert len(parts) > 1
    assert max(int((truth.numbers[p.sources] > 1).sum()) for p in parts) <= heavy
    assert max(len(p.arrays) for p in parts) <= 29
    whole = joined(bare(truth), parts, [told(truth, part) for part in parts])
    assert np.array_equal(whole.bonds, truth.bonds) and np.array_equal(whole.charges, truth.charges)


def test_cuts_are_capped_with_hydrogens_in_their_direction() -> None:
    truth = from_mol(made("CCCCCCCCCC"))
    for part in patches(bare(truth), largest=29, heavy=4):
        n, m = len(part.arrays), len(part.sources)
        # an inner piece of a chain is cut twice, and makes butane
        assert m < n <= m + 2 and set(part.arrays.numbers[m:].tolist()) == {1}
        if n == m + 2:
            assert (part.arrays.numbers == 6).sum() == 4 and n == 14
        apart = np.linalg.norm(part.arrays.positions[m:, None] - part.arrays.positions[None, :m], axis=-1)
        assert np.allclose(apart.min(1), 1.09)
        assert part.depth.min() == 0 and part.depth.max() < 99


def test_multiple_bonds_are_kept_together() -> None:
    truth = from_mol(made("CCCCCc1ccccc1"))
    ring = set(range(5, 11))
    parts = patches(bare(truth), largest=29, heavy=7)
    for atom in ring:
        deepest = max((p for p in parts if atom in p.sources), key=lambda p: p.depth[p.sources.tolist().index(atom)])
        assert ring <= set(deepest.sources.tolist())


class Neighbours:
    """Calls atoms nearer than 1.65 angstrom (1.3 with a hydrogen) bonded, but none in structures of over 25 atoms."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        x = state.field("positions")
        self.sizes += state.n_atoms.tolist()
        hydrogen = state.field("elements") == 0
        limit = torch.where(hydrogen[:, :, None] | hydrogen[:, None], 1.3, 1.65)
        bonded = (torch.cdist(x, x) < limit) & state.pair_mask & (state.n_atoms <= 25)[:, None, None]
        bonds = torch.nn.functional.one_hot(bonded.long(), 5).float() * 50
        charges = torch.tensor([0.0, 50.0, 0.0]).expand(*state.mask.shape, 3)
        elements = torch.zeros(*state.mask.shape, len(ELEMENTS))
        return Prediction(positions=torch.zeros_like(x), elements=elements, charges=charges, bonds=bonds)


def test_large_structures_are_perceived_in_patches() -> None:
    mol, small = made("CCCC1CC1CCOCCN(C)CCCO"), made("CCO")
    heavy = PropertyConfig("heavy_atoms", "", 8.0, 1.0, 1, 7)
    settings = dataclasses.replace(config(from_mol(small), largest=25), properties=(heavy,))
    network = Neighbours()
    gen = Generator(network, settings, device="cpu", precision="fp32")
    found, whole = gen.perceive([mol, small], samples=3)
    assert isinstance(found, Chem.Mol) and canonical_smiles(found) == canonical_smiles(mol)
    assert found.GetIntProp("patches") > 1 and found.GetDoubleProp("confidence") == 1.0
    assert canonical_smiles(whole) == "CCO" and not whole.HasProp("patches")
    assert max(network.sizes) <= 25
