"""The optimiser: who takes which parameters, rates, and moments that go to disk and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moldiff.training.optimiser import Optimiser

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


class Net(nn.Module):
    """A wide matrix in a block, a narrow one, a bias, and a matrix outside the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(16, 12), nn.Linear(16, 4)])
        self.head = nn.Linear(16, 16)

    def loss(self) -> torch.Tensor:
        return sum(((p - 0.5) ** 2).sum() for p in self.parameters())  # type: ignore[return-value]


def step(network: Net, optimiser: Optimiser, rate: float) -> None:
    optimiser.zero_grad()
    network.loss().backward()
    optimiser.step(rate)


@needs_muon
def test_muon_takes_the_wide_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    network = Net()
    optimiser = Optimiser(network, 1e-3)
    assert optimiser.kind == "muon"
    step(network, optimiser, 1e-3)
    kinds = {name: set(optimiser.state(p)) for name, p in network.named_parameters()}
    assert kinds.pop("blocks.0.weight") == {"momentum_buffer"}
    assert all(moments == {"exp_avg", "exp_avg_sq", "step"} for moments in kinds.values())


@needs_muon
def test_the_matrix_rate_multiplies_the_rate_of_matrices_only() -> None:
    moved = []
    for factor in (1.0, 4.0):
        torch.manual_seed(0)
        network = Net()
        before = [p.detach().clone() for p in network.parameters()]
        step(network, Optimiser(network, 1.0, matrix_rate=factor), 1e-3)
        moved.append({n: float((p - b).norm()) for (n, p), b in zip(network.named_parameters(), before, strict=True)})
    assert moved[1]["blocks.0.weight"] == pytest.approx(4 * moved[0]["blocks.0.weight"], rel=1e-2)
    assert moved[1]["head.weight"] == pytest.approx(moved[0]["head.weight"], rel=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "auto"])
def test_restored_moments_give_the_same_next_step(kind: str) -> None:
    torch.manual_seed(0)
    network, other = Net(), Net()
    optimiser = Optimiser(network, 1e-3, kind=kind)
    assert all(optimiser.state(p) == {} for p in network.parameters())
    for _ in range(3):
        step(network, optimiser, 1e-3)
    other.load_state_dict(network.state_dict())
    again = Optimiser(other, 1e-3, kind=kind)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        again.restore(two, {name: value.clone() for name, value in optimiser.state(one).items()})
    step(network, optimiser, 5e-4)
    step(other, again, 5e-4)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_old_torch_has_no_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    assert Optimiser(Net(), 1e-3).kind == "adamw"
    with pytest.raises(ValueError, match=r"has no Muon: install torch 2\.9 or newer, or choose adamw"):
        Optimiser(Net(), 1e-3, kind="muon")
