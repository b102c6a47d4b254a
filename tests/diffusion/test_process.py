from __future__ import annotations

import torch

from moldiff.diffusion.process import mean_where, normal, uniform


def test_mean_where_never_meets_what_is_left_out() -> None:
    values = torch.tensor([[1.0, 3.0, float("nan")], [float("inf"), 1.0, 1.0], [2.0, 2.0, 2.0]], requires_grad=True)
    chosen = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0]]).bool()
    mean = mean_where(values, chosen)
    assert mean.tolist() == [2.0, 0.0, 2.0]
    mean.sum().backward()
    assert torch.isfinite(values.grad).all()


def test_draws_follow_their_generator_alone() -> None:
    cpu = torch.device("cpu")
    torch.manual_seed(1)
    first = (uniform((3,), torch.Generator().manual_seed(7), cpu), torch.rand(1))
    torch.manual_seed(1)
    second = (uniform((3,), torch.Generator().manual_seed(7), cpu), torch.rand(1))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])  # the global stream is not touched
    one, two = (normal((4,), torch.Generator().manual_seed(7), cpu, torch.float64) for _ in range(2))
    assert one.dtype == torch.float64 and torch.equal(one, two)
