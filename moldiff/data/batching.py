"""Training batches: all structures resident on the device, one batch one atom count.

Sizes too rare to fill a batch are merged with their neighbours and padded to the largest of them. A batch is a function
of (seed, step, rank) alone, so that a resumed run sees the same batches as one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moldiff.data.archive import Archive
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.state import BOND_SYMBOLS, Alphabet, State, centred

_SYMBOLS = """
X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc
Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po
At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
#: Symbols of the elements by atomic number, index 0 unused.
PERIODIC_TABLE = _SYMBOLS.split()


class Batch(NamedTuple):
    """Structures with their property labels (B, P), NaN where unknown."""

    state: State
    properties: Tensor


def molecule_alphabets(archive: Archive) -> dict[str, Alphabet]:
    """The element, charge and bond alphabets of an archive, elements by atomic number and charges ascending."""
    elements = tuple(PERIODIC_TABLE[int(z)] for z in np.unique(archive.numbers))
    low, high = (int(archive.charges.min()), int(archive.charges.max())) if len(archive.charges) else (0, 0)
    charges = tuple(str(charge) for charge in range(min(low, 0), max(high, 0) + 1))
    return {"elements": Alphabet(elements), "charges": Alphabet(charges), "bonds": Alphabet(BOND_SYMBOLS)}


def bond_indices(archive: Archive) -> np.ndarray:
    """Indices in `BOND_SYMBOLS` of all pairs of an archive, aromatic where it marks them; as long as its bonds."""
    orders = archive.bonds.astype(np.int64)
    return orders if archive.aromatic is None else np.where(archive.aromatic, BOND_SYMBOLS.index("aromatic"), orders)


def fit_deviation(archive: Archive) -> tuple[float, float]:
    """(scale, power) of s_data = scale * n ** power, a least-squares fit over the molecules of an archive.

    s_data is the deviation a coordinate (angstrom) of centred molecules of n atoms.
    """
    starts = np.concatenate([[0], np.cumsum(archive.n_atoms.astype(np.int64))[:-1]])
    n = archive.n_atoms.astype(np.float64)
    x = archive.positions.astype(np.float64)
    mean = np.add.reduceat(x, starts) / n[:, None]
    square = np.add.reduceat((x**2).sum(1), starts) / n - (mean**2).sum(1)
    sizes = np.unique(archive.n_atoms[n > 1])
    if len(sizes) == 0:
        return 1.0, 0.0
    deviation = np.array([np.sqrt(square[n == size].mean() / 3) for size in sizes])
    count = np.array([(n == size).sum() for size in sizes], dtype=np.float64)
    if len(sizes) == 1:
        return float(deviation[0]), 0.0
    power, offset = np.polyfit(np.log(sizes), np.log(deviation.clip(1e-3)), 1, w=np.sqrt(count))
    return float(math.exp(offset)), float(power)


def to_state(archive: Archive, rows: np.ndarray, alphabets: Mapping[str, Alphabet], *, aromatic: bool = True) -> State:
    """Some molecules of an archive as a State padded to the largest of them, centred.

    Args:
        archive: the molecules.
        rows: which (integers).
        alphabets: field name -> alphabet.
        aromatic: use the aromatic bond symbol where the archive marks it; else kekulised orders.

    Raises:
        ValueError: for an element or charge that the alphabets lack.
    """
    chosen = archive.select(rows)
    counts = chosen.n_atoms.astype(np.int64)
    b, n = len(counts), int(counts.max(initial=1))
    mask = np.arange(n)[None] < counts[:, None]
    elements = np.zeros((b, n), np.int64)
    charges = np.zeros((b, n), np.int64)
    positions = np.zeros((b, n, 3), np.float32)
    lookup = {z: alphabets["elements"].index(PERIODIC_TABLE[int(z)]) for z in np.unique(chosen.numbers)}
    shift = {q: alphabets["charges"].index(str(int(q))) for q in np.unique(chosen.charges)}
    elements[mask] = np.vectorize(lookup.__getitem__, otypes=[np.int64])(chosen.numbers)
    charges[mask] = np.vectorize(shift.__getitem__, otypes=[np.int64])(chosen.charges)
    positions[mask] = chosen.positions
    bonds = np.zeros((b, n, n), np.int64)
    upper = mask[:, :, None] & mask[:, None, :] & np.triu(np.ones((n, n), bool), 1)
    bonds[upper] = bond_indices(chosen) if aromatic else chosen.bonds
    bonds = bonds + bonds.transpose(0, 2, 1)
    atoms = torch.from_numpy(mask)
    return State(
        mask=atoms,
        positions=centred(torch.from_numpy(positions), atoms),
        elements=torch.from_numpy(elements),
        charges=torch.from_numpy(charges),
        bonds=torch.from_numpy(bonds),
    )


def crystal_alphabets(archive: CrystalArchive) -> dict[str, Alphabet]:
    """The element alphabet of an archive of crystals, by atomic number."""
    return {"elements": Alphabet(tuple(PERIODIC_TABLE[int(z)] for z in np.unique(archive.atomic_numbers)))}


def symmetric_cells(lattice: np.ndarray) -> np.ndarray:
    """S = (L L^T)^(1/2) float64 of cells L (M, 3, 3): the cells in an orientation that depends on their shape alone."""
    wide = lattice.astype(np.float64)
    values, vectors = np.linalg.eigh(wide @ wide.transpose(0, 2, 1))
    return (vectors * np.sqrt(values.clip(1e-12))[:, None]) @ vectors.transpose(0, 2, 1)


