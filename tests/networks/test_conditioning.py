from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from moldiff.denoiser import Clocks, Condition
from moldiff.networks.conditioning import Conditioning, drop_properties, waves
from moldiff.state import State

FIELDS = ("positions", "elements", "charges", "bonds")


def test_waves_tell_nearby_clocks_apart() -> None:
    t = torch.linspace(0, 1, 101)
    code = waves(t)
    assert code.shape == (101, 16)
    far = torch.cdist(code, code) + 10 * torch.eye(101)
    assert far.min() > 0.5


def test_shown_properties_matter_and_others_do_not(random_state: Callable[..., State]) -> None:
    torch.manual_seed(0)
    module, state = Conditioning(FIELDS, 2, 16), random_state((4, 4))
    module.mean.copy_(torch.tensor([5.0, -100.0]))
    module.deviation.copy_(torch.tensor([2.0, 50.0]))
    assert torch.allclose(module.standardise(torch.tensor([[7.0, -150.0]])), torch.tensor([[1.0, -1.0]]))
    clocks = Clocks.shared(state, 0.5)
    shown = torch.tensor([[True, False], [False, False]])

    def embed(values: list[list[float]]) -> torch.Tensor:
        return module(state, clocks, Condition(torch.tensor(values), shown), has_guess=False).detach()

    first = embed([[5.0, 1.0], [2.0, 3.0]])
    assert torch.equal(first, embed([[5.0, 9.0], [7.0, float("nan")]]))  # only what is not shown changed
    assert not torch.allclose(first[0], embed([[6.0, 1.0], [2.0, 3.0]])[0])
    nothing = module(state, clocks, None, has_guess=False)
    assert torch.allclose(first[1], nothing[1]) and not torch.allclose(first[0], nothing[0])
    assert not torch.allclose(nothing, module(state, clocks, None, has_guess=True))


def test_a_wrong_number_of_properties_is_refused(random_state: Callable[..., State]) -> None:
    module, state = Conditioning(FIELDS, 2, 16), random_state((3,))
    with pytest.raises(ValueError, match="knows 2 properties, not 3"):
        module(state, Clocks.shared(state, 0.5), Condition(torch.zeros(1, 3), torch.ones(1, 3).bool()), has_guess=False)


def test_first_weights_do_not_depend_on_a_global_state() -> None:
    torch.manual_seed(1)
    one = Conditioning(FIELDS, 2, 16)
    torch.manual_seed(2)
    assert torch.equal(one.value, Conditioning(FIELDS, 2, 16).value)


def test_property_drop_out_has_the_documented_shares() -> None:
    b, p = 40000, 5
    condition = drop_properties(torch.ones((b, p)), generator=torch.Generator().manual_seed(0))
    count = condition.shown.sum(1)
    share = torch.bincount(count, minlength=p + 1) / b
    # none 40 %, one 30 % plus a fifth of the remaining 30 %, every other size a fifth of it
    expected = torch.tensor([0.4, 0.36, 0.06, 0.06, 0.06, 0.06])
    assert torch.allclose(share, expected, atol=4 * (0.25 / b) ** 0.5)
    most = drop_properties(torch.ones((b, p)), none=0.7, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(most.shown.sum(1), minlength=p + 1) / b
    assert torch.allclose(share, torch.tensor([0.7, 0.18, 0.03, 0.03, 0.03, 0.03]), atol=4 * (0.25 / b) ** 0.5)
    each = condition.shown.float().mean(0)
    assert (each - each.mean()).abs().max() < 0.02


def test_unknown_properties_are_never_shown_and_leave_no_nan() -> None:
    values = torch.ones((1000, 3))
    values[:, 1] = float("nan")
    condition = drop_properties(values, generator=torch.Generator().manual_seed(0))
    assert not condition.shown[:, 1].any() and condition.shown[:, 0].any()
    assert torch.isfinite(condition.values).all()
    again = drop_properties(values, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.shown, condition.shown)
