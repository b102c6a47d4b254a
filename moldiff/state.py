"""State: a padded batch of structures, the one type that all parts of the library share.

Glossary of the shape letters used in every docstring: **B** structures in a batch, **N** atoms a structure (the largest
of the batch; smaller structures are padded), **K** symbols of an alphabet. Lengths are in angstrom. The *clock* of a
field runs from t = 0 (data) to t = 1 (noise).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Every field a structure can have, in the order in which they are stepped and stored.
FIELDS = ("positions", "fractional", "cell", "elements", "charges", "bonds")
#: Fields whose values are symbols of an alphabet.
SYMBOL_FIELDS = ("elements", "charges", "bonds")
#: The bond symbols of every molecular alphabet; the index of the first four is the bond order.
BOND_SYMBOLS = ("none", "single", "double", "triple", "aromatic")


@dataclass(frozen=True)
class Alphabet:
    """An ordered set of K symbols; a State stores their indices 0..K-1, and K for a hidden (masked) symbol.

    Args:
        symbols: distinct names, for example ``("H", "C", "N", "O")`` or ``("-1", "0", "1")``.

    Raises:
        ValueError: for no symbols or for repeated ones.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise ValueError(f"an alphabet needs one or more distinct symbols, not {self.symbols!r}")

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def hidden(self) -> int:
        """The index that stands for a hidden symbol, K."""
        return len(self.symbols)

    def index(self, symbol: str) -> int:
        """Index of one symbol.

        Raises:
            ValueError: if the alphabet lacks it; the message lists those it has.
        """
        try:
            return self.symbols.index(symbol)
        except ValueError:
            raise ValueError(f"unknown symbol {symbol!r}: this alphabet has {', '.join(self.symbols)}") from None

    def encode(self, symbols: Sequence[str]) -> Tensor:
        """Indices (len(symbols),) of a sequence of symbols."""
        return torch.tensor([self.index(symbol) for symbol in symbols], dtype=torch.long)

    def decode(self, indices: Tensor | Sequence[int]) -> list[str]:
        """Symbols of a sequence of indices; a hidden one reads ``"?"``."""
        return [self.symbols[i] if i < len(self.symbols) else "?" for i in map(int, indices)]


