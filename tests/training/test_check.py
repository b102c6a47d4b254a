from __future__ import annotations

import numpy as np
import pytest
import torch

from moldiff.data.archive import Archive
from moldiff.data.batching import molecule_alphabets, to_state
from moldiff.state import BOND_SYMBOLS, Alphabet, State
from moldiff.training.check import Checked, check

ALPHABETS = {
    "elements": Alphabet(("H", "C", "N", "O")),
    "charges": Alphabet(("-1", "0", "1")),
    "bonds": Alphabet(BOND_SYMBOLS),
}
AROMATIC = 4


def judge(
    elements: str, bonds: list[tuple[int, int, int]], charges: dict[int, int] | None = None, pad: int = 0
) -> Checked:
    """One molecule of one-letter elements and bonds (i, j, symbol), with some padding behind it."""
    n = len(elements)
    size = n + pad
    orders = torch.zeros(1, size, size, dtype=torch.long)
    for i, j, order in bonds:
        orders[0, i, j] = orders[0, j, i] = order
    kinds = torch.zeros(1, size, dtype=torch.long)
    kinds[0, :n] = ALPHABETS["elements"].encode(list(elements))
    formal = torch.ones(1, size, dtype=torch.long)
    for atom, charge in (charges or {}).items():
        formal[0, atom] = charge + 1
    mask = torch.arange(size)[None] < n
    return check(State(mask=mask, elements=kinds, charges=formal, bonds=orders), ALPHABETS)


RING = [(i, (i + 1) % 6, AROMATIC) for i in range(6)]
BENZENE = [*RING, *((i, i + 6, 1) for i in range(6))]


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize(
    ("elements", "bonds", "charges", "stable", "connected"),
    [
        ("CHHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1)], {}, True, True),  # methane
        ("CHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1)], {}, False, True),  # methyl radical
        ("CHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1)], {0: 1}, True, True),  # methyl cation
        ("NHHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1)], {0: 1}, True, True),  # ammonium
        ("NHHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1)], {}, False, True),
        ("OHHOHH", [(0, 1, 1), (0, 2, 1), (3, 4, 1), (3, 5, 1)], {}, True, False),  # two waters
        ("CO", [(0, 1, 3)], {0: -1, 1: 1}, True, True),  # carbon monoxide, charges separated
        ("CO", [(0, 1, 3)], {}, False, True),
        ("HH", [(0, 1, 1)], {1: 1}, False, True),  # a pair of element and charge that is not listed
        ("CCCCCCHHHHHH", BENZENE, {}, True, True),
        ("CCCCCCHHHHH", BENZENE[:-1], {}, False, True),  # an aromatic carbon without its hydrogen reaches 3 at most
    ],
)
def test_hand_made_molecules(
    elements: str, bonds: list[tuple[int, int, int]], charges: dict[int, int], stable: bool, connected: bool, pad: int
) -> None:
    result = judge(elements, bonds, charges, pad)
    assert bool(result.stable) is stable
    assert bool(result.connected) is connected


def test_a_single_atom_and_an_empty_structure() -> None:
    assert not bool(judge("C", []).stable)
    assert bool(judge("C", []).connected)
    assert not bool(judge("", [], pad=2).stable)


@pytest.mark.parametrize("aromatic", [True, False])
def test_real_molecules_pass_with_either_bond_symbols(archive: Archive, aromatic: bool) -> None:
    alphabets = molecule_alphabets(archive)
    result = check(to_state(archive, np.arange(len(archive)), alphabets, aromatic=aromatic), alphabets)
    assert bool(result.stable.all())
    assert bool(result.connected.all())


def test_a_cut_bond_is_noticed_in_every_real_molecule(archive: Archive) -> None:
    alphabets = molecule_alphabets(archive)
    state = to_state(archive, np.arange(len(archive)), alphabets)
    cut = state.field("bonds").clone()
    hydrogen = (state.field("elements") == alphabets["elements"].index("H")) & state.mask
    for row, atom in enumerate(hydrogen.int().argmax(1).tolist()):
        cut[row, atom], cut[row, :, atom] = 0, 0
    result = check(state.replace(bonds=cut), alphabets)
    has = hydrogen.any(1)
    assert not bool((result.stable & has).any())
    assert not bool((result.connected & has).any())
