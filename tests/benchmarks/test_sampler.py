"""The study of the sampler draws every different sampler once."""

from __future__ import annotations

import dataclasses

from sampler import SETTINGS, STEADY, samplers

from moldiff.config import SamplerConfig

SHIPPED = SamplerConfig(steps=50, density=2.5, last=0.28, order=2, churn=0.3, temperature=0.7, redraw=2)


def test_settings_that_come_to_the_same_sampler_are_drawn_once() -> None:
    assert samplers(SHIPPED, ["as shipped", STEADY], [50, 100]) == {
        SHIPPED: "as shipped",
        dataclasses.replace(SHIPPED, steps=100): "as shipped",
    }
    assert samplers(SHIPPED, ["as shipped", STEADY], [20]) == {
        SHIPPED.in_steps(20): "as shipped",
        dataclasses.replace(SHIPPED, steps=20): STEADY,
    }


def test_every_setting_but_that_of_few_steps_changes_something() -> None:
    shipped = dataclasses.replace(SHIPPED, closed_shell=True, bond_shares=(0.7, 0.1, 0.1, 0.1))
    assert list(samplers(shipped, list(SETTINGS), [50]).values()) == [name for name in SETTINGS if name != STEADY]
