"""Relaxation with ASE's own effective-medium potential."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from moldiff.crystals import relax


def steady() -> EMT:
    """What a user's own module might offer."""
    return EMT()


def test_a_stretched_crystal_shrinks_and_gains_energy() -> None:
    wide = bulk("Cu", a=3.8)
    found = relax.relax(wide.numbers, wide.get_scaled_positions(), np.array(wide.cell), calculator="emt")
    assert found.reason == "ok" and found.after < found.before and found.steps > 0
    assert found.volume_change == pytest.approx((3.59 / 3.8) ** 3 - 1, abs=0.01)


def test_the_step_and_time_limits_are_reasons() -> None:
    wide = bulk("Cu", a=3.9)
    arrays = (wide.numbers, wide.get_scaled_positions(), np.array(wide.cell))
    assert relax.relax(*arrays, calculator="emt", steps=1).reason == "steps"
    assert relax.relax(*arrays, calculator="emt", seconds=0).reason == "time"


def test_calculators_by_name_and_by_factory() -> None:
    assert isinstance(relax.resolve("emt"), EMT)
    assert isinstance(relax.resolve("ase.calculators.emt:EMT"), EMT)
    for name in ("no_such_calculator", "no.such.module:thing", "ase.calculators.emt:no_such_class"):
        with pytest.raises(ValueError, match="cannot make the calculator"):
            relax.resolve(name)
