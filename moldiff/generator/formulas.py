"""Constraints in a chemist's words: formula, elements, net charge."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from moldiff.data.batching import PERIODIC_TABLE
from moldiff.diffusion.process import uniform
from moldiff.generator.training_formulas import fitting
from moldiff.guidance.constraints import Automaton, Constraints, even_sum, exact_sum, least_counts
from moldiff.state import Alphabet, State


def parse_formula(text: str) -> tuple[dict[str, int], int | None]:
    """Elements with their counts, and the net charge if the formula ends in one: ``"C7H10O2"``, ``"C2H8N+"``.

    Raises:
        ValueError: for what is no formula.
    """
    match = re.fullmatch(r"((?:[A-Z][a-z]?\d*)+)([+-]\d*)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a formula: write element symbols and counts, as in C7H10O2 or C2H8N+")
    counts: Counter[str] = Counter()
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", match[1]):
        counts[symbol] += int(count or 1)
    if min(counts.values()) < 1:
        raise ValueError(f"the formula {text!r} has an element with the count 0: leave it out")
    charge = None if match[2] is None else int(match[2] if len(match[2]) > 1 else match[2] + "1")
    return dict(counts), charge


def even_electrons(known: Sequence[str], *, charge: int = 0) -> Automaton:
    """Elements whose electrons add up to an even number.

    Args:
        known: the alphabet of elements.
        charge: net charge (e).
    """
    return even_sum([PERIODIC_TABLE.index(symbol) for symbol in known], odd=bool(charge % 2))


def symbols(value: str | Iterable[str] | None) -> list[str]:
    """Element symbols from a sequence or from a text with commas or spaces."""
    if value is None:
        return []
    return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else list(value)


@final
class Chemistry:
    """The constraints of a sample, checked against a model's alphabets.

    Args:
        alphabets: of elements and charges.
        formula: exact elements, which fix the atom count; neutral unless it ends in a charge or `charge` says so.
        elements: the only elements allowed. forbid: elements not allowed.
        require: elements that must be there, each as often as it is named.
        charge: net charge.

    Raises:
        ValueError: for symbols the model does not know and for constraints that contradict one another.
    """

    def __init__(
        self,
        alphabets: Mapping[str, Alphabet],
        *,
        formula: str | None = None,
        elements: str | Iterable[str] | None = None,
        forbid: str | Iterable[str] | None = None,
        require: str | Iterable[str] | None = None,
        charge: int | None = None,
    ) -> None:
        self.known, self.values = alphabets["elements"], [int(s) for s in alphabets["charges"].symbols]
        only, without, self.require = symbols(elements), symbols(forbid), Counter(symbols(require))
        for symbol in (*only, *without, *self.require):
            self.known.index(symbol)
        if elements is not None and not only:
            raise ValueError("elements is empty: name at least one element, or leave it out")
        allowed = [s for s in self.known.symbols if (not only or s in only) and s not in without]
        if not allowed:
            raise ValueError(f"no element is left: elements {only or 'all'} without {without}")
        lacking = [s for s in self.require if s not in allowed]
        if lacking:
            raise ValueError(f"{lacking[0]} is required but not allowed: allowed are {', '.join(allowed)}")
        self.allowed = allowed
        self.formula: dict[str, int] | None = None
        if formula is not None:
            self.formula, written = parse_formula(formula)
            charge = self._charge_of_formula(formula, written, charge)
        if charge is not None and (isinstance(charge, bool) or not isinstance(charge, int)):
            raise ValueError(f"charge must be a whole number, not {charge!r}")
        self.charge = charge
        self.compositions = np.zeros((0, len(self.known)), dtype=np.int64)
        if charge and (max(self.values) * charge <= 0 and min(self.values) * charge <= 0):
            raise ValueError(f"charge {charge}: this model knows atoms of the charges {self.values} only")

    def _charge_of_formula(self, text: str, written: int | None, charge: int | None) -> int:
        formula = self.formula or {}
        for symbol in formula:
            self.known.index(symbol)
            if symbol not in self.allowed:
                raise ValueError(f"formula {text} has {symbol}, which is not allowed: {', '.join(self.allowed)} are")
        for symbol, count in self.require.items():
            if formula.get(symbol, 0) < count:
                raise ValueError(f"formula {text} has {formula.get(symbol, 0)} {symbol}, but {count} are required")
        if written is not None and charge is not None and written != charge:
            raise ValueError(f"formula {text} and charge {charge} contradict one another")
        charge = charge if charge is not None else written or 0
        electrons = sum(PERIODIC_TABLE.index(symbol) * count for symbol, count in formula.items()) - charge
        if electrons % 2:
            raise ValueError(
                f"formula {text} with charge {charge} has an odd number of electrons ({electrons}), so it is no "
                "closed-shell molecule: change a hydrogen or the charge"
            )
        return charge

    @property
    def least_atoms(self) -> int:
        """Atoms that a structure needs to meet the constraints."""
        need = sum(self.require.values())
        if self.charge:
            largest = max(self.values) if self.charge > 0 else -min(self.values)
            need = max(need, -(-abs(self.charge) // largest))
        return max(need, 1)

    def sizes(self, n_atoms: int | Sequence[int] | None) -> int | Sequence[int] | None:
        """Atom counts: those of the formula, or the user's.

        Raises:
            ValueError: if they contradict one another, or are too few.
        """
        if self.formula is not None:
            total = sum(self.formula.values())
            asked = {n_atoms} if isinstance(n_atoms, int) else set(n_atoms or ())
            if asked - {total}:
                raise ValueError(f"the formula has {total} atoms, not {sorted(asked - {total})[0]}: leave n_atoms out")
            n_atoms = total
        if n_atoms is not None:
            fewest = n_atoms if isinstance(n_atoms, int) else min(n_atoms, default=0)
            # fewer than one atom is refused elsewhere, in other words
            if 1 <= fewest < self.least_atoms:
                raise ValueError(f"{fewest} atoms cannot meet the constraints, which need {self.least_atoms} or more")
        return n_atoms

    def constraints(self, n: int, *, closed_shell: bool = False) -> Constraints:
        """The constraints on structures of at most n atoms.

        `closed_shell`: with an even number of electrons, wherever the other constraints allow it.
        """
        allowed, coupled = {}, dict[str, Automaton]()
        if len(self.allowed) < len(self.known):
            allowed["elements"] = torch.tensor([s in self.allowed for s in self.known.symbols])
        if self.require and self.formula is None:
            coupled["elements"] = least_counts([self.require.get(s, 0) for s in self.known.symbols])
        if self.charge is not None:
            coupled["charges"] = exact_sum(self.values, self.charge, entries=n)
        # the elements of a formula are given
        even = closed_shell and self.formula is None
        preferred = {"elements": even_electrons(self.known.symbols, charge=self.charge or 0)} if even else {}
        return Constraints(allowed, coupled, preferred)

    def learn(self, reference: Path | None) -> None:
        """Read the formulas of training molecules that satisfy constraints on elements, so that `give` can draw one.

        Training molecules are neutral, so there are none for a net charge.

        Args:
            reference: the ``reference.npz`` beside the weights, if there is one.
        """
        narrow = bool(self.require) or len(self.allowed) < len(self.known)
        if narrow and self.formula is None and not self.charge:
            self.compositions = fitting(reference, self.known.symbols, allowed=self.allowed, require=self.require)

    def give(self, state: State, *, generator: torch.Generator) -> tuple[State, dict[str, Tensor]]:
        """The state with the elements of the formula in random order, and the mask that makes them given.

        Giving them keeps the geometry true to them from the first step: on the same weights, drawing them on the way
        under the same counts left 4 of 20 molecules valid instead of 11. Where only some elements are constrained, the
        formula is that of a fitting training molecule of the same atom count, if there is one (see `learn`).
        """
        if self.formula is not None:
            atoms = torch.tensor([self.known.index(s) for s, count in self.formula.items() for _ in range(count)])
            order = uniform(tuple(state.mask.shape), generator, state.device).argsort(1)
            return state.replace(elements=atoms.to(state.device)[order]), {"elements": state.mask}
        if not len(self.compositions):
            return state, {}
        ticket, order = (uniform((len(state), n), generator, state.device).cpu() for n in (1, state.size))
        sizes, elements = self.compositions.sum(1), state.field("elements").clone()
        given = torch.zeros_like(state.mask)
        for row, n in enumerate(state.n_atoms.tolist()):
            rows = np.flatnonzero(sizes == n)
            if not len(rows):
                continue
            chosen = self.compositions[rows[int(ticket[row, 0] * len(rows))]]
            atoms = torch.arange(len(self.known)).repeat_interleave(torch.from_numpy(chosen))
            elements[row, :n] = atoms[order[row, :n].argsort()].to(state.device)
            given[row, :n] = True
        return state.replace(elements=elements), {"elements": given}

    def __str__(self) -> str:
        parts = []
        if self.formula is not None:
            parts.append("formula " + "".join(f"{s}{n if n > 1 else ''}" for s, n in self.formula.items()))
        elif len(self.allowed) < len(self.known):
            parts.append("elements " + ", ".join(self.allowed))
        if self.require:
            parts.append("required " + ", ".join(f"{s} x {n}" if n > 1 else s for s, n in self.require.items()))
        if self.charge is not None:
            parts.append(f"net charge {self.charge:+d}" if self.charge else "net charge 0")
        return "; ".join(parts)
