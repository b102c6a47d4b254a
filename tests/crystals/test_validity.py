"""Crystals worked out by hand: what can exist and what cannot."""

from __future__ import annotations

import itertools
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("smact")

from moldiff.crystals import validity

ROCKSALT = np.array([[0.0, 2.82, 2.82], [2.82, 0.0, 2.82], [2.82, 2.82, 0.0]])
HALVES = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def test_rocksalt_is_valid_and_its_distances_are_known() -> None:
    verdict = validity.check([11, 17], HALVES, ROCKSALT)
    assert verdict.valid and verdict.structure_valid_images and verdict.reason == "ok"
    assert verdict.distance == pytest.approx(2.82)
    assert verdict.image_distance == pytest.approx(2.82 * math.sqrt(2))
    assert verdict.volume == pytest.approx(2 * 2.82**3)


def test_two_sites_in_one_place_overlap_across_the_border_of_the_cell() -> None:
    verdict = validity.check([11, 17], [[0.01, 0.5, 0.5], [0.99, 0.5, 0.5]], 4.0 * np.eye(3))
    assert verdict.reason == "overlap" and not verdict.structure_valid and verdict.composition_valid
    assert verdict.distance == pytest.approx(0.08)
    at_the_limit = validity.check([11, 17], [[0.0, 0, 0], [0.125, 0, 0]], 4.0 * np.eye(3))
    assert at_the_limit.distance == 0.5 and at_the_limit.structure_valid


def test_an_atom_near_its_own_image_fails_only_where_images_count() -> None:
    verdict = validity.check([29], [[0.3, 0.3, 0.3]], np.diag([0.4, 3.0, 3.0]))
    assert verdict.structure_valid and not verdict.structure_valid_images
    assert math.isnan(verdict.distance) and verdict.image_distance == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("numbers", "fractional", "cell", "reason"),
    [
        ([], np.zeros((0, 3)), np.eye(3), "empty"),
        ([0], np.zeros((1, 3)), 3 * np.eye(3), "element"),
        ([118], np.zeros((1, 3)), 3 * np.eye(3), "element"),
        ([11], [[np.nan, 0, 0]], 3 * np.eye(3), "not_finite"),
        ([11], np.zeros((1, 3)), np.full((3, 3), np.inf), "not_finite"),
        ([11], np.zeros((1, 3)), np.zeros((3, 3)), "volume"),
        ([11], np.zeros((1, 3)), np.diag([1e5, 3, 3]), "cell"),
    ],
)
def test_what_is_no_crystal_is_a_failure_with_a_reason(
    numbers: list[int], fractional: object, cell: object, reason: str
) -> None:
    verdict = validity.check(numbers, fractional, cell)  # type: ignore[arg-type]
    assert verdict.reason == reason and verdict.message and not verdict.valid


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        validity.check([11, 17], np.zeros((1, 3)), np.eye(3))


def test_distances_agree_with_a_search_over_many_images_in_skewed_cells() -> None:
    rng = np.random.default_rng(0)
    shifts = np.array(list(itertools.product(range(-6, 7), repeat=3)), dtype=float)
    for _ in range(20):
        cell = np.diag(rng.uniform(2, 4, 3)) + np.tril(rng.uniform(-5, 5, (3, 3)), -1)
        places = rng.random((4, 3))
        pairs = places[:, None] - places[None]
        every = np.linalg.norm((pairs[:, :, None] + shifts) @ cell, axis=-1)
        different = min(every[i, j].min() for i in range(4) for j in range(4) if i != j)
        own = np.linalg.norm(shifts[(shifts != 0).any(1)] @ cell, axis=-1).min()
        assert validity.shortest_distances(places, cell) == pytest.approx((different, own))


@pytest.mark.parametrize(
    ("numbers", "valid"),
    [
        ([11, 17], True),  # NaCl
        ([29, 30, 30], True),  # a brass: metals alone
        ([10], True),  # one element
        ([10, 8], False),  # neon has no oxidation states
        ([11, 11, 11, 17], False),  # Na3Cl: no state of Cl is -3
        ([12, 17], True),  # MgCl with Mg +1
        ([20, 8], True),
        ([8, 9, 9], True),  # OF2: here oxygen is the cation
        ([3, 3, 3, 9], False),  # Li3F
        ([61, 8], True),  # promethium has no electronegativity
        ([26, 15] + [8] * 4 + [3], True),  # LiFePO4
    ],
)
def test_compositions_worked_out_by_hand(numbers: list[int], valid: bool) -> None:
    assert validity.composition_valid(numbers) is valid


def test_only_the_ratio_of_a_composition_counts() -> None:
    assert validity.reduced_composition([17, 11, 11, 17]) == ((11, 1), (17, 1))
    assert validity.reduced_composition([]) == ()
    assert not validity.composition_valid([])


def test_an_unknown_element_is_named() -> None:
    with pytest.raises(ValueError, match="atomic number 110"):
        validity.composition_valid([110, 8])


def every_combination(composition: tuple[tuple[int, int], ...]) -> bool:
    """CDVAE's loop over all combinations of oxidation states."""
    elements = [validity._elements()[number] for number, _ in composition]
    if len(elements) == 1 or all(element.metal for element in elements):
        return True
    for states in itertools.product(*[element.states for element in elements]):
        if sum(state * count for state, (_, count) in zip(states, composition, strict=True)) != 0:
            continue
        ions = list(zip(states, [element.electronegativity for element in elements], strict=True))
        if all(
            a is None or b is None or not ((p > 0 > m and a >= b) or (p < 0 < m and a <= b))
            for (p, a), (m, b) in itertools.combinations(ions, 2)
        ):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.integers(1, 103), st.integers(1, 12), min_size=1, max_size=4))
def test_the_short_way_agrees_with_all_combinations(counts: dict[int, int]) -> None:
    numbers = [number for number, count in counts.items() for _ in range(count)]
    assert validity.composition_valid(numbers) == every_combination(validity.reduced_composition(numbers))


def test_many_elements_do_not_explode() -> None:
    start = time.perf_counter()
    numbers = [number for number in range(1, 104) if number not in (2, 10, 18) for _ in range(number % 7 + 1)]
    validity.composition_valid(numbers)
    validity.composition_valid(numbers[:60])
    assert time.perf_counter() - start < 2


@pytest.mark.data
def test_the_test_split_of_mp20() -> None:
    path = Path(os.environ.get("MOLDIFF_DATA", "")) / "crystals" / "mp_20.npz"
    if not path.is_file():
        pytest.skip("mp_20.npz is not there")
    with np.load(path) as stored:
        data = {name: stored[name] for name in ("n_atoms", "split", "atomic_numbers", "frac_coords", "lattice")}
    ends = np.cumsum(data["n_atoms"].astype(int))
    rows = np.flatnonzero(data["split"] == 2)
    numbers = [data["atomic_numbers"][ends[i] - data["n_atoms"][i] : ends[i]] for i in rows]
    share = np.mean([validity.composition_valid(kinds) for kinds in numbers])
    assert share == pytest.approx(0.910, abs=0.003)
    for i, kinds in list(zip(rows, numbers, strict=True))[:300]:
        places = data["frac_coords"][ends[i] - data["n_atoms"][i] : ends[i]]
        assert validity.check(kinds, places, data["lattice"][i]).structure_valid
