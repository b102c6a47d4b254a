"""The first features of atoms and pairs: symbols, distances at several scales, the previous guess, what is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from moldiff.config import NetworkConfig
from moldiff.denoiser import Clocks, Preconditioning, Prediction
from moldiff.networks.layers import LogRadial, linear
from moldiff.state import Alphabet, State


def symbols_and_guess(symbols: Tensor, guess: Tensor | None, size: int) -> Tensor:
    """One-hot symbols with a slot for hidden, beside the probabilities of the previous guess; (..., 2 K + 1)."""
    shown = functional.one_hot(symbols.clamp_max(size), size + 1)
    dtype = torch.float32 if guess is None else guess.dtype
    probable = torch.zeros(*symbols.shape, size, device=symbols.device, dtype=dtype)
    if guess is not None:
        probable = guess.to(torch.promote_types(dtype, torch.float32)).softmax(-1).to(dtype)
    return torch.cat([shown.to(dtype), probable], -1)


@final
class AtomFeatures(nn.Module):
    """First scalars (B, N, C) of atoms from elements, charges (molecules), their guess and what is given."""

    def __init__(self, config: NetworkConfig, alphabets: Mapping[str, Alphabet]) -> None:
        super().__init__()
        self.sizes = {name: len(alphabets[name]) for name in ("elements", "charges") if name in alphabets}
        inputs = sum(2 * size + 2 for size in self.sizes.values()) + 1
        self.embed = nn.Sequential(linear(inputs, config.scalars), nn.SiLU(), linear(config.scalars, config.scalars))

    def forward(self, state: State, clocks: Clocks, previous: Prediction | None) -> Tensor:
        """First scalars of atoms."""
        dtype = next(self.parameters()).dtype
        place = "fractional" if state.positions is None else "positions"
        parts = [clocks.is_given(place, state).unsqueeze(-1).to(dtype)]
        for name, size in self.sizes.items():
            guess = None if previous is None else getattr(previous, name)
            parts.append(symbols_and_guess(state.field(name), guess, size).to(dtype))
            parts.append(clocks.is_given(name, state).unsqueeze(-1).to(dtype))
        result: Tensor = self.embed(torch.cat(parts, -1))
        return result


class Pairs(NamedTuple):
    """What is known of the pairs of a molecule before the first block, (B, N, N) unless said.

    Attributes:
        squared, scaled, guessed: squared distances of the input, of the input at unit variance, and of the previous
            guess if there is one.
        symbols: bonds, hidden ones as the last symbol.
        guess: (B, N, N, K) logits of the previous guess if there is one.
        given, known: whether both positions and whether the bond are given.
    """

    squared: Tensor
    scaled: Tensor
    guessed: Tensor | None
    symbols: Tensor
    guess: Tensor | None
    given: Tensor
    known: Tensor

    @staticmethod
    def of(
        state: State,
        clocks: Clocks,
        previous: Prediction | None,
        squared: Tensor,
        guessed: Tensor | None,
        preconditioning: Preconditioning,
    ) -> Pairs:
        """The pairs of a State; `squared`, `guessed`: squared distances of the input and of the guess."""
        atoms = clocks.is_given("positions", state)
        return Pairs(
            squared=squared,
            scaled=squared * preconditioning.scale**2,
            guessed=guessed,
            symbols=state.field("bonds"),
            guess=None if previous is None else previous.bonds,
            given=atoms[:, :, None] & atoms[:, None, :],
            known=clocks.is_given("bonds", state),
        )


@final
class PairFeatures(nn.Module):
    """First scalars (B, N, N, P) of pairs.

    Distances are seen three times: as they are (log-spaced up to the largest noise, so that given atoms stay visible),
    scaled to unit variance, and in the previous guess of the clean structure.
    """

    def __init__(self, config: NetworkConfig, alphabets: Mapping[str, Alphabet]) -> None:
        super().__init__()
        self.size = len(alphabets["bonds"])
        self.raw = LogRadial(0.4, 400.0, 2 * config.radial)
        self.scaled = LogRadial(0.05, 5.0, config.radial)
        self.guessed = LogRadial(0.4, 20.0, config.radial)
        inputs = 4 * config.radial + 2 * self.size + 3
        self.embed = nn.Sequential(linear(inputs, config.pairs), nn.SiLU(), linear(config.pairs, config.pairs))

    def forward(self, pairs: Pairs) -> Tensor:
        """First scalars of pairs."""
        dtype = self.embed[0].weight.dtype
        radial = [self.raw(pairs.squared), self.scaled(pairs.scaled)]
        radial.append(torch.zeros_like(radial[1]) if pairs.guessed is None else self.guessed(pairs.guessed))
        parts = [
            *radial,
            symbols_and_guess(pairs.symbols, pairs.guess, self.size),
            pairs.given.unsqueeze(-1),
            pairs.known.unsqueeze(-1),
        ]
        result: Tensor = self.embed(torch.cat([part.to(dtype) for part in parts], -1))
        return result
