"""The contract between the diffusion processes and the networks: a denoiser is a callable

    denoiser(state, clocks, condition=None, previous=None) -> Prediction

An analytic toy, a user's own network and a guided wrapper all plug in at this one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from moldiff.state import FIELDS, State


@dataclass(frozen=True)
class Clocks:
    """When each field is, and what of it is given.

    Attributes:
        times: field name -> (B,) float in [0, 1]; 0 is data, 1 is noise. A field that is not named stands at 0.
        given: field name -> bool mask of the entries that are exactly data ((B, N), (B, N, N) for bonds, (B,) for the
            cell). A field that is not named has nothing given, unless its clock stands at 0.
    """

    times: Mapping[str, Tensor]
    given: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.times, *self.given) if name not in FIELDS]
        if unknown:
            raise ValueError(f"unknown fields {unknown}: choose from {', '.join(FIELDS)}")

    @staticmethod
    def shared(state: State, t: float | Tensor, *, given: Mapping[str, Tensor] | None = None) -> Clocks:
        """All fields of a state at the same time t (a number or (B,))."""
        time = torch.as_tensor(t, dtype=torch.float32, device=state.device).expand(len(state))
        return Clocks({name: time for name in state.present}, given or {})

    def time(self, name: str, state: State) -> Tensor:
        """(B,) the clock of a field; 0 where it is not named."""
        known = self.times.get(name)
        return torch.zeros(len(state), device=state.device) if known is None else known

    def is_given(self, name: str, state: State) -> Tensor:
        """Bool mask of the given entries of a field, False on padding."""
        entries = state.entries(name)
        known = self.given.get(name)
        return torch.zeros_like(entries) if known is None else known & entries

    def at(self, **times: Tensor) -> Clocks:
        """A copy with some clocks moved."""
        return Clocks({**self.times, **times}, self.given)

    def index(self, rows: Tensor) -> Clocks:
        """The clocks of some rows of the batch."""
        pick = {name: value[rows] for name, value in self.times.items()}
        return Clocks(pick, {name: value[rows] for name, value in self.given.items()})


@dataclass(frozen=True)
class Condition:
    """Target properties of a batch.

    Attributes:
        values: (B, P) float in the units of the checkpoint; ignored where not shown.
        shown: (B, P) bool, which of them the network is told.
    """

    values: Tensor
    shown: Tensor

    def index(self, rows: Tensor) -> Condition:
        """The conditions of some rows of the batch."""
        return Condition(self.values[rows], self.shown[rows])


class Preconditioning(NamedTuple):
    """What turns a raw displacement u into clean positions: clean = skip * positions + out * u.

    `scale` (B, 1, 1) multiplies the input positions; `skip` and `out` are (B, N, 1) and are 1 and 0 for given atoms.
    """

    scale: Tensor
    skip: Tensor
    out: Tensor


class CrystalPreconditioning(NamedTuple):
    """What turns a raw output u (B, 6) into clean invariants of the cell: clean = skip * invariants + out * u.

    `invariants` (B, 6) are the standardised ones of the noisy cell and `scale` multiplies them as an input; `scale`,
    `skip` and `out` are (B, 1), and 1, 1 and 0 where the cell is given.
    """

    scale: Tensor
    skip: Tensor
    out: Tensor
    invariants: Tensor


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says of the clean structure, one entry a field; absent ones are None.

    Attributes:
        positions: (B, N, 3) clean positions in angstrom (a raw network: the displacement u of `Preconditioning`).
        elements, charges: (B, N, K) logits.
        bonds: (B, N, N, K) logits, symmetric.
        fractional: (B, N, 3) clean fractional coordinates; `tangent` (B, N, 3) their velocity d(fractional)/dt.
        cell: (B, 3, 3) symmetric, without gradients; made of `invariants` (B, 6), the standardised invariants of its
            logarithm (a raw network: u of `CrystalPreconditioning`).
        properties: (B, P) predicted properties, standardised.
    """

    positions: Tensor | None = None
    elements: Tensor | None = None
    charges: Tensor | None = None
    bonds: Tensor | None = None
    fractional: Tensor | None = None
    tangent: Tensor | None = None
    cell: Tensor | None = None
    invariants: Tensor | None = None
    properties: Tensor | None = None

    def map(self, function: Any) -> Prediction:
        """A copy with a function applied to each tensor that is there."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Prediction(**{k: None if v is None else function(v) for k, v in values.items()})

    def detach(self) -> Prediction:
        """A copy cut from the gradient graph."""
        return self.map(Tensor.detach)

    def index(self, rows: Tensor) -> Prediction:
        """The predictions of some rows of the batch."""
        return self.map(lambda value: value[rows])


class Denoiser(Protocol):
    """Anything that guesses the clean structure behind a noisy one."""

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None = None,
        previous: Prediction | None = None,
    ) -> Prediction:
        """Guess the clean structure.

        Args:
            state: the noisy batch; hidden symbols have the index K of their alphabet.
            clocks: the time of each field and what is given.
            condition: target properties, or None for unconditional.
            previous: the last Prediction of the same trajectory, for self-conditioning.
        """
        ...


class Network(Protocol):
    """A raw network: as a Denoiser, but told its preconditioning and answering with raw outputs.

    It is told a `Preconditioning` for molecules and a `CrystalPreconditioning` for crystals.
    """

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Any,
    ) -> Prediction:
        """Raw outputs: ``positions`` is the displacement u, symbols are logits; crystals: see `Prediction`."""
        ...
