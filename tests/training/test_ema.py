from __future__ import annotations

import pytest
import torch
from torch import nn

from moldiff.training.ema import Average


class Scalar(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([value], dtype=torch.float64))
        self.register_buffer("b", torch.ones(1))


def test_against_the_closed_form_on_a_scalar() -> None:
    network = Scalar(2.0)
    average = Average(network, horizon=0.5)
    expected = 2.0
    for step in range(1, 50):
        with torch.no_grad():
            network.x.fill_(step**1.5)
        average.update(network.named_parameters(), step)
        decay = 1 - 1 / (1 + 0.5 * step)
        expected = decay * expected + (1 - decay) * step**1.5
        assert float(average.values["x"]) == pytest.approx(expected, rel=1e-12)


def test_with_horizon_one_it_is_the_plain_mean() -> None:
    # decay step / (step + 1): the start and every value since count the same
    network = Scalar(5.0)
    average = Average(network, horizon=1.0)
    values = [5.0]
    for step in range(1, 20):
        values.append(float(step) ** 2)
        with torch.no_grad():
            network.x.fill_(values[-1])
        average.update(network.named_parameters(), step)
    assert float(average.values["x"]) == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_a_constant_stays_and_buffers_are_left_out() -> None:
    network = Scalar(0.1)
    average = Average(network)
    for step in range(1, 100):
        average.update(network.named_parameters(), step)
    assert float(average.values["x"]) == pytest.approx(0.1, abs=1e-15)
    assert set(average.values) == {"x"}


def test_swapping_twice_changes_nothing() -> None:
    network = Scalar(1.0)
    average = Average(network)
    with torch.no_grad():
        network.x.fill_(7.0)
    average.swap(network)
    assert (network.x.item(), float(average.values["x"])) == (1.0, 7.0)
    average.swap(network)
    assert (network.x.item(), float(average.values["x"])) == (7.0, 1.0)
