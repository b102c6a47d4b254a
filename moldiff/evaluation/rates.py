"""Counts over all structures: valid, stable, unique, novel. Failures stay in every denominator they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from moldiff.molecules.summary import atom_rate, rate

__all__ = ["Metric", "rates"]

Metric = dict[str, Any]
"""``value``, ``low``, ``high`` (95 % interval), ``n`` (counted, or used) and ``of`` (the denominator)."""

Row = Mapping[str, Any]


def rates(rows: Sequence[Row], training: Collection[str] | None, *, protocol: str) -> dict[str, Metric]:
    """The headline rates.

    Args:
        rows: one for every structure, as `moldiff.evaluation.analyse.analyse` gives them.
        training: SMILES of the training set in the form of ``rows[i]["smiles"]``; without them ``novel`` and ``vun``
            are left out.
        protocol: "bonds", or one of EDM's.

    Returns:
        name -> metric; the value of a rate of nothing is NaN.
    """
    total = len(rows)
    flags = ["valid"]
    if protocol == "bonds":
        flags += ["connected", "valid_connected", "valid_connected_published"]
    table: dict[str, Metric] = {flag: rate(sum(bool(row[flag]) for row in rows), total) for flag in flags}
    table["atom_stable"] = atom_rate([row["atoms_stable"] for row in rows], [row["atoms"] for row in rows])
    table["molecule_stable"] = rate(sum(row["molecule_stable"] for row in rows), total)
    table |= distinct([row["smiles"] for row in rows if row["valid"]], total, training)
    if protocol == "bonds":
        table["radicals"] = rate(sum(row["radical"] for row in rows), total)
        table["net_charge"] = rate(sum(row["charge"] != 0 for row in rows), total)
    return table


def determine_bonds(rows: Sequence[Row], training: Collection[str] | None) -> dict[str, Metric]:
    """The same for RDKit's ``DetermineBonds``, which stands beside the EDM protocol under names of its own.

    Args:
        rows: as for `rates`, under the protocol "edm".
        training: canonical SMILES of the training set by its true bonds.
    """
    valid = [row["determine_bonds_smiles"] for row in rows if row["determine_bonds_valid"]]
    table = {"valid": rate(len(valid), len(rows)), **distinct(valid, len(rows), training)}
    return {f"determine_bonds_{name}": metric for name, metric in table.items() if name != "vu"}


def distinct(smiles: Sequence[str], total: int, training: Collection[str] | None) -> dict[str, Metric]:
    """``unique`` of the valid, ``novel`` of the unique, and both of all.

    Args:
        smiles: of each valid structure. total: how many structures there are. training: known SMILES, if any.
    """
    different = set(smiles)
    table = {"unique": rate(len(different), len(smiles)), "vu": rate(len(different), total)}
    if training is not None:
        unseen = sum(text not in training for text in different)
        table |= {"novel": rate(unseen, len(different)), "vun": rate(unseen, total)}
    return table
