from __future__ import annotations

import pytest
import torch

from moldiff.denoiser import Clocks, Condition, Prediction
from moldiff.state import State


def state() -> State:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    return State(mask=mask, positions=torch.zeros(2, 3, 3), elements=mask.long(), bonds=torch.zeros(2, 3, 3).long())


def test_fields_without_a_clock_stand_at_data_with_nothing_given() -> None:
    clocks = Clocks({"positions": torch.tensor([0.2, 0.9])})
    assert torch.equal(clocks.time("positions", state()), torch.tensor([0.2, 0.9]))
    assert clocks.time("bonds", state()).tolist() == [0.0, 0.0]
    given = clocks.is_given("bonds", state())
    assert given.shape == (2, 3, 3) and not given.any()


def test_padding_is_never_given() -> None:
    everything = {"elements": torch.ones(2, 3).bool(), "bonds": torch.ones(2, 3, 3).bool()}
    clocks = Clocks.shared(state(), 0.5, given=everything)
    assert torch.equal(clocks.is_given("elements", state()), state().mask)
    assert torch.equal(clocks.is_given("bonds", state()), state().pair_mask)


def test_shared_clocks_name_every_field_of_the_state() -> None:
    for t in (0.25, torch.tensor([0.25, 0.5])):
        clocks = Clocks.shared(state(), t)
        assert set(clocks.times) == {"positions", "elements", "bonds"}
        assert all(time.shape == (2,) and time[0] == 0.25 for time in clocks.times.values())


def test_moving_and_indexing_leave_the_original() -> None:
    clocks = Clocks.shared(state(), torch.tensor([0.1, 0.2]), given={"elements": state().mask})
    moved = clocks.at(positions=torch.tensor([0.3, 0.4]))
    assert moved.time("positions", state()).tolist() == pytest.approx([0.3, 0.4])
    assert clocks.time("positions", state()).tolist() == pytest.approx([0.1, 0.2])
    assert moved.given is clocks.given
    picked = clocks.index(torch.tensor([1, 1]))
    assert picked.times["bonds"].tolist() == pytest.approx([0.2, 0.2])
    assert picked.given["elements"].tolist() == [[True, True, False]] * 2


def test_unknown_fields_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown fields \['speed', 'mass'\]: choose from positions"):
        Clocks({"speed": torch.zeros(1)}, {"mass": torch.zeros(1).bool()})


def test_predictions_and_conditions_map_and_index() -> None:
    x = torch.randn((3, 2, 3), generator=torch.Generator().manual_seed(0)).requires_grad_()
    prediction = Prediction(positions=2 * x, properties=torch.arange(3.0)[:, None])
    assert prediction.positions.requires_grad and not prediction.detach().positions.requires_grad
    picked = prediction.index(torch.tensor([2, 0]))
    assert picked.properties.flatten().tolist() == [2.0, 0.0] and picked.bonds is None
    assert torch.equal(picked.positions, 2 * x[[2, 0]])
    condition = Condition(torch.arange(6.0).view(3, 2), torch.ones(3, 2).bool()).index(torch.tensor([1]))
    assert condition.values.tolist() == [[2.0, 3.0]] and condition.shown.shape == (1, 2)
