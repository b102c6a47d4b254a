"""Constraints that are never violated: allowed symbols, exact or least counts of elements, net charge.

Forbidden symbols are a mask on the logits. Counts and sums couple the entries of a structure, so the hidden ones are
drawn together, from the product of the predicted probabilities restricted to what satisfies the constraint. That is
exact by dynamic programming over a small automaton (for a charge: the sum so far), which looks ahead to what the
remaining entries can still mend. The sampler shows any subset of such a draw; what is shown can therefore always be
completed, and hiding symbols again only widens the choice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.process import uniform
from moldiff.diffusion.sampler import Step
from moldiff.state import State

#: Log-probability that an allowed symbol keeps, however sure the denoiser is that it is wrong.
FLOOR = -60.0
#: Most states of an automaton.
LARGEST = 20_000


@dataclass(frozen=True)
class Automaton:
    """What a field's symbols, read one by one, must add up to.

    Attributes:
        next: (S, K) long, the state after reading a symbol; -1 where that breaks the constraint for good.
        accept: (S,) bool, states in which the constraint is met. Reading starts in state 0.
    """

    next: Tensor
    accept: Tensor


def exact_counts(counts: Sequence[int]) -> Automaton:
    """Exactly so many of each of K symbols.

    Raises:
        ValueError: if there are too many combinations to keep track of.
    """
    states = math.prod(count + 1 for count in counts)
    if states > LARGEST:
        raise ValueError(f"counts {tuple(counts)} make {states} combinations: at most {LARGEST} are kept track of")
    return _counting(counts, exact=True)


def least_counts(counts: Sequence[int]) -> Automaton:
    """At least so many of each of K symbols."""
    return _counting(counts, exact=False)


def _counting(counts: Sequence[int], *, exact: bool) -> Automaton:
    grid = list(itertools.product(*[range(count + 1) for count in counts]))
    place = {state: i for i, state in enumerate(grid)}
    table = torch.full((len(grid), len(counts)), -1, dtype=torch.long)
    for state, i in place.items():
        for k, most in enumerate(counts):
            if state[k] < most:
                table[i, k] = place[(*state[:k], state[k] + 1, *state[k + 1 :])]
            elif not exact:
                table[i, k] = i
    accept = torch.zeros(len(grid), dtype=torch.bool)
    accept[-1] = True
    return Automaton(table, accept)


def exact_sum(values: Sequence[int], total: int, *, entries: int) -> Automaton:
    """Values of K symbols that add up to a total over at most so many entries."""
    low, high = entries * min(*values, 0), entries * max(*values, 0)
    # state 0 is the sum 0, then the others in order
    sums = sorted(range(low, high + 1), key=abs)
    place = {value: i for i, value in enumerate(sums)}
    table = torch.tensor([[place.get(value + step, -1) for step in values] for value in sums])
    return Automaton(table, torch.tensor([value == total for value in sums]))


def draw_satisfying(
    log_p: Tensor, mask: Tensor, automaton: Automaton, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Symbols of every structure from the product of their probabilities, given that an automaton accepts them.

    Args:
        log_p: (B, N, K) log-probabilities, -inf for what must not be; a known symbol is 0 in its place, -inf elsewhere.
        mask: (B, N) bool, False on padding, which is not read.
        automaton: the constraint.
        generator: random numbers.

    Returns:
        symbols (B, N) long and whether the structure could be satisfied at all (B,); where not, symbols mean nothing.
    """
    table, accept = automaton.next.to(log_p.device), automaton.accept.to(log_p.device)
    log_p, b, n = log_p.double(), log_p.shape[0], log_p.shape[1]
    dead = table < 0
    target = table.clamp_min(0)
    # ahead[i][b, s]: log-probability that the entries from i on lead from state s to acceptance
    ahead = [torch.where(accept, 0.0, -math.inf).double().expand(b, -1)]
    for i in range(n - 1, -1, -1):
        after = torch.where(dead, -math.inf, ahead[-1][:, target])
        through = torch.logsumexp(log_p[:, i, None, :] + after, -1)
        ahead.append(torch.where(mask[:, i, None], through, ahead[-1]))
    ahead.reverse()
    state = torch.zeros(b, dtype=torch.long, device=log_p.device)
    rows = torch.arange(b, device=log_p.device)
    possible = ahead[0][:, 0] > -math.inf
    u = uniform((b, n), generator, log_p.device).double()
    symbols = torch.zeros(b, n, dtype=torch.long, device=log_p.device)
    for i in range(n):
        after = torch.where(dead[state], -math.inf, ahead[i + 1][rows[:, None], target[state]])
        weight = (log_p[:, i] + after - ahead[i][rows, state, None]).exp().nan_to_num(0.0)
        cumulative = weight.cumsum(-1)
        chosen = (cumulative <= (u[:, i] * cumulative[:, -1]).unsqueeze(-1)).sum(-1)
        # rounding must not choose what has no weight: the last symbol with any is the largest allowed
        last = weight.shape[-1] - 1 - (weight > 0).flip(-1).long().argmax(-1)
        chosen = torch.minimum(chosen, last)
        symbols[:, i] = torch.where(mask[:, i], chosen, 0)
        state = torch.where(mask[:, i], target[state, chosen], state)
    return symbols, possible


