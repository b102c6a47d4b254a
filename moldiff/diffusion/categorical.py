"""Absorbing (masked) diffusion of symbols in continuous time (Austin et al. 2021; Campbell et al. 2024).

A symbol is hidden with probability m(t) = clamp((t - begin) / (end - begin), 0, 1). Sampling shows symbols as m falls,
and with rate eta hides shown ones again so that early mistakes can be mended; the share hidden follows m(t) either way.

Several symbols shown in one step are drawn independently, and may contradict each other. With a confidence above 0 the
draws that the network finds likely are shown first, and an unlikely one is put off and drawn again later, when more is
known (Chang et al. 2022, MaskGIT). This is exact no longer: it sharpens the distribution, so watch diversity with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from moldiff.config import CategoricalConfig
from moldiff.denoiser import Clocks, Prediction
from moldiff.diffusion.process import mean_where, uniform
from moldiff.diffusion.schedule import hidden_share
from moldiff.state import SYMBOL_FIELDS, Alphabet, State


@final
class CategoricalProcess:
    """Masked diffusion of elements, charges or bonds; pairs are drawn once and mirrored.

    Args:
        field: ``"elements"``, ``"charges"`` or ``"bonds"``.
        alphabet: its symbols.
        config: when symbols are hidden.
        remask: rate eta at which shown symbols are hidden again per unit of the clock while stepping.
        temperature: divides the logits before symbols are drawn.
        cooled: part of the temperature that leaves rare symbols as frequent as they are; see `tempered`.
        shares: of each symbol but the first in the data; empty where they are not known.
        confidence: weight of the draws' log-probabilities in the order in which they are shown; 0 is random order.

    Raises:
        ValueError: for another field, an empty window or shares of other symbols.
    """

    def __init__(
        self,
        field: str,
        alphabet: Alphabet,
        *,
        config: CategoricalConfig | None = None,
        remask: float = 0.0,
        temperature: float = 1.0,
        cooled: float = 1.0,
        shares: Sequence[float] = (),
        confidence: float = 0.0,
    ) -> None:
        config = config or CategoricalConfig()
        if field not in SYMBOL_FIELDS:
            raise ValueError(f"{field!r} holds no symbols: choose from {', '.join(SYMBOL_FIELDS)}")
        if not 0 <= config.begin < config.end <= 1:
            raise ValueError(f"the window must satisfy 0 <= begin < end <= 1, not {config.begin}..{config.end}")
        self.field = field
        self.alphabet = alphabet
        self.config = config
        self.remask = remask
        self.temperature = temperature
        if shares and len(shares) != len(alphabet) - 1:
            raise ValueError(f"{len(shares)} shares of {field} are given, its alphabet needs {len(alphabet) - 1}")
        # what cooling must not divide, for the logits; see `tempered`
        self._kept = (cooled - 1) * torch.tensor([max(shares), *shares]).log() if shares and cooled != 1 else None
        self.confidence = confidence

    def share(self, t: Tensor) -> Tensor:
        """Probability m (B,) that a symbol is hidden at clocks (B,)."""
        return hidden_share(t, self.config.begin, self.config.end)

    def _per_entry(self, value: Tensor) -> Tensor:
        """(B,) to a shape that broadcasts over the field's entries."""
        return value[:, None, None] if self.field == "bonds" else value[:, None]

    def _uniform(self, symbols: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform numbers an entry; the same for (i, j) and (j, i)."""
        u = uniform(symbols.shape, generator, symbols.device)
        if self.field == "bonds":
            upper = u.triu(1)
            u = upper + upper.transpose(1, 2)
        return u

    def _free(self, state: State, clocks: Clocks) -> Tensor:
        return state.entries(self.field) & ~clocks.is_given(self.field, state)

    def prior(self, state: State, clocks: Clocks, *, generator: torch.Generator) -> Tensor:
        """Every symbol hidden, but the given ones."""
        return torch.where(self._free(state, clocks), self.alphabet.hidden, state.field(self.field))

    def corrupt(
        self, state: State, clocks: Clocks, t_from: Tensor, t_to: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Symbols further hidden, so that the share hidden goes from m(t_from) to m(t_to)."""
        symbols = state.field(self.field)
        m_from, m_to = self.share(t_from), self.share(t_to)
        hide = ((m_to - m_from) / (1 - m_from).clamp_min(1e-9)).clamp(0, 1)
        chosen = self._uniform(symbols, generator) < self._per_entry(hide)
        return torch.where(chosen & self._free(state, clocks), self.alphabet.hidden, symbols)

    def logits(self, prediction: Prediction) -> Tensor:
        """The prediction's logits of this field.

        Raises:
            ValueError: if it has none or another number of symbols.
        """
        logits = getattr(prediction, self.field)
        if logits is None or logits.shape[-1] != len(self.alphabet):
            shape = None if logits is None else tuple(logits.shape)
            raise ValueError(f"the prediction needs {len(self.alphabet)} logits of {self.field}, it has {shape}")
        return logits

    def loss(self, prediction: Prediction, truth: State, noisy: State, clocks: Clocks) -> Tensor:
        """Cross-entropy of the hidden symbols, a mean over them; (B,)."""
        symbols = noisy.field(self.field)
        hidden = (symbols == self.alphabet.hidden) & self._free(noisy, clocks)
        logits = self.logits(prediction).float()
        target = torch.where(hidden, truth.field(self.field), 0)
        entropy = functional.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
        return mean_where(entropy.view_as(target), hidden)

    def divergence(self, prediction: Prediction, told: Prediction, noisy: State, clocks: Clocks) -> Tensor:
        """Kullback-Leibler divergence of the predicted probabilities from those of `told`, a mean over hidden symbols.

        (B,); for learning from a trained model.
        """
        hidden = (noisy.field(self.field) == self.alphabet.hidden) & self._free(noisy, clocks)
        target = self.logits(told).float().log_softmax(-1)
        guess = self.logits(prediction).float().log_softmax(-1)
        return mean_where((target.exp() * (target - guess)).sum(-1), hidden)

    def tempered(self, logits: Tensor) -> Tensor:
        """Logits (..., K) of the probabilities that symbols are drawn with.

        By Bayes a logit is the logarithm of a symbol's share in the data and what the network saw for it. A temperature
        T below 1 divides both and makes rare symbols rarer; the part c of it that was cooled divides the second alone:
        (logit + (c - 1) ln(share)) / T. The first symbol counts as frequent as the most frequent other one, so that
        whether there is a bond at all is sharpened whole. Without shares all is divided.
        """
        logits = logits.float()
        if self._kept is not None:
            self._kept = self._kept.to(logits.device)
            logits = logits + self._kept
        return logits / self.temperature

    def draw(self, logits: Tensor, *, generator: torch.Generator) -> Tensor:
        """Symbols from logits (..., K) by inverse transform; symmetric for bonds.

        A symbol whose logit is -inf is never drawn.
        """
        cumulative = self.tempered(logits).softmax(-1).cumsum(-1)
        # u < total keeps a rounding of the last sum below 1 from choosing a forbidden last symbol.
        u = self._uniform(logits[..., 0], generator) * cumulative[..., -1]
        u = torch.minimum(u, cumulative[..., -1] * (1 - 1e-6))
        return (cumulative <= u.unsqueeze(-1)).sum(-1).clamp_max(len(self.alphabet) - 1)

    def step(
        self,
        state: State,
        prediction: Prediction,
        clocks: Clocks,
        t_from: Tensor,
        t_to: Tensor,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Show some hidden symbols and hide some shown ones, so that the share hidden goes from m(t_from) to m(t_to).

        A shown symbol is hidden with r = min(eta dt, m_to / (1 - m_from)); a hidden one is drawn with
        (m_from - m_to + (1 - m_from) r) / m_from. The bound on r keeps the second at most 1.
        """
        symbols = state.field(self.field)
        m_from, m_to = self.share(t_from), self.share(t_to)
        free = self._free(state, clocks)
        hide = torch.minimum(self.remask * (t_from - t_to), m_to / (1 - m_from).clamp_min(1e-9)).clamp(0, 1)
        show = ((m_from - m_to + (1 - m_from) * hide) / m_from.clamp_min(1e-9)).clamp(0, 1)
        # at clock 0 nothing stays hidden, whatever rounding did before
        show = torch.where(t_to <= 0, 1.0, show)
        hidden = symbols == self.alphabet.hidden
        u = self._uniform(symbols, generator)
        logits = self.logits(prediction)
        drawn = self.draw(logits, generator=generator)
        if self.confidence > 0:
            shown = self._surest(logits, drawn, hidden & free, show, generator=generator)
        else:
            shown = hidden & (u < self._per_entry(show))
        after = torch.where(shown, drawn, symbols)
        after = torch.where(~hidden & (u < self._per_entry(hide)), self.alphabet.hidden, after)
        return torch.where(free, after, symbols)

    def _surest(
        self, logits: Tensor, drawn: Tensor, hidden: Tensor, show: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """The share `show` (B,) of the hidden entries whose draws are likeliest, with Gumbel noise on the order.

        The number of entries is rounded up or down at random, so that its mean is right.
        """
        likely = logits.float().log_softmax(-1).gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        gumbel = -torch.log(-torch.log(self._uniform(hidden, generator).clamp(1e-9, 1 - 1e-7)))
        candidates = (hidden.triu(1) if self.field == "bonds" else hidden).flatten(1)
        score = (self.confidence * likely + gumbel).flatten(1).masked_fill(~candidates, -torch.inf)
        wanted = show * candidates.sum(1)
        count = (wanted + uniform(wanted.shape, generator, wanted.device)).floor().long()
        least = score.sort(1, descending=True).values.gather(1, (count - 1).clamp_min(0)[:, None])
        chosen = ((score >= least) & (count > 0)[:, None] & candidates).view_as(hidden)
        return chosen | chosen.transpose(1, 2) if self.field == "bonds" else chosen
