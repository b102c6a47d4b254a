"""From finished States to plain arrays of atoms and bonds, on which the chemistry works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from moldiff.data.batching import PERIODIC_TABLE
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.molecules.convert import Arrays


def to_arrays(state: State, alphabets: Mapping[str, Alphabet]) -> Iterator[Arrays]:
    """One `moldiff.molecules.convert.Arrays` a molecule, padding removed.

    Args:
        state: finished molecules (no hidden symbols).
        alphabets: of elements and charges.
    """
    from moldiff.molecules.convert import Arrays

    numbers = np.array([PERIODIC_TABLE.index(symbol) for symbol in alphabets["elements"].symbols])
    charges = np.array([int(symbol) for symbol in alphabets["charges"].symbols])
    mask = state.mask.cpu().numpy()
    elements, charge, bonds = (state.field(name).cpu().numpy() for name in ("elements", "charges", "bonds"))
    positions = state.field("positions").double().cpu().numpy()
    for row, here in enumerate(mask):
        yield Arrays(
            numbers[elements[row][here]],
            positions[row][here],
            charges[charge[row][here]],
            bonds[row][here][:, here],
        )
