"""Rates over many verdicts, each with its denominator and a 95 % interval."""

import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from moldiff.molecules.convert import canonical_smiles
from moldiff.molecules.validity import REASONS, Verdict

_Z = 1.959963984540054  # two-sided 95 % of the normal distribution
_RESAMPLES = 1000


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate (Wilson 1927), for independent yes/no answers.

    Args:
        k: how many said yes.
        n: how many were asked; with none the interval is (0, 1).

    Returns:
        ``(low, high)``, both in [0, 1].

    Raises:
        ValueError: k outside 0-n.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k = {k} of n = {n} is not a rate; k must lie between 0 and n")
    if n == 0:
        return 0.0, 1.0
    p = k / n
    weight = 1 + _Z**2 / n
    centre = (p + _Z**2 / (2 * n)) / weight
    half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / weight
    # At the ends the formula is exact, its rounding is not.
    return 0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half)


def summary(
    verdicts: Sequence[Verdict],
    training_smiles: Collection[str] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> dict[str, dict[str, float]]:
    """The headline rates of a set of generated molecules. Failures count as failures.

    * ``valid``, ``connected``, ``valid_connected``, ``valid_connected_published``, ``molecule_stable``: of all
      molecules.
    * ``atom_stable``: of all atoms.
    * ``unique``: distinct of valid; ``novel``: not in the training set, of distinct.
    * ``vu``, ``vun``: distinct valid molecules, and those of them that are novel, of all molecules.

    Molecules are told apart by `moldiff.molecules.convert.canonical_smiles`. Intervals are Wilson's, except that atoms
    of one molecule are not independent: there molecules are resampled. Being a duplicate is not independent either and
    depends on the sample size, so the intervals of ``unique``, ``novel``, ``vu`` and ``vun`` are a guide only.

    Args:
        verdicts: one for every structure that was generated.
        training_smiles: canonical SMILES of the training set by the same definition; without them ``novel`` and ``vun``
            are left out.
        rng: for the resampling; by default a fixed seed, so that the same verdicts give the same numbers.

    Returns:
        for each name ``{"value", "low", "high", "n", "of"}``: n / of as a share in [0, 1] with its interval. Where
        nothing could be counted (of = 0) the value is NaN.
    """
    total = len(verdicts)
    valid = [v for v in verdicts if v.valid]
    distinct = {canonical_smiles(v.mol) for v in valid if v.mol is not None}
    table = {
        "valid": rate(len(valid), total),
        "connected": rate(sum(v.connected for v in verdicts), total),
        "valid_connected": rate(sum(v.valid_connected for v in verdicts), total),
        "valid_connected_published": rate(sum(v.published_valid for v in verdicts), total),
        "molecule_stable": rate(sum(v.molecule_stable for v in verdicts), total),
        "atom_stable": atom_rate([v.atoms_stable for v in verdicts], [v.atoms for v in verdicts], rng=rng),
        "unique": rate(len(distinct), len(valid)),
        "vu": rate(len(distinct), total),
    }
    if training_smiles is not None:
        unseen = len(distinct - set(training_smiles))
        table["novel"] = rate(unseen, len(distinct))
        table["vun"] = rate(unseen, total)
    return table


def reasons(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How often each reason code occurs, in the order of `moldiff.molecules.validity.REASONS`, zeros left out."""
    counts = Counter(v.reason for v in verdicts)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def rate(n: int, of: int) -> dict[str, float]:
    """One row of a table: ``{"value", "low", "high", "n", "of"}`` of n / of with Wilson's interval, NaN of nothing.

    Raises:
        ValueError: n outside 0-of.
    """
    low, high = wilson(n, of)
    return {"value": n / of if of else math.nan, "low": low, "high": high, "n": n, "of": of}


def atom_rate(
    stable: Sequence[int], atoms: Sequence[int], *, rng: np.random.Generator | None = None
) -> dict[str, float]:
    """Stable atoms of all atoms, as `rate` gives it, but with a bootstrap interval over molecules.

    Args:
        stable: stable atoms of each molecule.
        atoms: atoms of each molecule.
        rng: for the resampling; by default a fixed seed.

    Raises:
        ValueError: lists of different lengths, or more stable atoms than atoms.
    """
    if len(stable) != len(atoms):
        raise ValueError(f"{len(stable)} counts of stable atoms for {len(atoms)} molecules; give one for each")
    some, every = np.array(stable, dtype=np.int64), np.array(atoms, dtype=np.int64)
    n, of = int(some.sum()), int(every.sum())
    row = rate(n, of)
    if of and len(some) > 1:
        rng = rng if rng is not None else np.random.default_rng(0)
        values = []
        for _ in range(_RESAMPLES):
            drawn = rng.integers(0, len(some), len(some))
            values.append(some[drawn].sum() / max(1, every[drawn].sum()))
        row["low"], row["high"] = (float(q) for q in np.quantile(values, (0.025, 0.975)))
    return row
