"""Constraints on crystals in a chemist's words: composition, chemical system, elements."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import gcd
from typing import final

import torch
from torch import Tensor

from moldiff.data.batching import PERIODIC_TABLE
from moldiff.diffusion.process import uniform
from moldiff.generator.formulas import symbols
from moldiff.guidance.constraints import Automaton, Constraints, least_counts
from moldiff.state import Alphabet, State

_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)|(\()|\)(\d*)")


def parse_composition(text: str) -> dict[str, int]:
    """Elements with their counts: ``"LiFePO4"``, ``"Ca3(PO4)2"``.

    Raises:
        ValueError: for what is no composition, and for symbols that are no elements.
    """
    stripped = re.sub(r"\s", "", text)
    stack: list[Counter[str]] = [Counter()]
    at = 0
    good = bool(stripped)
    while good and at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            good = False
            break
        symbol, count, opening, factor = match.groups()
        if symbol:
            stack[-1][symbol] += int(count or 1)
            good = int(count or 1) > 0
        elif opening:
            stack.append(Counter())
        else:
            group = stack.pop()
            good = bool(stack) and bool(group) and int(factor or 1) > 0
            if good:
                stack[-1].update({name: number * int(factor or 1) for name, number in group.items()})
        at = match.end()
    if not good or len(stack) != 1:
        raise ValueError(f"{text!r} is not a composition: write element symbols and whole counts, as in LiFePO4")
    unknown = [symbol for symbol in stack[0] if symbol not in PERIODIC_TABLE[1:]]
    if unknown:
        raise ValueError(f"{unknown[0]!r} in {text!r} is no element")
    return dict(stack[0])


def system(value: str | Iterable[str]) -> list[str]:
    """Symbols of a chemical system: ``"Li-Fe-P-O"``, also with commas or spaces, or a sequence."""
    found = symbols(value.replace("-", " ") if isinstance(value, str) else value)
    return list(dict.fromkeys(found))


@final
class Ingredients:
    """The constraints on the elements of a sample of crystals, checked against a model.

    Args:
        known: the element alphabet of the model.
        largest: atoms of the largest crystal that the model knows.
        composition: elements and their proportions; every crystal has a whole number of formula units.
        formula_units: how many of these, one number or (lowest, highest); all that fit by default.
        chemical_system: only these elements, each at least once.
        elements: the only elements allowed. forbid: elements not allowed.
        require: elements that must be there, each as often as it is named.

    Raises:
        ValueError: for symbols the model does not know, for constraints that contradict one another, and for more atoms
            than the model knows.
    """

    def __init__(
        self,
        known: Alphabet,
        *,
        largest: int,
        composition: str | None = None,
        formula_units: int | Sequence[int] | None = None,
        chemical_system: str | Iterable[str] | None = None,
        elements: str | Iterable[str] | None = None,
        forbid: str | Iterable[str] | None = None,
        require: str | Iterable[str] | None = None,
    ) -> None:
        self.known, self.largest = known, largest
        only, without, self.require = symbols(elements), symbols(forbid), Counter(symbols(require))
        members = [] if chemical_system is None else system(chemical_system)
        self.composition = None if composition is None else parse_composition(composition)
        for symbol in (*only, *without, *self.require, *members, *(self.composition or ())):
            if symbol not in known.symbols:
                raise ValueError(f"element {symbol!r} is unknown to this model: it knows {', '.join(known.symbols)}")
        for value, given, name in ((elements, only, "elements"), (chemical_system, members, "chemical_system")):
            if value is not None and not given:
                raise ValueError(f"{name} is empty: name at least one element, or leave it out")
        if members and self.composition is not None and set(members) != set(self.composition):
            raise ValueError(
                f"composition {composition} is not of the chemical system {'-'.join(members)}: give one of them"
            )
        if members:
            for symbol in only:
                if symbol not in members:
                    raise ValueError(f"elements has {symbol}, which the chemical system {'-'.join(members)} lacks")
            only = members
            self.require |= Counter(members)
        self.allowed = [s for s in known.symbols if (not only or s in only) and s not in without]
        if not self.allowed:
            raise ValueError(f"no element is left: elements {only or 'all'} without {without}")
        for symbol in (*self.require, *(self.composition or ())):
            if symbol not in self.allowed:
                raise ValueError(f"{symbol} is asked for but not allowed: allowed are {', '.join(self.allowed)}")
        if sum(self.require.values()) > largest:
            raise ValueError(
                f"{sum(self.require.values())} atoms are required, but this model knows crystals of at most {largest}"
            )
        self.units = self._units(formula_units)
        if self.composition is not None:
            self._check_composition(composition or "")

    def _units(self, value: int | Sequence[int] | None) -> range | None:
        if value is None:
            return None
        if self.composition is None:
            raise ValueError(f"formula_units {value!r} needs a composition: say composition, or leave it out")
        ends = [value, value] if isinstance(value, int) else list(value)
        if len(ends) != 2 or not all(isinstance(end, int) for end in ends) or not 1 <= ends[0] <= ends[1]:
            raise ValueError(f"formula_units {value!r}: give a number of at least 1, or (lowest, highest)")
        return range(ends[0], ends[1] + 1)

    def _check_composition(self, text: str) -> None:
        if not self.counts():
            least = self.units[0] if self.units else 1
            raise ValueError(
                f"{least} formula unit{'s' if least > 1 else ''} of {text} "
                f"{'have' if least > 1 else 'has'} {least * self.formula_atoms} atoms, "
                f"more than the {self.largest} of the largest crystal this model knows"
            )

    @property
    def formula_atoms(self) -> int:
        """Atoms of one formula unit: the composition as it is written, reduced only where units are left to chance."""
        counts = list((self.composition or {}).values())
        return sum(counts) // (gcd(*counts) if self.units is None else 1)

    def counts(self) -> list[int]:
        """Atom counts that hold a whole number of formula units and are not too large."""
        units = self.units or range(1, self.largest + 1)
        return [n for n in (self.formula_atoms * unit for unit in units) if n <= self.largest and self._enough(n)]

    def _enough(self, n: int) -> bool:
        total = sum((self.composition or {}).values())
        return all((self.composition or {}).get(s, 0) * n >= count * total for s, count in self.require.items())

    def sizes(self, n_atoms: int | Sequence[int] | None) -> int | Sequence[int] | None:
        """The user's atom counts after checking them.

        Raises:
            ValueError: for counts below 1, above what the model knows, or against the constraints.
        """
        for n in [n_atoms] if isinstance(n_atoms, int) else n_atoms or ():
            if n < 1:
                raise ValueError(f"n_atoms must be at least 1, not {n}")
            if n > self.largest:
                raise ValueError(f"{n} atoms are more than the {self.largest} of the largest crystal this model knows")
            if self.composition is not None and n not in self.counts():
                fitting = ", ".join(map(str, self.counts()))
                raise ValueError(f"{n} atoms are no whole number of the formula units asked for: {fitting} would be")
            if n < sum(self.require.values()):
                raise ValueError(f"{n} atoms cannot hold the {sum(self.require.values())} elements required")
        return n_atoms

    def weights(self, sizes: Mapping[str, float]) -> Tensor:
        """(S,) weight of each atom count of a histogram, zero where the constraints cannot be met."""
        least = max(1, sum(self.require.values()))
        fitting = self.counts() if self.composition is not None else range(least, self.largest + 1)
        found = torch.tensor([float(count) * (int(n) in fitting) for n, count in sizes.items()], dtype=torch.float64)
        if float(found.sum()) <= 0:
            raise ValueError(
                f"no crystal in training has {' or '.join(map(str, fitting))} atoms: say n_atoms to try nevertheless"
            )
        return found

    def constraints(self) -> Constraints:
        """What is kept while sampling; a composition is given instead, see `give`."""
        allowed, coupled = {}, dict[str, Automaton]()
        if len(self.allowed) < len(self.known):
            allowed["elements"] = torch.tensor([s in self.allowed for s in self.known.symbols])
        if self.require and self.composition is None:
            coupled["elements"] = least_counts([self.require.get(s, 0) for s in self.known.symbols])
        return Constraints(allowed, coupled)

    def give(self, state: State, *, generator: torch.Generator) -> tuple[State, dict[str, Tensor]]:
        """The state with the elements of the composition in random order, and the mask that makes them given."""
        if self.composition is None:
            return state, {}
        total = sum(self.composition.values())
        elements = torch.zeros_like(state.mask, dtype=torch.long)
        tickets = uniform(tuple(state.mask.shape), generator, state.device).masked_fill(~state.mask, 2.0)
        order = tickets.argsort(1)
        for row, n in enumerate(state.n_atoms.tolist()):
            atoms = [self.known.index(s) for s, count in self.composition.items() for _ in range(count * n // total)]
            elements[row, order[row, :n]] = torch.tensor(atoms, device=state.device)
        return state.replace(elements=elements), {"elements": state.mask}

    def __str__(self) -> str:
        parts = []
        if self.composition is not None:
            parts.append("composition " + "".join(f"{s}{n if n > 1 else ''}" for s, n in self.composition.items()))
        elif len(self.allowed) < len(self.known):
            names, without = self.allowed, [s for s in self.known.symbols if s not in self.allowed]
            parts.append(
                f"elements {', '.join(names)}" if len(names) <= len(without) else f"without {', '.join(without)}"
            )
        if self.require and self.composition is None:
            parts.append("required " + ", ".join(f"{s} x {n}" if n > 1 else s for s, n in self.require.items()))
        return "; ".join(parts)
