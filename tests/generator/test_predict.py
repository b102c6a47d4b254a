"""The property head on finished molecules: everything given, nothing shown, units put back, order kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moldiff.config import PropertyConfig
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.generator import Generator
from moldiff.molecules.convert import from_mol
from moldiff.state import State

from .oracles import Answer, config, made

METHANE = from_mol(made("C"))
COUNT = PropertyConfig("atoms", "", 5.0, 2.0, 1, 29)
SPREAD = PropertyConfig("spread", "angstrom^2", 1.0, 0.5, 0, 9)


class Head:
    """Knows the number of atoms and the spread of their places, if all is clean and given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        assert condition is None and previous is None
        assert all(bool((clocks.is_given(n, state) == state.entries(n)).all()) for n in state.present)
        self.batches.append(len(state))
        x = state.field("positions")
        properties = torch.stack([(state.n_atoms - 5.0) / 2.0, (x.square().sum((1, 2)) / state.n_atoms - 1.0) / 0.5], 1)
        return Prediction(positions=torch.zeros_like(x), properties=properties)


def test_predictions_come_in_order_and_in_their_units() -> None:
    mols = [made(text) for text in ("CCO", "C", "CC", "C#N")]
    network = Head()
    settings = dataclasses.replace(config(METHANE), properties=(COUNT, SPREAD))
    gen = Generator(network, settings, precision="fp32", device="cpu")
    found = gen.predict(mols, batch_size=2)
    np.testing.assert_allclose(found["atoms"], [9, 5, 8, 3], atol=1e-5)
    places = [mol.GetConformer().GetPositions() for mol in mols]
    np.testing.assert_allclose(found["spread"], [x.var(0).sum() for x in places], rtol=1e-5)
    assert network.batches == [2, 2]
    np.testing.assert_allclose(gen.predict(mols[0])["atoms"], [9])
    assert gen.predict([])["spread"].shape == (0,)


def test_what_cannot_be_predicted_is_refused() -> None:
    settings = dataclasses.replace(config(METHANE), properties=(COUNT, SPREAD))
    gen = Generator(Head(), settings, precision="fp32", device="cpu")
    with pytest.raises(ValueError, match="str is no molecule"):
        gen.predict("CCO")
    with pytest.raises(ValueError, match="unknown to this model"):
        gen.predict(made("CF"))
    bare = dataclasses.replace(settings, properties=())
    with pytest.raises(ValueError, match="trained without properties"):
        Generator(Head(), bare, device="cpu").predict(made("C"))
    headless = Generator(Answer(METHANE), settings, precision="fp32", device="cpu")
    with pytest.raises(ValueError, match="no property head"):
        headless.predict(made("C"))