@dataclass(frozen=True)
class Constraints:
    """What the symbols of every structure must satisfy.

    Attributes:
        allowed: field -> (K,) bool, the symbols that may be drawn.
        coupled: field -> `Automaton` over the atoms of a structure (elements or charges).
    """

    allowed: Mapping[str, Tensor] = field(default_factory=dict)
    coupled: Mapping[str, Automaton] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.allowed) or bool(self.coupled)


@final
class Constrained:
    """A denoiser under constraints, and the callback that goes with it.

    Called as a denoiser it gives masked logits, and for coupled fields one joint draw, sure of itself. Such a draw
    would mislead the network as a previous guess, so `restore`, the callback, hands the soft guess back to the sampler.

    Args:
        denoiser: to be constrained; wrap it in all other guidance first.
        constraints: what must hold.
        generator: random numbers of the joint draws.
        temperature: divides the logits of coupled fields, as `SamplerConfig.temperature` does those of the others.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        constraints: Constraints,
        *,
        generator: torch.Generator,
        temperature: float = 1.0,
    ) -> None:
        self.denoiser, self.constraints = denoiser, constraints
        self.generator, self.temperature = generator, temperature
        self._soft: Prediction | None = None

    def __call__(
        self, state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
    ) -> Prediction:
        """The constrained prediction; see the class.

        Raises:
            ValueError: if what is given or shown cannot satisfy the constraints.
        """
        guess = self.denoiser(state, clocks, condition, previous)
        values = {name: getattr(guess, name) for name in guess.__dataclass_fields__}
        for name, allowed in self.constraints.allowed.items():
            values[name] = self._masked(values[name], name, allowed, state, clocks)
        self._soft = Prediction(**values)
        for name, automaton in self.constraints.coupled.items():
            values[name] = self._joint(values[name], name, automaton, state, clocks)
        return Prediction(**values)

    def _masked(self, logits: Tensor, name: str, allowed: Tensor, state: State, clocks: Clocks) -> Tensor:
        # a denoiser that rules out all that is allowed is overruled
        log = (logits.float().log_softmax(-1)).clamp_min(FLOOR).masked_fill(~allowed.to(logits.device), -math.inf)
        # what is given is not drawn, and stays as it is
        return torch.where(clocks.is_given(name, state).unsqueeze(-1), logits.float(), log)

    def _joint(self, logits: Tensor, name: str, automaton: Automaton, state: State, clocks: Clocks) -> Tensor:
        symbols, k = state.field(name), logits.shape[-1]
        allowed = self.constraints.allowed.get(name)
        log = (logits.float() / self.temperature).log_softmax(-1).clamp_min(FLOOR)
        if allowed is not None:
            log = log.masked_fill(~allowed.to(log.device), -math.inf)
        known = torch.nn.functional.one_hot(symbols.clamp_max(k - 1), k).bool()
        log = torch.where((symbols < k).unsqueeze(-1), torch.where(known, 0.0, -math.inf), log)
        drawn, possible = draw_satisfying(log, state.mask, automaton, generator=self.generator)
        if not bool(possible.all()):
            raise ValueError(
                f"the constraint on {name} cannot be met by {int((~possible).sum())} of {len(state)} structures: "
                "check it against the atom counts and what is given"
            )
        chosen = torch.nn.functional.one_hot(drawn, k).bool()
        return torch.where(chosen, 0.0, -math.inf)

    def restore(self, step: Step) -> Step:
        """The step with the soft guess in place of the joint draw; the sampler's callback."""
        return step if self._soft is None else step._replace(prediction=self._soft)
