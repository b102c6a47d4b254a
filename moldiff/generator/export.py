"""From finished States to plain arrays of atoms, bonds and cells, on which the chemistry works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from moldiff.data.batching import PERIODIC_TABLE
from moldiff.diffusion.torus import wrap
from moldiff.state import Alphabet, State

if TYPE_CHECKING:
    from moldiff.crystals.convert import CrystalArrays
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


def to_crystals(state: State, alphabets: Mapping[str, Alphabet]) -> Iterator[CrystalArrays]:
    """One `moldiff.crystals.convert.CrystalArrays` a crystal, padding removed, coordinates in [0, 1).

    Args:
        state: finished crystals (no hidden symbols).
        alphabets: of elements.
    """
    from moldiff.crystals.convert import CrystalArrays

    numbers = np.array([PERIODIC_TABLE.index(symbol) for symbol in alphabets["elements"].symbols])
    mask, elements = state.mask.cpu().numpy(), state.field("elements").cpu().numpy()
    fractional = wrap(state.field("fractional").double()).cpu().numpy()
    cells = state.field("cell").double().cpu().numpy()
    for row, here in enumerate(mask):
        yield CrystalArrays(numbers[elements[row][here]], fractional[row][here], cells[row])
