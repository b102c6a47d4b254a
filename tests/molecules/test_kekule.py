"""Kekulisation: the matching against brute force, and which atoms take a double bond."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.molecules.kekule import AROMATIC, _matching, _ring_bonds, kekulise


def bonds_of(n: int, edges: list[tuple[int, int, int]]) -> np.ndarray:
    bonds = np.zeros((n, n), dtype=np.int64)
    for i, j, order in edges:
        bonds[i, j] = bonds[j, i] = order
    return bonds


def ring(symbols: list[int], hydrogens: list[int], charges: dict[int, int] | None = None) -> tuple:
    """A ring of aromatic bonds, with one hydrogen on each of the named atoms."""
    n = len(symbols)
    edges = [(i, (i + 1) % n, AROMATIC) for i in range(n)]
    edges += [(i, n + k, 1) for k, i in enumerate(hydrogens)]
    size = n + len(hydrogens)
    q = np.zeros(size, dtype=np.int64)
    for i, charge in (charges or {}).items():
        q[i] = charge
    return np.array(symbols + [1] * len(hydrogens)), q, bonds_of(size, edges)


def largest_matching(edges: list[tuple[int, int]]) -> int:
    for size in range(len(edges), 0, -1):
        for chosen in combinations(edges, size):
            if len({i for edge in chosen for i in edge}) == 2 * size:
                return size
    return 0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 8).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]),
            max_size=9,
            unique=True,
        ).map(lambda edges: (n, edges))
    )
)
def test_matching_is_perfect_when_there_is_a_perfect_one(case):
    n, edges = case
    graph = {i: [] for i in range(n)}
    for i, j in edges:
        graph[i].append(j)
        graph[j].append(i)
    partner = _matching(graph)
    assert all(partner[j] == i and j in graph[i] for i, j in partner.items())
    assert (len(partner) == n) == (2 * largest_matching(edges) == n)


def test_matching_through_a_blossom():
    # Two five-rings joined by a bond: every perfect matching has to use the joint.
    graph = {i: [] for i in range(10)}
    for i, j in [(k, (k + 1) % 5) for k in range(5)] + [(5 + k, 5 + (k + 1) % 5) for k in range(5)] + [(0, 5)]:
        graph[i].append(j)
        graph[j].append(i)
    partner = _matching(graph)
    assert len(partner) == 10
    assert partner[0] == 5


def test_ring_bonds_leave_out_bridges():
    edges = [(0, 1, 1), (1, 2, 1), (2, 0, 1), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 3, 1), (5, 6, 1)]
    in_ring = {(i, j) for i, j in _ring_bonds(bonds_of(8, edges)) if i < j}
    assert in_ring == {(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)}


@pytest.mark.parametrize(
    ("name", "case", "doubles"),
    [
        ("benzene", ring([6] * 6, [0, 1, 2, 3, 4, 5]), 3),
        ("pyridine", ring([7, 6, 6, 6, 6, 6], [1, 2, 3, 4, 5]), 3),
        ("pyridinium", ring([7, 6, 6, 6, 6, 6], [0, 1, 2, 3, 4, 5], {0: 1}), 3),
        ("pyrylium", ring([8, 6, 6, 6, 6, 6], [1, 2, 3, 4, 5], {0: 1}), 3),
        ("pyrrole", ring([7, 6, 6, 6, 6], [0, 1, 2, 3, 4]), 2),
        ("imidazole", ring([7, 6, 7, 6, 6], [0, 1, 3, 4]), 2),
        ("imidazolide", ring([7, 6, 7, 6, 6], [1, 3, 4], {0: -1}), 2),
        ("furan", ring([8, 6, 6, 6, 6], [1, 2, 3, 4]), 2),
        ("thiophene", ring([16, 6, 6, 6, 6], [1, 2, 3, 4]), 2),
        ("selenophene", ring([34, 6, 6, 6, 6], [1, 2, 3, 4]), 2),
        ("cyclopentadienide", ring([6] * 5, [0, 1, 2, 3, 4], {0: -1}), 2),
        ("tropylium", ring([6] * 7, [0, 1, 2, 3, 4, 5, 6], {3: 1}), 3),
        ("phosphinine", ring([15, 6, 6, 6, 6, 6], [1, 2, 3, 4, 5]), 3),
        ("borole dianion", ring([5, 6, 6, 6, 6], [0, 1, 2, 3, 4], {1: -1, 4: -1}), 1),
    ],
)
def test_aromatic_rings(name, case, doubles):
    numbers, charges, bonds = case
    orders, failed = kekulise(numbers, charges, bonds)
    assert not failed.any(), name
    assert (orders == orders.T).all()
    assert (orders == 2).sum() == 2 * doubles
    assert ((orders > 0) == (bonds > 0)).all()


def test_hydrogen_decides_which_nitrogen_of_imidazole_is_double():
    for protonated, bare in ((0, 2), (2, 0)):
        orders, _ = kekulise(*ring([7, 6, 7, 6, 6], [protonated, 1, 3, 4]))
        assert (orders[protonated] == 2).sum() == 0
        assert (orders[bare] == 2).sum() == 1


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("pyrrole without its hydrogen", ring([7, 6, 6, 6, 6], [1, 2, 3, 4])),
        ("cyclopentadienyl without a charge", ring([6] * 5, [0, 1, 2, 3, 4])),
        ("pyridine with N-H but no charge", ring([7, 6, 6, 6, 6, 6], [0, 1, 2, 3, 4, 5])),
    ],
)
def test_no_kekule_form(name, case):
    orders, failed = kekulise(*case)
    assert failed[: (orders == AROMATIC).any(1).sum()].all(), name


def test_an_aromatic_bond_outside_rings_fails_alone():
    # Benzene beside an ethylene drawn aromatic: only the ethylene fails.
    numbers, charges, bonds = ring([6] * 6, [0, 1, 2, 3, 4, 5])
    whole = np.zeros((18, 18), dtype=np.int64)
    whole[:12, :12] = bonds
    whole[12:, 12:] = bonds_of(6, [(0, 1, AROMATIC), (0, 2, 1), (0, 3, 1), (1, 4, 1), (1, 5, 1)])
    orders, failed = kekulise(np.append(numbers, [6, 6, 1, 1, 1, 1]), np.append(charges, [0] * 6), whole)
    assert np.flatnonzero(failed).tolist() == [12, 13]
    assert orders[12, 13] == AROMATIC
    assert (orders[:12] == 2).sum() == 6


def test_a_link_between_rings_never_becomes_double():
    edges = [(i, (i + 1) % 6, AROMATIC) for i in range(6)] + [(6 + i, 6 + (i + 1) % 6, AROMATIC) for i in range(6)]
    edges += [(0, 6, AROMATIC)] + [(i, 11 + i, 1) for i in range(1, 6)] + [(6 + i, 16 + i, 1) for i in range(1, 6)]
    orders, failed = kekulise(np.array([6] * 12 + [1] * 10), np.zeros(22, dtype=np.int64), bonds_of(22, edges))
    assert not failed.any()
    assert orders[0, 6] == 1
    assert (orders == 2).sum() == 12


def test_nothing_aromatic_is_returned_as_it_is():
    bonds = bonds_of(2, [(0, 1, 3)])
    orders, failed = kekulise(np.array([7, 7]), np.zeros(2, dtype=np.int64), bonds)
    assert (orders == bonds).all()
    assert orders is not bonds
    assert not failed.any()
