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
        accept: (S,) bool, states in which the constraint is met, or (B, S) for each structure. Reading starts in state
            0.
    """

    next: Tensor
    accept: Tensor


def anything(symbols: int) -> Automaton:
    """No constraint on K symbols."""
    return Automaton(torch.zeros(1, symbols, dtype=torch.long), torch.ones(1, dtype=torch.bool))


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


def even_sum(values: Sequence[int], *, odd: bool = False) -> Automaton:
    """Values of K symbols that add up to an even number, or to an odd one."""
    table = torch.tensor([[(state + value) % 2 for value in values] for state in (0, 1)])
    return Automaton(table, torch.tensor([not odd, odd]))


def count_between(symbol: int, symbols: int, low: Tensor, high: Tensor) -> Automaton:
    """From `low` to `high` (B,) of one of K symbols in each structure.

    Raises:
        ValueError: for bounds below 0 or in the wrong order.
    """
    if bool((low < 0).any()) or bool((low > high).any()):
        raise ValueError(f"{low.tolist()} to {high.tolist()} wanted: choose 0 or more, the lower number first")
    counts = torch.arange(int(high.max()) + 1, device=low.device)
    table = counts[:, None].repeat(1, symbols)
    table[:, symbol] += 1
    table[table > counts[-1]] = -1
    return Automaton(table, (counts >= low[:, None]) & (counts <= high[:, None]))


def both(first: Automaton, second: Automaton) -> Automaton:
    """What satisfies two constraints on the same symbols.

    Raises:
        ValueError: if there are too many combinations to keep track of.
    """
    a, b = len(first.next), len(second.next)
    if a * b > LARGEST:
        raise ValueError(
            f"constraints of {a} and {b} states make {a * b} combinations: at most {LARGEST} are kept track of"
        )
    one, two = first.next[:, None, :], second.next[None, :, :]
    table = torch.where((one < 0) | (two < 0), -1, one * b + two).flatten(0, 1)
    return Automaton(table, (first.accept[..., :, None] & second.accept[..., None, :]).flatten(-2))


def look_ahead(log_p: Tensor, mask: Tensor, automaton: Automaton) -> list[Tensor]:
    """For each entry i of N, and N itself: (B, S) log-probability that what follows leads from a state to acceptance.

    Arguments as for `draw_satisfying`.
    """
    table, accept = automaton.next.to(log_p.device), automaton.accept.to(log_p.device)
    log_p, b = log_p.double(), log_p.shape[0]
    dead, target = table < 0, table.clamp_min(0)
    ahead = [torch.where(accept, 0.0, -math.inf).double().expand(b, -1)]
    for i in range(log_p.shape[1] - 1, -1, -1):
        after = torch.where(dead, -math.inf, ahead[-1][:, target])
        through = torch.logsumexp(log_p[:, i, None, :] + after, -1)
        ahead.append(torch.where(mask[:, i, None], through, ahead[-1]))
    return ahead[::-1]


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
    ahead = look_ahead(log_p, mask, automaton)
    table = automaton.next.to(log_p.device)
    dead, target = table < 0, table.clamp_min(0)
    log_p, b, n = log_p.double(), log_p.shape[0], log_p.shape[1]
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
        preferred: the same, but let go in structures that cannot satisfy it together with the rest; such an automaton
            must have no -1.
    """

    allowed: Mapping[str, Tensor] = field(default_factory=dict)
    coupled: Mapping[str, Automaton] = field(default_factory=dict)
    preferred: Mapping[str, Automaton] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, automaton in self.preferred.items():
            if bool((automaton.next < 0).any()):
                raise ValueError(
                    f"the preference on {name} has dead ends (-1): only what can be judged at the end can be let go"
                )

    def __bool__(self) -> bool:
        return bool(self.allowed) or bool(self.coupled) or bool(self.preferred)


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
        self._rules: dict[str, Automaton] = {}

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
        for name in {**self.constraints.coupled, **self.constraints.preferred}:
            values[name] = self._joint(values[name], name, state, start=previous is None)
        return Prediction(**values)

    def _masked(self, logits: Tensor, name: str, allowed: Tensor, state: State, clocks: Clocks) -> Tensor:
        # a denoiser that rules out all that is allowed is overruled
        log = (logits.float().log_softmax(-1)).clamp_min(FLOOR).masked_fill(~allowed.to(logits.device), -math.inf)
        # what is given is not drawn, and stays as it is
        return torch.where(clocks.is_given(name, state).unsqueeze(-1), logits.float(), log)

    def _joint(self, logits: Tensor, name: str, state: State, *, start: bool) -> Tensor:
        symbols, k = state.field(name), logits.shape[-1]
        allowed = self.constraints.allowed.get(name)
        log = (logits.float() / self.temperature).log_softmax(-1).clamp_min(FLOOR)
        if allowed is not None:
            log = log.masked_fill(~allowed.to(log.device), -math.inf)
        known = torch.nn.functional.one_hot(symbols.clamp_max(k - 1), k).bool()
        log = torch.where((symbols < k).unsqueeze(-1), torch.where(known, 0.0, -math.inf), log)
        # what can be met at the start can be met until the end; asking a GPU in every step would wait for it
        if start or name not in self._rules:
            self._rules[name] = self._rule(name, log, state.mask)
        drawn, possible = draw_satisfying(log, state.mask, self._rules[name], generator=self.generator)
        if start and not bool(possible.all()):
            raise ValueError(
                f"the constraint on {name} cannot be met by {int((~possible).sum())} of {len(state)} structures: "
                "check it against the atom counts and what is given"
            )
        chosen = torch.nn.functional.one_hot(drawn, k).bool()
        return torch.where(chosen, 0.0, -math.inf)

    def _rule(self, name: str, log_p: Tensor, mask: Tensor) -> Automaton:
        """What must hold of a field, and what is preferred of it in the structures that can satisfy both."""
        free = anything(log_p.shape[-1])
        hard, wish = self.constraints.coupled.get(name, free), self.constraints.preferred.get(name, free)
        rule, alone = both(hard, wish), both(hard, Automaton(wish.next, torch.ones_like(wish.accept)))
        possible = look_ahead(log_p, mask, rule)[0][:, :1] > -math.inf
        return Automaton(rule.next, torch.where(possible.to(rule.accept.device), rule.accept, alone.accept))

    def restore(self, step: Step) -> Step:
        """The step with the soft guess in place of the joint draw; the sampler's callback."""
        return step if self._soft is None else step._replace(prediction=self._soft)