@dataclass(frozen=True)
class State:
    """A batch of B structures of at most N atoms, dense and padded. Absent fields are None.

    Attributes:
        mask: (B, N) bool, True where there is an atom.
        positions: (B, N, 3) float, angstrom; origin at the centre of mass of unit masses, or at the centroid of the
            given atoms where any is given; zero on padding.
        elements: (B, N) long, index into the element alphabet.
        charges: (B, N) long, index into the alphabet of formal charges.
        bonds: (B, N, N) long, symmetric, index into `BOND_SYMBOLS`; 0 (none) on the diagonal and on padding.
        fractional: (B, N, 3) float in [0, 1).
        cell: (B, 3, 3) float, angstrom, rows a, b, c as in ASE.
    """

    mask: Tensor
    positions: Tensor | None = None
    elements: Tensor | None = None
    charges: Tensor | None = None
    bonds: Tensor | None = None
    fractional: Tensor | None = None
    cell: Tensor | None = None

    def __len__(self) -> int:
        return self.mask.shape[0]

    @property
    def size(self) -> int:
        """N, the padded number of atoms."""
        return self.mask.shape[1]

    @property
    def device(self) -> torch.device:
        """The device on which the batch lies."""
        return self.mask.device

    @property
    def n_atoms(self) -> Tensor:
        """(B,) long, atoms of each structure."""
        return self.mask.sum(1)

    @property
    def pair_mask(self) -> Tensor:
        """(B, N, N) bool, True where both atoms exist and differ."""
        both = self.mask[:, :, None] & self.mask[:, None, :]
        return both & ~torch.eye(self.size, dtype=torch.bool, device=self.device)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the fields this batch has, in the order of `FIELDS`."""
        return tuple(name for name in FIELDS if getattr(self, name) is not None)

    def field(self, name: str) -> Tensor:
        """The tensor of a field.

        Raises:
            ValueError: if the batch has no such field.
        """
        value = getattr(self, name, None) if name in FIELDS else None
        if value is None:
            raise ValueError(f"this state has no field {name!r}: it has {', '.join(self.present) or 'none'}")
        return value

    def entries(self, name: str) -> Tensor:
        """Bool mask of the entries of a field that exist: (B, N), (B, N, N) for bonds, (B,) for the cell."""
        if name == "bonds":
            return self.pair_mask
        if name == "cell":
            return self.mask.any(1)
        return self.mask

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """A copy with a function applied to the mask and to every field."""
        return self._map_named(lambda _, value: function(value))

    def _map_named(self, function: Callable[[str, Tensor], Tensor]) -> State:
        names = ("mask", *self.present)
        return State(**{name: function(name, getattr(self, name)) for name in names})

    def to(self, target: torch.device | str | torch.dtype) -> State:
        """A copy on another device, or with coordinates and cells of another floating type."""
        if isinstance(target, torch.dtype):
            return self.map(lambda value: value.to(target) if value.is_floating_point() else value)
        return self.map(lambda value: value.to(target))

    def clone(self) -> State:
        """A copy that shares no memory."""
        return self.map(torch.clone)

    def replace(self, **changes: Tensor | None) -> State:
        """A copy with some fields exchanged."""
        return replace(self, **changes)  # type: ignore[arg-type]  # the mask is never None

    def index(self, rows: Tensor | Sequence[int] | slice) -> State:
        """The structures of some rows, still padded to the same N."""
        if not isinstance(rows, slice | Tensor):
            rows = torch.as_tensor(rows, dtype=torch.long, device=self.device)
        return self.map(lambda value: value[rows])

    def pad(self, size: int) -> State:
        """A copy padded with absent atoms to ``size`` >= N atoms.

        Raises:
            ValueError: if ``size`` is smaller than N.
        """
        extra = size - self.size
        if extra < 0:
            raise ValueError(f"cannot pad {self.size} atoms to {size}: choose a size of at least {self.size}")

        def grow(name: str, value: Tensor) -> Tensor:
            if name == "cell" or extra == 0:
                return value
            axes = (1, 2) if name == "bonds" else (1,)
            for axis in axes:
                shape = list(value.shape)
                shape[axis] = extra
                value = torch.cat([value, value.new_zeros(shape)], axis)
            return value

        return self._map_named(grow)

    @staticmethod
    def concatenate(states: Sequence[State]) -> State:
        """One batch of several, padded to the largest N.

        Raises:
            ValueError: for no states or for states with different fields.
        """
        if not states:
            raise ValueError("nothing to concatenate: give at least one State")
        if len({state.present for state in states}) > 1:
            raise ValueError(f"states with different fields: {sorted({state.present for state in states})}")
        size = max(state.size for state in states)
        padded = [state.pad(size) for state in states]
        return padded[0]._map_named(lambda name, _: torch.cat([getattr(state, name) for state in padded]))

    def check(self, alphabets: dict[str, Alphabet] | None = None) -> State:
        """The state itself after testing shapes, types, finiteness, symmetry and, if given, the alphabets.

        Raises:
            ValueError: naming the field and the offending value.
        """
        if self.mask.ndim != 2 or self.mask.dtype != torch.bool:
            raise ValueError(f"mask must be bool (B, N), not {self.mask.dtype} {tuple(self.mask.shape)}")
        b, n = self.mask.shape
        shapes = {"positions": (b, n, 3), "fractional": (b, n, 3), "cell": (b, 3, 3), "bonds": (b, n, n)}
        for name in self.present:
            value, shape = self.field(name), shapes.get(name, (b, n))
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must have the shape {shape}, not {tuple(value.shape)}")
            if name not in SYMBOL_FIELDS:
                if not torch.isfinite(value).all():
                    raise ValueError(f"{name} holds {int((~torch.isfinite(value)).sum())} values that are not finite")
                continue
            if value.dtype != torch.long:
                raise ValueError(f"{name} must be torch.long, not {value.dtype}")
            largest = alphabets[name].hidden if alphabets and name in alphabets else None
            if (value < 0).any() or (largest is not None and (value > largest).any()):
                raise ValueError(f"{name} holds {int(value.min())}..{int(value.max())}, allowed are 0..{largest}")
        if self.bonds is not None:
            if not torch.equal(self.bonds, self.bonds.transpose(1, 2)):
                raise ValueError("bonds are not symmetric: set bonds[b, i, j] and bonds[b, j, i] alike")
            if (self.bonds[~self.pair_mask] != 0).any():
                raise ValueError("bonds of absent atoms or of an atom with itself must be 0 (none)")
        return self


def centroid(positions: Tensor, atoms: Tensor) -> Tensor:
    """Mean position (B, 1, 3) over the atoms (B, N) that are True; zero where none is."""
    weight = atoms.to(positions.dtype).unsqueeze(-1)
    return (positions * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)


def centred(positions: Tensor, mask: Tensor, given: Tensor | None = None) -> Tensor:
    """Positions (B, N, 3) with the origin at the centroid of the given atoms, or of all where none is given."""
    origin_atoms = mask if given is None else torch.where(given.any(1, keepdim=True), given & mask, mask)
    return torch.where(mask.unsqueeze(-1), positions - centroid(positions, origin_atoms), 0.0)
