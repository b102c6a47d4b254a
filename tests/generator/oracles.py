"""A network that answers one molecule, for completions, conformers and perception."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplerConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.molecules.convert import Arrays
from moldiff.state import BOND_SYMBOLS, State

ELEMENTS = ("H", "C", "N", "O")
NUMBERS = [1, 6, 7, 8]


def config(arrays: Arrays, *, largest: int | None = None) -> ModelConfig:
    return ModelConfig(
        data="toy",
        network=NetworkConfig(
            scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=4, products=2, blocks=1, condition=8
        ),
        diffusion=DiffusionConfig(),
        sampler=SamplerConfig(steps=12, remask=0.0),
        alphabets={"elements": ELEMENTS, "charges": ("-1", "0", "1"), "bonds": BOND_SYMBOLS},
        sizes={str(len(arrays)): 1, str(largest or len(arrays)): 1},
    )


class Answer:
    """A network that answers one molecule, in the frame of its first `given` atoms.

    `mirror` inverts every second structure; `places` are tried in turn where there are several.
    """

    def __init__(self, arrays: Arrays, *, given: int = 0, places: Any = None, mirror: bool = False) -> None:
        self.arrays, self.mirror = arrays, mirror
        targets = np.array([arrays.positions] if places is None else places)
        origin = targets[:, : given or None].mean(1, keepdims=True)
        self.targets = torch.tensor(targets - origin, dtype=torch.float32)

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        b = len(state)
        rows = torch.arange(b)
        target = self.targets[rows % len(self.targets)]
        if self.mirror:
            target = target * torch.where((rows % 2 == 1)[:, None, None], torch.tensor([-1.0, 1.0, 1.0]), 1.0)
        u = (target - preconditioning.skip * state.field("positions")) / preconditioning.out.clamp_min(1e-9)

        def sure(values: np.ndarray, size: int) -> torch.Tensor:
            hot = torch.nn.functional.one_hot(torch.from_numpy(values), size).float() * 50
            return hot.expand(b, *hot.shape)

        return Prediction(
            positions=u,
            elements=sure(np.array([NUMBERS.index(z) for z in self.arrays.numbers]), 4),
            charges=sure(self.arrays.charges + 1, 3),
            bonds=sure(self.arrays.bonds, 5),
        )


def made(smiles: str, seed: int = 1) -> Any:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed)
    return mol
