"""Trajectories: every step is kept, the last is the finished structure, and guesses are the network's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.sampler import Step
from moldiff.generator import Generator
from moldiff.generator.trajectory import Recorder
from moldiff.state import Alphabet, State


def test_the_steps_of_methane(methane: Generator) -> None:
    found = methane.trajectory(seed=1)
    assert len(found) == methane.sampler.steps
    assert Chem.MolToSmiles(Chem.RemoveHs(found.structure)) == "C"
    assert found.clocks[-1] == 0
    assert (np.diff(found.clocks) < 0).all()
    last = found.states[-1]
    assert sorted(last.numbers.tolist()) == [1, 1, 1, 1, 6]
    assert last.bonds.sum() == 8
    assert np.allclose(last.positions, found.structure.GetConformer().GetPositions(), atol=1e-4)
    # the noisy structure starts with unknown elements, the guess of this network never does
    assert (found.states[0].numbers == 0).sum() >= 3
    assert all(sorted(guess.numbers.tolist()) == [1, 1, 1, 1, 6] for guess in found.guesses)
    again = methane.trajectory(seed=1)
    assert np.array_equal(again.states[0].positions, found.states[0].positions)
    assert not np.array_equal(methane.trajectory(seed=2).states[0].positions, found.states[0].positions)


def test_what_is_invalid_has_no_structure(half: Generator) -> None:
    # the only structure of a batch is the right one here, unless it has another size
    assert half.trajectory(n_atoms=5, steps=3).structure is not None
    with pytest.raises(ValueError, match="n_atoms must be"):
        half.trajectory(n_atoms=0)


def test_crystals_are_recorded_with_their_cell() -> None:
    recorder = Recorder({"elements": Alphabet(("Na", "Cl"))})
    state = State(
        mask=torch.tensor([[True, True, False]]),
        elements=torch.tensor([[0, 2, 0]]),
        fractional=torch.tensor([[[0.25, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 0.0, 0.0]]]),
        cell=4.0 * torch.eye(3)[None],
    )
    guess = Prediction(elements=torch.tensor([[[5.0, 0.0], [0.0, 5.0], [0.0, 0.0]]]), fractional=state.fractional)
    recorder(Step(0, 1, state, Clocks.shared(state, 0.5), guess))
    found = recorder.trajectory()
    assert found.states[0].numbers.tolist() == [11, 0]
    assert found.guesses[0].numbers.tolist() == [11, 17]
    assert np.allclose(found.states[0].positions[:, 0], [1.0, 2.0])
    assert np.allclose(found.states[0].cell, 4 * np.eye(3))
