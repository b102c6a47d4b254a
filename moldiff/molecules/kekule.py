"""From drawn aromatic bonds to single and double bonds.

With every hydrogen explicit there is nothing to guess: an atom's formal charge and its other bonds say whether one of
its aromatic bonds has to be double. What is left is a perfect matching of those atoms along the aromatic bonds, found
by Edmonds' blossom algorithm (Edmonds 1965, "Paths, trees, and flowers"), which finds one whenever there is one.
"""

from collections import deque
from functools import lru_cache

import numpy as np
from rdkit import Chem

from moldiff.molecules.valences import STABLE_VALENCES

AROMATIC = 4
"""The bond symbol that stands for an aromatic bond."""


def kekulise(numbers: np.ndarray, charges: np.ndarray, bonds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace aromatic bonds by single and double bonds.

    As in RDKit, an aromatic bond belongs to atoms of a ring (any ring), and a bond outside rings never becomes double.
    An atom takes a double bond when its bond-order sum, aromatic bonds counted as single, falls short of the next
    valence its element and charge allow. An atom already at or above it takes none: if it has too many bonds, that is
    left for the valence check to say.

    Args:
        numbers: (n,) atomic numbers.
        charges: (n,) formal charges.
        bonds: (n, n) symmetric, 0 none, 1, 2, 3, 4 aromatic.

    Returns:
        ``(orders, failed)``: the (n, n) orders 0-3, and an (n,) boolean mask of the atoms whose aromatic system
        (connected by aromatic bonds) has no such form. The bonds of a failed system are left as 4.
    """
    orders = np.array(bonds, dtype=np.int64)
    failed = np.zeros(len(numbers), dtype=bool)
    aromatic = orders == AROMATIC
    if not aromatic.any():
        return orders, failed
    singles = np.where(aromatic, 1, orders)
    sums = singles.sum(1).tolist()
    members = np.flatnonzero(aromatic.any(1)).tolist()
    neighbours = {i: np.flatnonzero(aromatic[i]).tolist() for i in members}
    in_ring = _ring_bonds(orders)
    ring_atoms = {i for bond in in_ring for i in bond}
    needy = {i for i in members if _needs_double(int(numbers[i]), int(charges[i]), sums[i])}
    for system in _components(neighbours):
        free = [i for i in system if i in needy]
        graph = {i: [j for j in neighbours[i] if j in needy and (i, j) in in_ring] for i in free}
        partner = _matching(graph)
        if len(partner) < len(free) or not ring_atoms.issuperset(system):
            failed[system] = True
            continue
        for i in system:
            orders[i, neighbours[i]] = 1
        for i, j in partner.items():
            orders[i, j] = 2
    return orders, failed


@lru_cache(maxsize=4096)
def _needs_double(number: int, charge: int, valence: int) -> bool:
    """Whether an atom with this sum of orders (aromatic as single) needs a double bond."""
    allowed = STABLE_VALENCES.get((number, charge))
    if allowed is None:  # RDKit's rule for ions: the valences of the neutral element with as many electrons
        isoelectronic = number - charge
        if not 1 <= isoelectronic <= 118:
            return False
        allowed = tuple(Chem.GetPeriodicTable().GetValenceList(isoelectronic))
    return any(v > valence for v in allowed) and valence not in allowed


def _components(neighbours: dict[int, list[int]]) -> list[list[int]]:
    """Connected components of a graph, each a list of nodes."""
    seen: set[int] = set()
    components = []
    for start in neighbours:
        if start in seen:
            continue
        seen.add(start)
        component = [start]
        for i in component:
            for j in neighbours[i]:
                if j not in seen:
                    seen.add(j)
                    component.append(j)
        components.append(component)
    return components


def _ring_bonds(orders: np.ndarray) -> set[tuple[int, int]]:
    """All bonds that lie in a ring, in both directions: those that are not bridges (Tarjan's low links)."""
    adjacency = [np.flatnonzero(row).tolist() for row in orders]
    order = [-1] * len(adjacency)
    low = [0] * len(adjacency)
    parent = [-1] * len(adjacency)
    ring: set[tuple[int, int]] = set()
    visited: list[int] = []
    for root in range(len(adjacency)):
        if order[root] >= 0:
            continue
        order[root] = low[root] = len(visited)
        visited.append(root)
        stack = [(root, iter(adjacency[root]))]
        while stack:
            i, rest = stack[-1]
            j = next(rest, None)
            if j is None:
                stack.pop()
                p = parent[i]
                if p >= 0:
                    low[p] = min(low[p], low[i])
                    if low[i] <= order[p]:
                        ring.update(((i, p), (p, i)))
            elif order[j] < 0:
                parent[j] = i
                order[j] = low[j] = len(visited)
                visited.append(j)
                stack.append((j, iter(adjacency[j])))
            elif j != parent[i]:
                low[i] = min(low[i], order[j])
                ring.update(((i, j), (j, i)))
    return ring


def _matching(graph: dict[int, list[int]]) -> dict[int, int]:
    """A maximum matching of a general graph: node -> partner, both ways. Deterministic."""
    partner: dict[int, int] = {}
    # Greedy first, the atoms with fewest choices first: mostly perfect already.
    for i in sorted(graph, key=lambda k: len(graph[k])):
        if i not in partner:
            free = [j for j in graph[i] if j not in partner]
            if free:
                j = min(free, key=lambda k: len(graph[k]))
                partner[i], partner[j] = j, i
    for root in graph:
        if root not in partner and not _augment(graph, partner, root):
            break  # a free node without an augmenting path stays free: no perfect matching
    return partner


def _augment(graph: dict[int, list[int]], partner: dict[int, int], root: int) -> bool:
    """Grow ``partner`` by one pair along an augmenting path from ``root``; False when there is none."""
    base = {i: i for i in graph}
    before: dict[int, int] = {}
    outer = {root}
    queue = deque([root])

    def common_base(a: int, b: int) -> int:
        path = set()
        while True:
            a = base[a]
            path.add(a)
            if a not in partner or a == root:
                break
            a = before[partner[a]]
        while base[b] not in path:
            b = before[partner[base[b]]]
        return base[b]

    def mark(i: int, stem: int, child: int, blossom: set[int]) -> None:
        while base[i] != stem:
            blossom.update((base[i], base[partner[i]]))
            before[i] = child
            child = partner[i]
            i = before[child]

    while queue:
        i = queue.popleft()
        for j in graph[i]:
            if base[i] == base[j] or partner.get(i) == j:
                continue
            if j == root or (j in partner and partner[j] in before):
                stem = common_base(i, j)
                blossom: set[int] = set()
                mark(i, stem, j, blossom)
                mark(j, stem, i, blossom)
                for k in graph:
                    if base[k] in blossom:
                        base[k] = stem
                        if k not in outer:
                            outer.add(k)
                            queue.append(k)
            elif j not in before:
                before[j] = i
                if j not in partner:
                    while True:
                        i = before[j]
                        following = partner.get(i)
                        partner[i], partner[j] = j, i
                        if following is None:
                            return True
                        j = following
                outer.add(partner[j])
                queue.append(partner[j])
    return False