def to_crystal_state(archive: CrystalArchive, rows: np.ndarray, alphabets: Mapping[str, Alphabet]) -> State:
    """Some crystals of an archive as a State padded to the largest of them, cells symmetric.

    Args:
        archive: the crystals.
        rows: which (integers).
        alphabets: must hold ``"elements"``.

    Raises:
        ValueError: for an element that the alphabet lacks.
    """
    chosen = archive.select(rows)
    counts = chosen.n_atoms.astype(np.int64)
    b, n = len(counts), int(counts.max(initial=1))
    mask = np.arange(n)[None] < counts[:, None]
    elements = np.zeros((b, n), np.int64)
    fractional = np.zeros((b, n, 3), np.float32)
    lookup = {z: alphabets["elements"].index(PERIODIC_TABLE[int(z)]) for z in np.unique(chosen.atomic_numbers)}
    elements[mask] = np.vectorize(lookup.__getitem__, otypes=[np.int64])(chosen.atomic_numbers)
    fractional[mask] = chosen.frac_coords
    return State(
        mask=torch.from_numpy(mask),
        elements=torch.from_numpy(elements),
        fractional=torch.from_numpy(fractional),
        cell=torch.from_numpy(symmetric_cells(chosen.lattice).astype(np.float32)),
    )


def blank_crystals(n_atoms: Sequence[int], *, device: torch.device | str = "cpu") -> State:
    """Crystals of given atom counts with nothing in them yet, to be filled by the sampler; unit cells of 1 angstrom."""
    counts = torch.tensor(list(n_atoms), dtype=torch.long, device=device)
    mask = torch.arange(int(counts.max()), device=device)[None] < counts[:, None]
    return State(
        mask=mask,
        elements=torch.zeros_like(mask, dtype=torch.long),
        fractional=torch.zeros(*mask.shape, 3, device=device),
        cell=torch.eye(3, device=device).repeat(len(counts), 1, 1),
    )


def group_sizes(counts: np.ndarray, smallest: int) -> list[np.ndarray]:
    """Rows grouped by atom count, neighbouring sizes merged until each group has at least `smallest` rows."""
    groups: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for size in np.unique(counts):
        waiting.append(np.flatnonzero(counts == size))
        if sum(map(len, waiting)) >= smallest:
            groups.append(np.concatenate(waiting))
            waiting = []
    if waiting:
        rest = np.concatenate(waiting)
        # a rare largest size would pad everything below it: keep it apart unless it is tiny
        if groups and len(rest) < max(1, smallest // 4) and counts[rest].max() <= counts[groups[-1]].max() + 2:
            groups[-1] = np.concatenate([groups[-1], rest])
        else:
            groups.append(rest)
    return groups


class Batches:
    """An archive resident on a device, drawn from in batches of one atom count.

    Args:
        archive: the training molecules or crystals.
        alphabets: field name -> alphabet.
        batch: structures a batch (a step of a data-parallel run draws this many a rank).
        seed: with the step and the rank it decides every batch.
        device: where the structures lie.
        aromatic: see `to_state`.

    Raises:
        ValueError: for an empty archive or a batch below 1.
    """

    def __init__(
        self,
        archive: Archive | CrystalArchive,
        alphabets: Mapping[str, Alphabet],
        *,
        batch: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        aromatic: bool = True,
    ) -> None:
        if len(archive) == 0:
            raise ValueError("nothing to train on: the training split is empty")
        if batch < 1:
            raise ValueError(f"a batch needs at least one structure, not {batch}")
        self.batch, self.seed = batch, seed
        self.groups: list[Batch] = []
        for rows in group_sizes(archive.n_atoms, min(batch, len(archive))):
            properties = torch.from_numpy(archive.properties[rows].astype(np.float32)).to(device)
            if isinstance(archive, CrystalArchive):
                state = to_crystal_state(archive, rows, alphabets)
            else:
                state = to_state(archive, rows, alphabets, aromatic=aromatic)
            # symbols are kept small; a batch widens them when it is drawn
            self.groups.append(Batch(narrow(state).to(device), properties))
        self.weights = torch.tensor([len(group.state) for group in self.groups], dtype=torch.float64)

    def size(self, step: int) -> int:
        """Padded atom count of a step, the same on all ranks."""
        return self.groups[self._group(step)].state.size

    def _group(self, step: int) -> int:
        generator = torch.Generator().manual_seed(mix(self.seed, step))
        return int(torch.multinomial(self.weights, 1, generator=generator))

    def draw(self, step: int, *, rank: int = 0) -> Batch:
        """The batch of a step: distinct random structures of one group (all of it where it is smaller)."""
        group = self.groups[self._group(step)]
        generator = torch.Generator().manual_seed(mix(self.seed, step, 1 + rank))
        rows = torch.randperm(len(group.state), generator=generator)[: self.batch].to(group.state.device)
        return Batch(widen(group.state.index(rows)), group.properties[rows])


def mix(*numbers: int) -> int:
    """One 63-bit seed of several numbers (splitmix64), so that nearby ones give unrelated streams."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 27
        state = state * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


def narrow(state: State) -> State:
    """A state with symbols as int8, for keeping many."""
    return state.map(lambda value: value.to(torch.int8) if value.dtype == torch.long else value)


def widen(state: State) -> State:
    """A state with symbols as long again."""
    return state.map(lambda value: value.long() if value.dtype == torch.int8 else value)
