"""Clocks and target properties as one embedding a structure, and the drop-out of properties in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from moldiff.denoiser import Clocks, Condition
from moldiff.state import State


def waves(x: Tensor, count: int = 8) -> Tensor:
    """Sines and cosines (..., 2 count) of x at octaves from half a turn a unit upwards."""
    angles = x.unsqueeze(-1) * (math.pi * 2.0 ** torch.arange(count, device=x.device, dtype=x.dtype))
    return torch.cat([angles.sin(), angles.cos()], -1)


@final
class Conditioning(nn.Module):
    """Embed the clock of each field, the atom count, whether there is a previous guess, and the shown properties.

    Args:
        fields: fields with a clock.
        properties: number of properties P.
        width: size of the embedding.
        classes: a property each: 0 for a number, else the count of its classes, whose values are 1..classes.
        extra: more numbers a structure that are embedded with the clocks.
    """

    def __init__(
        self,
        fields: Sequence[str],
        properties: int,
        width: int,
        *,
        classes: Sequence[int] = (),
        extra: int = 0,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes) or (0,) * properties
        if len(self.classes) != properties:
            raise ValueError(f"{properties} properties need as many class counts, not {self.classes}")
        self.fields, self.properties = tuple(fields), properties
        self.register_buffer("mean", torch.zeros(properties))
        self.register_buffer("deviation", torch.ones(properties))
        numbers = torch.tensor([count == 0 for count in self.classes], dtype=torch.bool)
        self.register_buffer("numbers", numbers, persistent=False)
        # waves of each clock and of the atom count; three flags a field: nothing, some, all of it given
        inputs = 16 * (len(self.fields) + 1) + 2 * len(self.fields) + 1 + extra
        self.clock = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
        self.value = nn.Parameter(torch.randn(properties, 16, width, generator=torch.Generator().manual_seed(0)) * 0.1)
        self.absent = nn.Parameter(torch.zeros(properties, width))
        self.tables = nn.ModuleDict()
        for column, count in enumerate(self.classes):
            if count:
                self.tables[str(column)] = nn.Embedding(count + 1, width)
        self.last = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def standardise(self, values: Tensor) -> Tensor:
        """Properties (B, P) in units of their deviation in training, from their mean."""
        return (values - cast(Tensor, self.mean)) / cast(Tensor, self.deviation)

    def forward(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        *,
        has_guess: bool,
        extra: Tensor | None = None,
    ) -> Tensor:
        """The embedding (B, width); `extra` (B, extra)."""
        dtype = self.absent.dtype
        parts = [waves(clocks.time(name, state).to(dtype)) for name in self.fields]
        parts.append(waves(torch.log(state.n_atoms.to(dtype)) / 8))
        for name in self.fields:
            given = clocks.is_given(name, state).reshape(len(state), -1)
            entries = state.entries(name).reshape(len(state), -1)
            some = given.any(1)
            parts.append(torch.stack([some, some & (given.sum(1) == entries.sum(1))], -1).to(dtype))
        parts.append(torch.full((len(state), 1), float(has_guess), device=state.device, dtype=dtype))
        if extra is not None:
            parts.append(extra.to(dtype))
        embedding = self.clock(torch.cat(parts, -1))
        if self.properties:
            told = self.absent.sum(0).expand_as(embedding)
            if condition is not None:
                asked = condition.values.shape[-1]
                if asked != self.properties:
                    raise ValueError(f"this network knows {self.properties} properties, not {asked}")
                z = torch.where(condition.shown, self.standardise(condition.values.to(dtype)), 0.0)
                # tanh keeps far targets in the range of the waves; the linear term keeps their order
                code = torch.cat([waves(torch.tanh(z / 3) / 2, 7), torch.stack([z, torch.ones_like(z)], -1)], -1)
                shown = torch.einsum("bpk,pkw->bpw", code, self.value)
                if len(self.tables):
                    columns = list(shown.unbind(1))
                    for name, table in self.tables.items():
                        column = int(name)
                        kind = condition.values[:, column].round().long().clamp(0, self.classes[column])
                        columns[column] = table(kind).to(shown.dtype)
                    shown = torch.stack(columns, 1)
                told = torch.where(condition.shown.unsqueeze(-1), shown, self.absent).sum(1)
            embedding = embedding + told
        return cast(Tensor, self.last(embedding))


def drop_properties(values: Tensor, *, none: float = 0.4, generator: torch.Generator) -> Condition:
    """Which properties (B, P) a training structure shows: none, or else one or a subset of uniform size, equally often.

    Unknown values (NaN) are never shown. `none`: share of structures that show none.
    """
    b, p = values.shape
    u = torch.rand((2, b), generator=generator, device=generator.device).to(values.device)
    order = torch.rand((b, p), generator=generator, device=generator.device).to(values.device).argsort(1).argsort(1)
    subset = 1 + (u[1] * p).long().clamp_max(max(p - 1, 0))
    size = torch.where(u[0] < none, 0, torch.where(u[0] < (1 + none) / 2, 1, subset))
    shown = (order < size[:, None]) & torch.isfinite(values)
    return Condition(torch.nan_to_num(values), shown)
