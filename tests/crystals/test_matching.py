"""The same crystal in other settings, and crystals that only look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("pymatgen")

from ase import Atoms
from ase.build import bulk, make_supercell

from moldiff.crystals import matching
from moldiff.crystals.matching import LOOSE, STRICT, Crystal


def crystal(atoms: Atoms) -> Crystal:
    return atoms.numbers.astype(np.int64), atoms.get_scaled_positions(), np.array(atoms.cell)


def reduced(atoms: Atoms) -> Crystal:
    return matching.reduce(crystal(atoms))


def ask(pairs: Sequence[tuple[Crystal, Crystal]]) -> list[bool | None]:
    return [matching.matches(pair) for pair in pairs]


SALT = bulk("NaCl", "rocksalt", a=5.64)
CAESIUM = bulk("NaCl", "cesiumchloride", a=3.5)
BLENDE = bulk("NaCl", "zincblende", a=5.4)


def test_two_settings_of_one_crystal_match() -> None:
    cubic = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
    turned = SALT.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    turned.translate([0.3, 0.1, 0.7])
    skewed = make_supercell(SALT, [[1, 3, 0], [0, 1, 0], [0, 2, 1]])
    for other in (cubic, turned, skewed, SALT.repeat((2, 1, 1))):
        assert len(reduced(other)[0]) == 2
        assert matching.matches((reduced(SALT), reduced(other)))
        assert matching.rms_distance((crystal(other), crystal(SALT))) == pytest.approx(0, abs=1e-4)


def test_polymorphs_and_other_compositions_do_not() -> None:
    assert not matching.matches((reduced(SALT), reduced(BLENDE)))
    assert not matching.matches((reduced(SALT), reduced(CAESIUM)))
    assert matching.rms_distance((crystal(CAESIUM), crystal(SALT))) is None
    # the tolerances of structure prediction are wide: half of a quarter of the diagonal is under 0.5
    assert matching.rms_distance((crystal(BLENDE), crystal(SALT))) == pytest.approx(3**0.5 / 4)
    assert matching.rms_distance((crystal(bulk("KCl", "rocksalt", a=6.3)), crystal(SALT))) is None


def test_the_rms_distance_is_in_units_of_the_length_per_atom() -> None:
    moved = bulk("NaCl", "cesiumchloride", a=4.0)
    moved.positions[1] += [0.2, 0.0, 0.0]
    # after the best shift each of the two atoms is 0.1 angstrom off, and an atom has 32 cubic angstrom
    found = matching.rms_distance((crystal(moved), crystal(bulk("NaCl", "cesiumchloride", a=4.0))))
    assert found == pytest.approx(0.1 / 32 ** (1 / 3), rel=1e-3)


def test_tolerances_decide() -> None:
    wide = CAESIUM.copy()
    wide.set_cell(wide.cell * [1.25, 1.0, 1.0], scale_atoms=True)
    pair = (reduced(CAESIUM), reduced(wide))
    assert matching.matches(pair, tolerances=LOOSE)
    assert not matching.matches(pair, tolerances=(0.05, 0.3, 5.0))
    assert STRICT == (0.2, 0.3, 5.0) and LOOSE == (0.3, 0.5, 10.0)


def test_groups_of_equals_and_the_pairs_they_need() -> None:
    asked = 0

    def counting(pairs: Sequence[tuple[Crystal, Crystal]]) -> list[bool | None]:
        nonlocal asked
        asked += len(pairs)
        return ask(pairs)

    crystals = [
        reduced(SALT),
        reduced(BLENDE),
        reduced(SALT.repeat((1, 2, 2))),
        None,
        reduced(bulk("Cu")),
        reduced(BLENDE),
    ]
    assert matching.distinct(crystals, counting) == [0, 1, 0, None, 4, 1]
    assert asked == 4
    assert matching.distinct([], counting) == []


def test_a_comparison_without_an_answer_makes_nothing_unique_or_new() -> None:
    crystals = [reduced(SALT), reduced(BLENDE), reduced(CAESIUM)]

    def silent(pairs: Sequence[tuple[Crystal, Crystal]]) -> list[bool | None]:
        return [None] * len(pairs)

    assert matching.distinct(crystals, silent) == [0, None, None]
    assert matching.seen(crystals[:1], crystals, silent) == [matching.UNKNOWN]


def test_known_crystals_are_found() -> None:
    known = [None, reduced(bulk("Cu")), reduced(BLENDE), reduced(SALT)]
    probes = [reduced(bulk("NaCl", "rocksalt", a=5.5, cubic=True)), reduced(CAESIUM), None, reduced(bulk("Cu", a=3.7))]
    assert matching.seen(probes, known, ask) == [3, None, matching.UNKNOWN, 1]
    assert matching.seen([], known, ask) == []
