from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.generator import Generator
from moldiff.generator.generator import blank_state

from .conftest import METHANE, Oracle, config


def test_an_oracle_network_gives_methane(methane: Generator) -> None:
    mols = methane.sample(7, seed=3, progress=False)
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in mols] == ["C"] * 7
    assert mols.failed == []
    assert (mols.report.asked, mols.report.drawn, mols.report.made) == (7, 7, 7)
    assert mols.report.evaluations == 6
    assert mols.report.reasons["ok"] == 7
    for mol in mols:
        found = np.array(mol.GetConformer().GetPositions())
        expected = METHANE.numpy() - METHANE.numpy().mean(0)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_invalid_structures_are_kept_apart_with_a_reason(half: Generator) -> None:
    mols = half.sample(8, batch_size=4, progress=False)
    assert len(mols) == 4 == len(mols.failed)
    assert all(failed.reason in ("valence", "radical", "disconnected") for failed in mols.failed)
    assert all(failed.mol is not None and failed.mol.GetNumAtoms() == 5 for failed in mols.failed)
    rate = mols.report.rates["valid_connected"]
    assert (rate["n"], rate["of"], rate["value"]) == (4, 8, 0.5)
    unique = mols.report.rates["unique"]
    assert unique["n"] == 1


def test_fill_goes_on_until_there_are_enough(half: Generator) -> None:
    mols = half.sample(10, fill=True, batch_size=4, progress=False)
    assert len(mols) == 10
    assert mols.report.asked == 10 and mols.report.made == 10
    assert 18 <= mols.report.drawn <= 24


def test_fill_gives_up_where_nothing_is_valid() -> None:
    never = Generator(Oracle(lambda b: torch.zeros(b, dtype=torch.bool)), config(), precision="fp32", device="cpu")
    with pytest.warns(UserWarning, match="giving up"):
        mols = never.sample(2, fill=True, steps=2, progress=False)
    assert len(mols) == 0 and mols.report.drawn >= 40
    assert "0 of" in str(mols.report)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_the_same_seed_gives_the_same_structures(methane: Generator, batch_size: int) -> None:
    first = methane.draw(9, seed=5, batch_size=batch_size)
    again = methane.draw(9, seed=5, batch_size=batch_size)
    other = methane.draw(9, seed=6, batch_size=batch_size)
    assert torch.equal(first.positions, again.positions)
    assert not torch.equal(first.positions, other.positions)


def test_draw_keeps_the_order_of_the_sizes_asked_for() -> None:
    generator = Generator(
        Oracle(lambda b: torch.ones(b, dtype=torch.bool)), config({"1": 1, "5": 1}), precision="fp32", device="cpu"
    )
    sizes = [5, 5, 5, 5]
    assert generator.draw(4, n_atoms=sizes, batch_size=2).n_atoms.tolist() == sizes


def test_sizes_follow_the_histogram() -> None:
    generator = Generator(Oracle(lambda b: torch.ones(b, dtype=torch.bool)), config({"3": 1, "4": 3}), device="cpu")
    sizes = generator._sizes(4000, 0, None)
    assert set(sizes.tolist()) == {3, 4}
    # 4,000 draws at 3/4: a standard deviation of 27
    assert abs(int((sizes == 4).sum()) - 3000) < 150


def test_every_network_call_is_counted(methane: Generator) -> None:
    methane.draw(8, steps=4, batch_size=4)
    assert isinstance(methane.network, Oracle)
    # a first batch of 4 and a second of 4, 4 steps each
    assert methane.network.calls == 8


def test_stream_numbers_every_structure_once(methane: Generator) -> None:
    numbers = [item.number for item in methane.stream(20, batch_size=6)]
    assert sorted(numbers) == list(range(20))


@pytest.mark.parametrize("n", [0, -1, 2.5, "3"])
def test_a_senseless_number_is_refused(methane: Generator, n: object) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        methane.sample(n)  # type: ignore[arg-type]


def test_other_bad_arguments_are_refused(methane: Generator) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        methane.sample(2, batch_size=0)
    with pytest.raises(ValueError, match="steps"):
        methane.sample(2, steps=0)
    with pytest.raises(ValueError, match="n_atoms"):
        methane.sample(2, n_atoms=0)
    with pytest.raises(ValueError, match="n_atoms"):
        methane.sample(2, n_atoms=[5, 5, 5])
    with pytest.raises(ValueError, match="device must be"):
        Generator(methane.network, config(), device="abacus")
    with pytest.raises(ValueError, match="precision"):
        Generator(methane.network, config(), precision="fp8")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU"):
            Generator(methane.network, config(), device="cuda")


def test_sizes_outside_the_training_set_warn(methane: Generator) -> None:
    with pytest.warns(UserWarning, match="outside the 5-5 atoms"):
        methane._sizes(2, 0, 9)


def test_blank_state_is_a_clean_slate() -> None:
    state = blank_state(torch.tensor([2, 4]))
    assert state.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert state.present == ("positions", "elements", "charges", "bonds")
    state.check()
