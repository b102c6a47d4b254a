"""The check by sampling during training, as tensors: no RDKit, no pymatgen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from moldiff.data.batching import PERIODIC_TABLE
from moldiff.molecules.valences import STABLE_VALENCES
from moldiff.networks.periodic import nearest_distances
from moldiff.state import Alphabet, State


class Checked(NamedTuple):
    """(B,) bool: all valences allowed; one fragment."""

    stable: Tensor
    connected: Tensor


def check_crystals(state: State) -> Tensor:
    """(B,) bool: smallest distance between different sites >= 0.5 angstrom, volume >= 0.1 angstrom^3 (CDVAE's rule)."""
    cell = state.field("cell")
    distance = nearest_distances(state.field("fractional"), cell).masked_fill(~state.pair_mask, float("inf"))
    return (distance.amin((1, 2)) >= 0.5) & (torch.linalg.det(cell).abs() >= 0.1)


def check(state: State, alphabets: Mapping[str, Alphabet]) -> Checked:
    """Valences and connectedness of finished molecules.

    Aromatic bonds are not kekulised here: an atom with k of them passes if its other orders plus k or k + 1 are
    allowed, so this is a little milder than `moldiff.molecules.validity`.
    """
    orders = state.field("bonds")
    aromatic = (orders == 4).sum(-1)
    plain = torch.where(orders == 4, 0, orders.clamp_max(4)).sum(-1)
    allowed = torch.zeros(len(alphabets["elements"]) + 1, len(alphabets["charges"]) + 1, 64, dtype=torch.bool)
    for i, symbol in enumerate(alphabets["elements"].symbols):
        for j, charge in enumerate(alphabets["charges"].symbols):
            for valence in STABLE_VALENCES.get((PERIODIC_TABLE.index(symbol), int(charge)), ()):
                allowed[i, j, valence] = True
    allowed = allowed.to(state.device)
    kind = (state.field("elements"), state.field("charges"))
    low = (plain + aromatic).clamp_max(62)
    atoms = allowed[(*kind, low)] | (allowed[(*kind, low + 1)] & (aromatic > 0))
    stable = (atoms | ~state.mask).all(1) & state.mask.any(1)

    links = (orders > 0) & state.pair_mask
    reached = torch.zeros_like(state.mask)
    reached[:, 0] = True
    for _ in range(state.size):
        grown = reached | (links & reached[:, None, :]).any(-1)
        if bool((grown == reached).all()):
            break
        reached = grown
    return Checked(stable, (reached | ~state.mask).all(1))
