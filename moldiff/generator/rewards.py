"""Rewards of molecules as functions of States, which is all that steering knows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor

from moldiff.config import ModelConfig
from moldiff.generator.export import to_arrays
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.molecules.validity import Verdict

#: Rewards by name: a descriptor and its sign. An easy synthesis has a low score, so its reward is minus the score.
NAMED: dict[str, float] = {"qed": 1.0, "logp": 1.0, "sa": -1.0, "tpsa": 1.0, "rings": 1.0}
#: Rewards by name that GFN2-xTB calculates (extra ``xtb``): a larger gap between HOMO and LUMO; less strain.
CALCULATED = ("xtb-gap", "strain")
#: Strain that counts as one unit of the reward, kcal/mol; and how long a relaxation may take, steps and seconds.
STRAIN_UNIT, STRAIN_STEPS, STRAIN_SECONDS = 5.0, 60, 20.0

MolReward = Callable[[list[Any]], Sequence[float]]
"""``list[rdkit.Chem.Mol] -> array``: one number a molecule, more is better; NaN for no judgement."""


@final
class Rewards:
    """A reward on molecules, called with States.

    A structure that is no valid, connected molecule has no reward (NaN). A reward that raises is called again molecule
    by molecule, so that the failure costs only the molecule at fault; it is counted and warned of once.

    Args:
        reward: a function of a list of molecules, or a name of `NAMED` or `CALCULATED`. The unit of a name is the
            deviation in training of the descriptor or gap (1 where the model was trained without it), and of strain
            5 kcal/mol of relaxation energy.
        config: of the model. alphabets: its symbols.
        decode: what the reward is told of a State, one object a structure, None for one without a reward; the
            molecules by default.

    Raises:
        ValueError: for an unknown name.
        ImportError: for a calculated reward without tblite.
    """

    def __init__(
        self,
        reward: str | MolReward,
        *,
        config: ModelConfig,
        alphabets: Mapping[str, Alphabet],
        decode: Callable[[State], list[Any]] | None = None,
    ) -> None:
        # one by one, a failure costs no second calculation of the others
        self.one_by_one = isinstance(reward, str)
        if isinstance(reward, str):
            self.name, self.function = reward, named(reward, config)
        elif callable(reward):
            self.name, self.function = getattr(reward, "__name__", type(reward).__name__), reward
        else:
            raise ValueError(f"a reward is a function of a list of molecules or a name, not {reward!r}")
        self.decode = decode or (lambda state: molecules(state, alphabets))
        self.calls = self.failures = 0

    def __call__(self, state: State) -> Tensor:
        """(B,) float64 rewards on the CPU; NaN where there is none."""
        rewards = torch.full((len(state),), torch.nan, dtype=torch.float64)
        structures = self.decode(state)
        rows = [i for i, structure in enumerate(structures) if structure is not None]
        if rows:
            rewards[rows] = torch.from_numpy(self._judge([structures[i] for i in rows]))
        return rewards

    def _judge(self, mols: list[Any]) -> np.ndarray:
        self.calls += len(mols)
        if self.one_by_one:
            return np.concatenate([self._judge_one(mol) for mol in mols])
        try:
            return self._numbers(self.function(mols), len(mols))
        except Exception as error:
            if len(mols) > 1:
                return np.concatenate([self._judge_one(mol) for mol in mols])
            return self._failed(error)

    def _judge_one(self, mol: Any) -> np.ndarray:
        try:
            return self._numbers(self.function([mol]), 1)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> np.ndarray:
        self.failures += 1
        if self.failures == 1:
            warnings.warn(
                f"the reward {self.name} raised {type(error).__name__}: {error}; that molecule goes without",
                stacklevel=2,
            )
        return np.array([np.nan])

    def _numbers(self, values: Any, count: int) -> np.ndarray:
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
        if len(numbers) != count:
            raise ValueError(f"it gave {len(numbers)} numbers for {count} molecules")
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def __str__(self) -> str:
        text = f"reward {self.name}"
        return f"{text}, which raised for {self.failures} of {self.calls} molecules" if self.failures else text


def molecules(state: State, alphabets: Mapping[str, Alphabet]) -> list[Any]:
    """The molecules of a State, None for one that is not valid and connected."""
    from moldiff.molecules.convert import stereo_from_3d

    verdicts = judged(state, alphabets)
    return [stereo_from_3d(v.mol) if v.valid_connected and v.mol is not None else None for v in verdicts]


def valid_connected(state: State, alphabets: Mapping[str, Alphabet]) -> Tensor:
    """(B,) bool: which molecules of a State are valid and connected."""
    return torch.tensor([verdict.valid_connected for verdict in judged(state, alphabets)], dtype=torch.bool)


def judged(state: State, alphabets: Mapping[str, Alphabet]) -> list[Verdict]:
    """The verdict on each molecule of a State."""
    from moldiff.molecules.validity import check

    return [check(arrays) for arrays in to_arrays(state, alphabets)]


def named(name: str, config: ModelConfig) -> MolReward:
    """A reward by its name; see `Rewards`."""
    if name not in NAMED and name not in CALCULATED:
        known = ", ".join((*NAMED, *CALCULATED))
        raise ValueError(f"unknown reward {name!r}: choose from {known}, or give a function")
    unit = next((p.deviation for p in config.properties if p.name == name.removeprefix("xtb-")), 1.0)
    if name in NAMED:
        return described(name, NAMED[name] / unit)
    from moldiff.molecules.singlepoint import require

    require()
    return calculated_gap(1 / unit) if name == "xtb-gap" else calculated_strain(-1 / STRAIN_UNIT)


def described(name: str, factor: float) -> MolReward:
    """A descriptor of `moldiff.molecules.descriptors` times a factor, as a reward."""

    def reward(mols: list[Any]) -> list[float]:
        from moldiff.molecules.descriptors import DESCRIPTORS

        return [factor * DESCRIPTORS[name](mol) for mol in mols]

    return reward


def calculated_gap(factor: float) -> MolReward:
    """The gap (eV) at the molecule's own geometry times a factor, as a reward."""

    def reward(mols: list[Any]) -> list[float]:
        from moldiff.molecules.convert import from_mol
        from moldiff.molecules.singlepoint import single_point

        found = [single_point(from_mol(mol)) for mol in mols]
        failed = next((point for point in found if not point.ok), None)
        if failed is not None:
            raise ValueError(f"{failed.reason}: {failed.message}")
        return [factor * point.gap for point in found]

    return reward


def calculated_strain(factor: float) -> MolReward:
    """The energy (kcal/mol) that a molecule loses by relaxation times a factor, as a reward.

    A relaxation that does not come to its end in the steps allowed counts by what it has found so far.
    """

    def reward(mols: list[Any]) -> list[float]:
        from moldiff.molecules.convert import from_mol
        from moldiff.molecules.relaxation import relax

        found = [relax(from_mol(mol), fmax=0.1, steps=STRAIN_STEPS, seconds=STRAIN_SECONDS) for mol in mols]
        failed = next((result for result in found if not np.isfinite(result.drop)), None)
        if failed is not None:
            raise ValueError(f"{failed.reason}: {failed.message}")
        return [factor * result.drop for result in found]

    return reward
