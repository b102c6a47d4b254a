from __future__ import annotations

import torch

from moldiff.generator.export import to_arrays
from moldiff.state import BOND_SYMBOLS, Alphabet, State


def test_padding_goes_and_symbols_become_numbers() -> None:
    alphabets = {
        "elements": Alphabet(("O", "H")),
        "charges": Alphabet(("-1", "0", "1")),
        "bonds": Alphabet(BOND_SYMBOLS),
    }
    bonds = torch.zeros(2, 3, 3, dtype=torch.long)
    bonds[0, 0, 1] = bonds[0, 1, 0] = bonds[0, 0, 2] = bonds[0, 2, 0] = 1
    bonds[1, 0, 1] = bonds[1, 1, 0] = 4
    state = State(
        mask=torch.tensor([[True, True, True], [True, True, False]]),
        positions=torch.arange(18, dtype=torch.float32).view(2, 3, 3),
        elements=torch.tensor([[0, 1, 1], [0, 0, 0]]),
        charges=torch.tensor([[1, 1, 1], [0, 2, 0]]),
        bonds=bonds,
    )
    water, other = to_arrays(state, alphabets)
    assert water.numbers.tolist() == [8, 1, 1] and water.charges.tolist() == [0, 0, 0]
    assert water.bonds.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert other.numbers.tolist() == [8, 8] and other.charges.tolist() == [-1, 1]
    assert other.bonds.tolist() == [[0, 4], [4, 0]]
    assert other.positions.tolist() == [[9, 10, 11], [12, 13, 14]]
