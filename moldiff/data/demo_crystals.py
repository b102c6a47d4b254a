"""A small set of prototype crystals the project makes itself, for tests, notebooks and demonstrations offline.

Ideal structure types with lattice constants from radii: good enough to draw, to read and write and to train toys on,
and no substitute for MP-20, which holds relaxed structures of real compounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from moldiff.crystals.convert import CrystalArrays, from_atoms
from moldiff.data.archive import split_by_smiles
from moldiff.data.crystal_archive import CrystalArchive

__all__ = ["PROTOTYPES", "demo_crystal_archive", "prototype", "prototype_names"]

PROTOTYPES: dict[str, int] = {
    "rocksalt": 225,
    "cesiumchloride": 221,
    "zincblende": 216,
    "wurtzite": 186,
    "fluorite": 225,
    "rutile": 136,
    "perovskite": 221,
    "heusler": 225,
    "fcc": 225,
    "bcc": 229,
    "hcp": 194,
    "diamond": 227,
}
"""The structure types and their space groups."""

#: Ionic radii in angstrom for six neighbours, rounded (Shannon 1976), and metallic or covalent ones of elements.
_IONS = {
    "Li": 0.76,
    "Na": 1.02,
    "K": 1.38,
    "Rb": 1.52,
    "Mg": 0.72,
    "Ca": 1.00,
    "Sr": 1.18,
    "Ba": 1.35,
    "Zn": 0.74,
    "Cd": 0.95,
    "Al": 0.54,
    "Ga": 0.62,
    "In": 0.80,
    "Ti": 0.61,
    "Zr": 0.72,
    "Sn": 0.69,
    "F": 1.33,
    "Cl": 1.81,
    "Br": 1.96,
    "I": 2.20,
    "O": 1.40,
    "S": 1.84,
    "Se": 1.98,
    "N": 1.46,
    "P": 2.12,
    "As": 2.22,
}
_METALS = {"Al": 1.43, "Cu": 1.28, "Ag": 1.44, "Au": 1.44, "Ni": 1.25, "Fe": 1.24, "Cr": 1.25, "W": 1.37, "Mo": 1.36}
_METALS |= {"Mg": 1.60, "Ti": 1.46, "Zr": 1.60, "Co": 1.25, "Mn": 1.27, "Na": 1.86, "K": 2.27, "V": 1.31, "Ga": 1.35}
_BONDS = {"C": 0.77, "Si": 1.17, "Ge": 1.22, "Sn": 1.40}
_ONE, _TWO, _THREE, _FOUR = (
    ("Li", "Na", "K", "Rb"),
    ("Mg", "Ca", "Sr", "Ba", "Zn", "Cd"),
    ("Al", "Ga", "In"),
    ("Ti", "Zr", "Sn"),
)
_MINUS_ONE, _MINUS_TWO, _MINUS_THREE = ("F", "Cl", "Br", "I"), ("O", "S", "Se"), ("N", "P", "As")


class _Recipe(NamedTuple):
    kind: str
    elements: tuple[str, ...]


def prototype_names() -> tuple[str, ...]:
    """All crystals of the demonstration set as ``rocksalt NaCl``, in a fixed order."""
    return tuple(f"{recipe.kind} {' '.join(recipe.elements)}" for recipe in _recipes())


def prototype(kind: str, elements: Sequence[str]) -> CrystalArrays:
    """One structure type with the elements on its sites, in the primitive cell.

    Args:
        kind: one of `PROTOTYPES`.
        elements: one for fcc, bcc, hcp, diamond; cation and anion for the binary types; A, B, X for a perovskite;
            X, Y, Z of X2YZ for a Heusler compound.

    Raises:
        ValueError: for an unknown type, a wrong number of elements, or an element whose radius is not known here.
    """
    from ase.build import bulk

    if kind not in PROTOTYPES:
        raise ValueError(f"unknown structure type {kind!r}; choose from {', '.join(PROTOTYPES)}")
    count = {"perovskite": 3, "heusler": 3, "fcc": 1, "bcc": 1, "hcp": 1, "diamond": 1}.get(kind, 2)
    if len(elements) != count:
        raise ValueError(f"{kind} takes {count} elements, not {len(elements)}: {', '.join(elements)}")
    radii = [_radius(symbol, kind) for symbol in elements]
    total = sum(radii[:2])
    text = "".join(elements)
    if kind in ("rocksalt", "zincblende", "cesiumchloride"):
        a = total * {"rocksalt": 2.0, "zincblende": 4 / math.sqrt(3), "cesiumchloride": 2 / math.sqrt(3)}[kind]
        return from_atoms(bulk(text, kind, a=a))
    if kind == "fluorite":
        return from_atoms(bulk(f"{elements[0]}{elements[1]}2", kind, a=total * 4 / math.sqrt(3)))
    if kind == "wurtzite":
        a = total * math.sqrt(8 / 3)
        return from_atoms(bulk(text, kind, a=a, c=a * math.sqrt(8 / 3)))
    if kind in ("fcc", "bcc", "diamond"):
        a = radii[0] * {"fcc": 2 * math.sqrt(2), "bcc": 4 / math.sqrt(3), "diamond": 8 / math.sqrt(3)}[kind]
        return from_atoms(bulk(text, kind, a=a))
    if kind == "hcp":
        return from_atoms(bulk(text, kind, a=2 * radii[0], c=2 * radii[0] * math.sqrt(8 / 3)))
    if kind == "rutile":
        a = total * 2.33
        u = 0.305
        sites = [
            (0, 0, 0),
            (0.5, 0.5, 0.5),
            (u, u, 0),
            (1 - u, 1 - u, 0),
            (0.5 + u, 0.5 - u, 0.5),
            (0.5 - u, 0.5 + u, 0.5),
        ]
        return _crystal([elements[0]] * 2 + [elements[1]] * 4, sites, np.diag([a, a, 0.644 * a]))
    if kind == "perovskite":
        a = 2 * (radii[1] + radii[2])
        sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
        return _crystal([elements[0], elements[1]] + [elements[2]] * 3, sites, a * np.eye(3))
    a = 4 / math.sqrt(3) * (radii[0] + max(radii[1:]))
    sites = [(0.25, 0.25, 0.25), (0.75, 0.75, 0.75), (0.5, 0.5, 0.5), (0, 0, 0)]
    cell = a / 2 * (np.ones((3, 3)) - np.eye(3))
    return _crystal([elements[0]] * 2 + list(elements[1:]), sites, cell)


def demo_crystal_archive(n: int | None = None, *, seed: int = 0) -> CrystalArchive:
    """An archive of ``n`` different prototypes (default: all), split 80 : 10 : 10, equal compositions together.

    Properties: ``volume_per_atom`` (angstrom^3) and ``spacegroup``. The same ``n`` and ``seed`` give the same archive.
    Raises ValueError if ``n`` is not between 1 and the number of `prototype_names`.
    """
    recipes = _recipes()
    n = len(recipes) if n is None else n
    if not 1 <= n <= len(recipes):
        raise ValueError(f"n={n} crystals cannot be made; choose 1 to {len(recipes)}")
    chosen = [recipes[i] for i in np.random.default_rng(seed).permutation(len(recipes))[:n]]
    records = [prototype(recipe.kind, recipe.elements) for recipe in chosen]
    return CrystalArchive.build(
        records,
        material_id=[f"{recipe.kind}-{'-'.join(recipe.elements)}" for recipe in chosen],
        split=split_by_smiles(["-".join(map(str, sorted(record.numbers.tolist()))) for record in records], seed=seed),
        spacegroup_number=[PROTOTYPES[recipe.kind] for recipe in chosen],
        properties=[[record.volume / len(record.numbers)] for record in records],
        property_names=["volume_per_atom"],
        property_units=["angstrom^3"],
    )


def _recipes() -> list[_Recipe]:
    """Every crystal of the set: charges of the ions balance."""
    binary = [*product(_ONE, _MINUS_ONE), *product(_TWO, _MINUS_TWO), *product(_THREE, _MINUS_THREE)]
    found = [_Recipe(kind, pair) for kind in ("rocksalt", "zincblende", "wurtzite") for pair in binary]
    found += [_Recipe("cesiumchloride", pair) for pair in product(_ONE, _MINUS_ONE)]
    found += [_Recipe("fluorite", pair) for pair in product(_TWO, _MINUS_ONE)]
    found += [_Recipe("fluorite", pair) for pair in product(_FOUR, _MINUS_TWO)]
    found += [_Recipe("rutile", pair) for pair in product(_FOUR, _MINUS_TWO)]
    found += [_Recipe("rutile", pair) for pair in product(_TWO, ("F", "Cl"))]
    found += [_Recipe("perovskite", three) for three in product(_ONE, _TWO, _MINUS_ONE)]
    found += [_Recipe("perovskite", three) for three in product(("Ca", "Sr", "Ba"), _FOUR, ("O", "S"))]
    found += [_Recipe("heusler", three) for three in product(("Co", "Ni", "Cu", "Fe"), ("Mn", "Ti", "V"), ("Al", "Ga"))]
    found += [_Recipe(kind, (symbol,)) for kind in ("fcc", "bcc", "hcp") for symbol in _METALS]
    return found + [_Recipe("diamond", (symbol,)) for symbol in _BONDS]


def _radius(symbol: str, kind: str) -> float:
    table = _BONDS if kind == "diamond" else _METALS if kind in ("fcc", "bcc", "hcp", "heusler") else _IONS
    if symbol not in table:
        raise ValueError(f"no radius of {symbol!r} for {kind} here; choose from {', '.join(table)}")
    return table[symbol]


def _crystal(symbols: Sequence[str], sites: Any, cell: Any) -> CrystalArrays:
    from ase.data import atomic_numbers

    return CrystalArrays(np.array([atomic_numbers[symbol] for symbol in symbols]), np.array(sites) % 1.0, cell)
