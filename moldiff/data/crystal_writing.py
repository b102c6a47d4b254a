"""Crystals as text: CIF, extended XYZ and POSCAR, one structure at a time."""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import Any

import numpy as np

__all__ = ["SEVERAL_BLOCKS", "block_name", "cif_text", "extxyz_text", "poscar_text", "symmetric"]

SEVERAL_BLOCKS = "many programs read only the first structure of a CIF; name a folder to get one file each"
"""What to tell whoever writes more than one structure to one CIF."""


def block_name(atoms: Any, number: int) -> str:
    """Name of a structure in a file: ``info["name"]``, else the number and formula; without spaces or slashes."""
    name = str(atoms.info.get("name") or f"{number}-{atoms.get_chemical_formula('metal')}")
    return re.sub(r"[^\w.+-]+", "_", name)


def symmetric(atoms: Any, *, tolerance: float = 0.1) -> Any:
    """An `ase.Atoms` moved to its exact symmetry, in the standard primitive cell; see `crystals.reduction`.

    Its ``info`` also has the number of the space group. Raises ValueError if spglib is not installed, and for what is
    no crystal.
    """
    from moldiff.crystals.convert import from_atoms, to_atoms
    from moldiff.crystals.reduction import space_group, symmetrised

    crystal = symmetrised(from_atoms(atoms), tolerance=tolerance)
    found = to_atoms(crystal)
    found.info = dict(atoms.info) | {"spacegroup": space_group(crystal)}
    return found


def cif_text(atoms: Any, name: str, *, symmetry: bool = False) -> str:
    """One data block with all sites in P1, or with ``symmetry`` the conventional cell with its operations (pymatgen).

    Numbers and texts of ``info`` become comments. Coordinates have eight digits.
    """
    notes = [f"# {key}: {value}" for key, value in atoms.info.items() if isinstance(value, str | int | float)]
    if symmetry:
        block = _with_operations(atoms)
        if block is not None:
            return "\n".join([f"data_{name}", *notes, block, ""])
    lengths_angles = atoms.cell.cellpar()
    formula = " ".join(f"{symbol}{count}" for symbol, count in atoms.symbols.formula.count().items())
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    sites = []
    counts: dict[str, int] = {}
    # not wrapped: a coordinate of -1e-17 would be written as 1.00000000
    fractional = np.round(atoms.cell.scaled_positions(atoms.positions), 8) % 1.0
    for symbol, (x, y, z) in zip(atoms.symbols, fractional, strict=True):
        counts[symbol] = counts.get(symbol, 0) + 1
        sites.append(f"  {symbol:<2s} {symbol + str(counts[symbol]):<5s} {x:.8f} {y:.8f} {z:.8f} 1")
    return "\n".join(
        [
            f"data_{name}",
            *notes,
            *(f"_cell_{key:<12s} {value:.8f}" for key, value in zip(keys, lengths_angles, strict=True)),
            f"_cell_volume       {abs(atoms.cell.volume):.8f}",
            f"_chemical_formula_sum '{formula}'",
            "_symmetry_space_group_name_H-M 'P 1'",
            "_symmetry_Int_Tables_number 1",
            "loop_",
            " _symmetry_equiv_pos_as_xyz",
            "  'x, y, z'",
            "loop_",
            *(f" _atom_site_{key}" for key in ("type_symbol", "label", "fract_x", "fract_y", "fract_z", "occupancy")),
            *sites,
            "",
        ]
    )


def _with_operations(atoms: Any) -> str | None:
    """The body of a CIF with symmetry operations; None where the sites do not allow one."""
    from moldiff.crystals.convert import from_atoms, to_structure

    structure = to_structure(from_atoms(atoms))
    from pymatgen.io.cif import CifWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = str(CifWriter(structure, symprec=0.01))
        except Exception:  # spglib's failures are of many kinds, and a structure in P1 is written all the same
            return None
    rows = text.splitlines()
    return "\n".join(row for row in rows if not row.startswith(("#", "data_")))


def extxyz_text(atoms: Any, name: str) -> str:
    """One frame of extended XYZ with ``Lattice`` and the ``info`` of the atoms."""
    from ase.io import write

    plain = atoms.copy()
    plain.info = {"name": name} | {
        key: value
        for key, value in atoms.info.items()
        if isinstance(value, str | bool) or (isinstance(value, int | float | np.number) and math.isfinite(value))
    }
    plain.set_pbc(True)
    stream = io.StringIO()
    write(stream, plain, format="extxyz")
    return stream.getvalue()


def poscar_text(atoms: Any, name: str) -> str:
    """A POSCAR file (VASP 5) with atoms sorted by element; its first line is the name."""
    from ase.io import write

    stream = io.StringIO()
    write(stream, atoms, format="vasp", direct=True, sort=True)
    return "\n".join([name, *stream.getvalue().splitlines()[1:], ""])
