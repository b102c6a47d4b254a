from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch
from rdkit import Chem

from moldiff.config import PropertyConfig
from moldiff.generator import Generator
from moldiff.generator.rewards import Rewards

from .conftest import Oracle, config


def generator() -> Generator:
    """Methane in every second structure, rubbish in the others."""
    qed = PropertyConfig("qed", "", 0.46, 0.07, 0.1, 0.7)
    settings = dataclasses.replace(config(), properties=(qed,))
    return Generator(Oracle(lambda b: torch.arange(b) % 2 == 0), settings, precision="fp32", device="cpu")


def test_steering_by_a_name_picks_the_structures_with_a_reward() -> None:
    gen = generator()
    mols = gen.sample(6, reward="qed", particles=2, progress=False)
    # one of two particles is methane, the other has no reward
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in mols] == ["C"] * 6
    assert mols.report.drawn == 6 and mols.report.evaluations == 2 * 6
    assert "reward qed; 2 particles, strength 1" in str(mols.report)


def test_a_reward_that_raises_costs_only_that_molecule() -> None:
    calls: list[int] = []

    def fussy(mols: list[Any]) -> list[float]:
        calls.append(len(mols))
        if len(mols) > 1 or len(calls) % 2:
            raise RuntimeError("no thanks")
        return [1.0]

    gen = generator()
    with pytest.warns(UserWarning, match="the reward fussy raised RuntimeError: no thanks"):
        mols = gen.sample(4, reward=fussy, particles=4, strength=2.0, progress=False)
    assert len(mols.report.notes) == 2
    assert "reward fussy, which raised for" in mols.report.notes[1]
    assert mols.report.drawn == 4


def test_rewards_are_scaled_to_the_training_set_and_nan_where_invalid() -> None:
    gen = generator()
    state = gen.draw(4, batch_size=4)
    rewards = Rewards("qed", config=gen.config, alphabets=gen.alphabets)(state)
    assert rewards.isnan().tolist() == [False, True, False, True]
    plain = Rewards("qed", config=config(), alphabets=gen.alphabets)(state)
    torch.testing.assert_close(rewards[0] * 0.07, plain[0])
    assert 0.3 < float(plain[0]) < 0.4


def test_calculated_rewards_are_those_of_gfn2() -> None:
    pytest.importorskip("tblite")
    from moldiff.molecules.convert import from_mol
    from moldiff.molecules.relaxation import relax
    from moldiff.molecules.singlepoint import single_point

    gen = generator()
    state = gen.draw(2, batch_size=2)
    mol = next(item.mol for item in gen.stream(2, batch_size=2) if item.mol is not None)
    gap = dataclasses.replace(gen.config, properties=(PropertyConfig("gap", "eV", 5.0, 2.0, 0.0, 20.0),))
    found = Rewards("xtb-gap", config=gap, alphabets=gen.alphabets)(state)
    assert found[1].isnan() and float(found[0]) == pytest.approx(single_point(from_mol(mol)).gap / 2.0, rel=1e-3)
    found = Rewards("strain", config=gap, alphabets=gen.alphabets)(state)
    assert found[1].isnan() and float(found[0]) == pytest.approx(-relax(from_mol(mol)).drop / 5.0, abs=0.05)


def test_a_calculation_that_fails_costs_only_that_molecule(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tblite")
    from moldiff.molecules import singlepoint

    points = iter([singlepoint.SinglePoint("scf", "no convergence"), singlepoint.SinglePoint("ok", gap=3.0)])
    monkeypatch.setattr(singlepoint, "single_point", lambda arrays: next(points))
    gen = generator()
    rewards = Rewards("xtb-gap", config=gen.config, alphabets=gen.alphabets)
    with pytest.warns(UserWarning, match="scf: no convergence; that molecule goes without"):
        values = rewards(gen.draw(3, batch_size=3))
    assert values.isnan().tolist() == [True, True, False] and float(values[2]) == 3.0
    assert str(rewards) == "reward xtb-gap, which raised for 1 of 2 molecules"


def test_calculated_rewards_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(ImportError, match=r"moldiff\[xtb\]"):
        generator().stream(2, reward="strain")


def test_wrong_numbers_of_rewards_count_as_failures() -> None:
    gen = generator()
    rewards = Rewards(lambda mols: [1.0, 2.0, 3.0], config=gen.config, alphabets=gen.alphabets)
    with pytest.warns(UserWarning, match="3 numbers for 1 molecules"):
        values = rewards(gen.draw(4, batch_size=4))
    assert values.isnan().all() and rewards.failures == 2


def test_the_same_seed_gives_the_same_steered_sample() -> None:
    gen = generator()
    first, again = (gen.draw(5, reward="qed", particles=3, seed=4, steps=8) for _ in range(2))
    assert torch.equal(first.field("positions"), again.field("positions"))


def test_senseless_wishes_are_refused() -> None:
    gen = generator()
    with pytest.raises(ValueError, match="unknown reward 'beauty': choose from qed"):
        gen.stream(2, reward="beauty")
    with pytest.raises(ValueError, match="at least 2 particles"):
        gen.stream(2, reward="qed", particles=1)
    with pytest.raises(ValueError, match="strength"):
        gen.stream(2, reward="qed", strength=float("nan"))
    with pytest.raises(ValueError, match="a function of a list"):
        gen.stream(2, reward=3)  # type: ignore[arg-type]
