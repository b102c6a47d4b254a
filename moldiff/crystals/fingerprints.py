"""Fingerprints of structure and composition that coverage (COV-R, COV-P) compares, as in CDVAE (Xie et al. 2022).

Structure: matminer's CrystalNN fingerprint of every site with order parameters ("ops", 61 numbers; Zimmermann and Jain
2020), averaged over the sites. Composition: the 132 Magpie features (Ward et al. 2016), standardised as others do.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moldiff.crystals.scaler import DEVIATIONS, MEANS
from moldiff.crystals.symmetry import equivalent_sites

__all__ = ["COMPOSITION_SIZE", "STRUCTURE_SIZE", "composition_fingerprint", "structure_fingerprint"]

STRUCTURE_SIZE, COMPOSITION_SIZE = 61, 132
NEGLIGIBLE = 1e-4
"""Coordination numbers with less weight keep their weight, but their order parameters (at most this) are left out."""


def structure_fingerprint(numbers: ArrayLike, fractional: ArrayLike, cell: ArrayLike) -> NDArray[np.float64]:
    """Site-averaged CrystalNN fingerprint, (61,).

    Equivalent sites are computed once, which changes nothing but the time: about 10 ms a site.

    Args:
        numbers: atomic numbers (n,).
        fractional: (n, 3) in units of the cell.
        cell: rows a, b, c in angstrom (3, 3).

    Raises:
        ImportError: matminer is not installed.
        ValueError: no neighbours are found, or what else pymatgen raises on strange structures; it raises other errors
            too.
    """
    from pymatgen.core import Structure

    places = np.asarray(fractional, dtype=np.float64) % 1.0
    structure = Structure(np.asarray(cell, dtype=np.float64), np.asarray(numbers).tolist(), places)
    groups, counts = np.unique(equivalent_sites(numbers, places, cell), return_counts=True)
    with warnings.catch_warnings():
        # CrystalNN warns of every site without an oxidation state, which generated crystals never have
        warnings.simplefilter("ignore", UserWarning)
        sites = np.array([_site(structure, int(place)) for place in groups])
    return np.average(sites, axis=0, weights=counts)


def _site(structure: Any, place: int) -> list[float]:
    """matminer's ``CrystalNNFingerprint.featurize`` without order parameters that hardly count."""
    maker = _maker()
    found = maker.cnn.get_nn_data(structure, place)
    values: list[float] = []
    for number in range(1, max(maker.op_types) + 1):
        weight = float(found.cn_weights.get(number, 0.0))
        for parameter in maker.ops.get(number, ()):
            if parameter == "wt":
                values.append(weight)
            elif weight < NEGLIGIBLE:
                values.append(0.0)
            else:
                around = [neighbour["site"] for neighbour in found.cn_nninfo[number]]
                order = parameter.get_order_parameters(
                    [structure[place], *around], 0, indices_neighs=list(range(1, len(around) + 1))
                )[0]
                values.append(weight * (order or 0.0))
    return values


@cache
def _maker() -> Any:
    try:
        from matminer.featurizers.site.fingerprint import CrystalNNFingerprint
    except ImportError as error:
        raise ImportError("matminer is not installed; install the extra: pip install 'moldiff[crystal]'") from error
    return CrystalNNFingerprint.from_preset("ops")


def composition_fingerprint(numbers: ArrayLike) -> NDArray[np.float64]:
    """Standardised Magpie features of a composition, (132,); what is not known of an element becomes 0, the mean.

    Args:
        numbers: atomic numbers, one an atom (n,).

    Raises:
        ImportError: matminer is not installed.
        ValueError: no atoms, or an element without data.
    """
    kinds, counts = np.unique(np.asarray(numbers, dtype=np.int64), return_counts=True)
    table = _properties()
    if not len(kinds) or kinds[0] < 1 or kinds[-1] >= len(table):
        raise ValueError(f"elements {kinds.tolist()} have no Magpie data; give 1 to {len(table) - 1}")
    shares = counts / counts.sum()
    values = table[kinds]
    least, most, mean = values.min(0), values.max(0), shares @ values
    spread = shares @ np.abs(values - mean)
    mode = values[counts == counts.max()].min(0)
    features = np.stack([least, most, most - least, mean, spread, mode], axis=1).reshape(-1)
    standard = (features - np.array(MEANS)) / np.array(DEVIATIONS)
    return np.where(np.isnan(standard), 0.0, standard)


@cache
def _properties() -> NDArray[np.float64]:
    """The 22 Magpie properties by atomic number (row 0 is empty)."""
    try:
        from matminer.featurizers.composition.composite import ElementProperty
    except ImportError as error:
        raise ImportError("matminer is not installed; install the extra: pip install 'moldiff[crystal]'") from error
    from pymatgen.core import Element

    preset = ElementProperty.from_preset("magpie")
    table = np.full((104, len(preset.features)), np.nan)
    for number in range(1, len(table)):
        element = Element.from_Z(number)
        table[number] = [preset.data_source.get_elemental_property(element, name) for name in preset.features]
    return table
