"""Everything found out about one structure alone: what the worker processes run.

Each function takes plain data and returns plain data, so that both cross process borders.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from moldiff.data.profile import measure
from moldiff.molecules.bonds import perceive
from moldiff.molecules.convert import Arrays, MoleculeError, build, canonical_smiles, from_mol
from moldiff.molecules.edm import edm_check
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.kekule import AROMATIC
from moldiff.molecules.validity import check

__all__ = ["analyse", "bust", "drawn", "relax", "training_rmsd"]

HUGE = 1e6
"""Angstrom: bond lengths beyond it are not compared, since one of them would hide all others."""
_MAX_ITERATIONS = 100_000  # of RDKit's search for bond orders
_ORDERS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "AROMATIC": AROMATIC}


def drawn(mol: Any) -> Arrays:
    """The atoms and bonds of a molecule exactly as they are: hydrogens that RDKit would add are not there.

    Without a conformer all positions are zero.

    Raises:
        MoleculeError: reason "bond_type", for a bond that is not single, double, triple or aromatic.
    """
    n = mol.GetNumAtoms()
    bonds = np.zeros((n, n), dtype=np.int64)
    for bond in mol.GetBonds():
        order = _ORDERS.get(bond.GetBondType().name)
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if order is None:
            raise MoleculeError("bond_type", f"bond {i}-{j} is of type {bond.GetBondType().name}")
        bonds[i, j] = bonds[j, i] = order
    positions = np.zeros((n, 3))
    if mol.GetNumConformers():
        positions = np.asarray(mol.GetConformer().GetPositions(), dtype=np.float64).reshape(n, 3)
    atoms = list(mol.GetAtoms())
    return Arrays(
        np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.int64),
        positions,
        np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int64),
        bonds,
    )


def analyse(
    item: tuple[str, Any], *, protocol: str, hydrogens: str, embedded: bool = True, mmff: bool = True
) -> dict[str, Any]:
    """Judge and measure one structure.

    Args:
        item: payload of `moldiff.evaluation.inputs.Structure`.
        protocol: "bonds", "edm" or "edm-geom".
        hydrogens: "explicit" or "implicit".
        embedded: False where the set has no coordinates: no geometry, no energy.
        mmff: compute the MMFF94 energy drop.

    Returns:
        ``row``: the structure's line in the CSV file; ``measured`` (`moldiff.data.profile.measure`) and ``mol``
        (bytes), both None unless it is valid and in one piece.
    """
    kind, data = item
    if protocol != "bonds":
        return _edm(kind, data, table="qm9" if protocol == "edm" else "geom", mmff=mmff)
    if hydrogens == "implicit":
        return _implicit(kind, data)
    try:
        arrays = _arrays(kind, data)
    except MoleculeError as error:
        return {"row": failure(error.reason, str(error)), "measured": None, "mol": None}
    verdict = check(arrays)
    row = {
        "smiles": "" if verdict.mol is None else canonical_smiles(verdict.mol),
        "reason": verdict.reason,
        "message": verdict.message,
        "atoms": verdict.atoms,
        "charge": int(arrays.charges.sum()),
        "valid": verdict.valid,
        "connected": verdict.connected,
        "valid_connected": verdict.valid_connected,
        "valid_connected_published": verdict.published_valid,
        "atoms_stable": verdict.atoms_stable,
        "molecule_stable": verdict.molecule_stable,
        "radical": verdict.reason == "radical",
    }
    return {"row": row, **_finish(row, verdict.mol if verdict.valid_connected else None, embedded, mmff)}


def failure(reason: str, message: str) -> dict[str, Any]:
    """The line of a structure that could not be judged: a failure in every respect."""
    flags = ["valid", "connected", "valid_connected", "valid_connected_published", "molecule_stable", "radical"]
    flags += ["determine_bonds_valid"]
    row = {"smiles": "", "reason": reason, "message": message, "atoms": 0, "charge": 0, "atoms_stable": 0}
    return row | dict.fromkeys(flags, False)


def _arrays(kind: str, data: Any) -> Arrays:
    if kind == "arrays":
        return Arrays(*data)
    if kind == "mol":
        from rdkit import Chem

        return drawn(Chem.Mol(data))
    numbers, positions, charge = data
    found = perceive(np.asarray(numbers), np.asarray(positions), charge=charge, max_iterations=_MAX_ITERATIONS)
    if found.arrays is None:
        raise MoleculeError(found.reason, f"no bonds found for total charge {charge}")
    return found.arrays


def _finish(row: dict[str, Any], mol: Any, embedded: bool, mmff: bool) -> dict[str, Any]:
    """Measure a valid molecule in one piece; numbers for the row go into it."""
    if mol is None:
        return {"measured": None, "mol": None}
    try:
        with np.errstate(all="ignore"):  # absurd coordinates are left out below, without a warning each
            measured = measure(mol, from_mol(mol) if embedded else None)
    except (ValueError, RuntimeError) as error:
        # what cannot be measured is valid all the same
        row["message"] = f"not measured: {error}".splitlines()[0]
        return {"measured": None, "mol": None}
    for kind, (codes, values) in (measured["internals"] or {}).items():
        known = np.isfinite(values) & (np.abs(values) < HUGE)
        measured["internals"][kind] = (codes[known], values[known])
    row |= {name: round(value, 5) for name, value in measured["descriptors"].items()}
    if mmff and embedded:
        drop = mmff_drop(mol)
        if drop is not None and math.isfinite(drop[0]):
            row |= {"mmff_drop": drop[0], "mmff_converged": drop[1]}
        else:
            row["mmff_drop"] = math.inf if drop is not None else math.nan
    return {"measured": measured, "mol": mol.ToBinary()}


def _edm(kind: str, data: Any, *, table: str, mmff: bool) -> dict[str, Any]:
    """Elements and coordinates only: EDM's table, and beside it RDKit's ``DetermineBonds``."""
    if kind == "atoms":
        numbers, positions, charge = np.asarray(data[0]), np.asarray(data[1]), data[2]
    else:
        arrays = _arrays(kind, data)
        numbers, positions, charge = arrays.numbers, arrays.positions, int(arrays.charges.sum())
    verdict = edm_check(numbers, positions, table=table)
    row = {
        "smiles": verdict.smiles or "",
        "reason": verdict.reason,
        "message": verdict.message,
        "atoms": verdict.atoms,
        "charge": charge,
        "valid": verdict.valid,
        "atoms_stable": verdict.atoms_stable,
        "molecule_stable": verdict.molecule_stable,
        "determine_bonds_valid": False,
        "determine_bonds_smiles": "",
    }
    found = perceive(numbers, positions, charge=charge, max_iterations=_MAX_ITERATIONS)
    row["determine_bonds_reason"] = found.reason
    mol = None
    if found.arrays is not None:
        second = check(found.arrays)
        row["determine_bonds_reason"] = second.reason
        if second.valid_connected and second.mol is not None:
            mol = second.mol
            row |= {"determine_bonds_valid": True, "determine_bonds_smiles": canonical_smiles(mol)}
    return {"row": row, **_finish(row, mol, True, mmff)}


def _implicit(kind: str, data: Any) -> dict[str, Any]:
    """A molecule whose hydrogens are understood: only what does not depend on them."""
    from rdkit import Chem, rdBase

    row = failure("sanitize", "")
    try:
        mol = Chem.RWMol(Chem.Mol(data)) if kind == "mol" else _drawn_implicitly(_arrays(kind, data))
        charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
        row |= {"atoms": mol.GetNumAtoms(), "charge": charge}
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
    except Chem.AtomValenceException as error:
        return {"row": row | {"reason": "valence", "message": str(error)}, "measured": None, "mol": None}
    except Chem.KekulizeException as error:
        return {"row": row | {"reason": "kekulize", "message": str(error)}, "measured": None, "mol": None}
    except (ValueError, RuntimeError) as error:
        reason = error.reason if isinstance(error, MoleculeError) else "sanitize"
        return {"row": row | {"reason": reason, "message": str(error)}, "measured": None, "mol": None}
    atoms = mol.GetNumAtoms()
    radical = any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    connected = atoms > 0 and len(Chem.GetMolFrags(mol)) == 1
    valid = atoms > 0 and not radical
    reason = "ok" if valid and connected else "radical" if radical else "disconnected" if atoms else "empty"
    row |= {"smiles": canonical_smiles(mol) if valid else "", "reason": reason, "valid": valid, "radical": radical}
    row |= {"connected": connected, "valid_connected": valid and connected, "valid_connected_published": connected}
    return {"row": row, **_finish(row, mol.GetMol() if valid and connected else None, False, False)}


def _drawn_implicitly(arrays: Arrays) -> Any:
    return build(arrays, arrays.bonds, implicit=True)


def training_rmsd(item: tuple[bytes, list[tuple[str, Any]]]) -> float:
    """Smallest heavy-atom RMSD (angstrom) of a molecule to training geometries of the same graph, mirror images too.

    Args:
        item: the molecule as bytes, and (SMILES, heavy atoms (k, 3) in its order) of each training geometry.
    """
    from rdkit import Chem, rdBase

    from moldiff.molecules.geometry import symmetric_rmsd

    binary, known = item
    mol = Chem.Mol(binary)
    Chem.RemoveStereochemistry(mol)
    with rdBase.BlockLogs():
        mol = Chem.RemoveHs(mol)
    found = []
    for smiles, positions in known:
        other = Chem.MolFromSmiles(smiles)
        conformer = Chem.Conformer(other.GetNumAtoms())
        conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
        other.AddConformer(conformer)
        found.append(symmetric_rmsd(mol, other, heavy=True, reflect=True))
    return min(found)


def fingerprint_of(smiles: str) -> np.ndarray:
    """Fingerprint of a SMILES, (128,) uint8.

    Raises:
        ValueError: RDKit cannot read it.
    """
    from rdkit import Chem

    from moldiff.molecules.similarity import fingerprint

    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(f"RDKit cannot read the SMILES {smiles[:60]!r}")
    return fingerprint(mol)


def relax(binary: bytes, *, seconds: float) -> dict[str, Any]:
    """GFN2-xTB relaxation of a molecule given as bytes; the fields of `moldiff.molecules.relaxation.Relaxation`."""
    from rdkit import Chem

    from moldiff.molecules import relaxation

    done = relaxation.relax(from_mol(Chem.Mol(binary)), seconds=seconds)
    names = ("ok", "reason", "message", "drop", "rmsd", "length_change", "angle_change", "torsion_change")
    return {name: getattr(done, name) for name in (*names, "graph_changed", "steps", "evaluations")}


def bust(binary: bytes) -> dict[str, bool]:
    """PoseBusters' tests of one molecule given as bytes."""
    from rdkit import Chem

    from moldiff.molecules.posebusters import posebust

    return posebust([Chem.Mol(binary)])[0]
