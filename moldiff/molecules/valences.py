"""Which bond-order sums an atom may have: the stability table, as plain data.

No import beyond the standard library, so that a check during training can read the same table without RDKit.
"""

from collections.abc import Mapping
from types import MappingProxyType

STABLE_VALENCES: Mapping[tuple[int, int], tuple[int, ...]] = MappingProxyType(
    {
        (1, 0): (1,),
        (5, 0): (3,),
        (5, -1): (4,),
        (6, 0): (4,),
        (6, 1): (3,),
        (6, -1): (3,),
        (7, 0): (3,),
        (7, 1): (4,),
        (7, -1): (2,),
        (8, 0): (2,),
        (8, 1): (3,),
        (8, -1): (1,),
        (9, 0): (1,),
        (14, 0): (4,),
        (15, 0): (3, 5),
        (15, 1): (4,),
        (16, 0): (2, 4, 6),
        (16, 1): (3,),
        (16, -1): (1,),
        (17, 0): (1,),
        (35, 0): (1,),
        (53, 0): (1,),
    }
)
"""Allowed bond-order sums, ascending, by (atomic number, formal charge), hydrogens and all bonds counted after
kekulising. A pair that is not listed is unstable whatever its bonds."""


def is_stable(number: int, charge: int, valence: int) -> bool:
    """Whether an atom's bond-order sum is one the stability table allows.

    Args:
        number: atomic number.
        charge: formal charge (e).
        valence: sum of the kekulised bond orders of the atom, hydrogens included.
    """
    return valence in STABLE_VALENCES.get((number, charge), ())
