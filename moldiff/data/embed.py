"""3D coordinates for a molecular graph: ETKDG, then MMFF94."""

from __future__ import annotations

from typing import Any

__all__ = ["embed"]


def embed(mol: Any, *, seed: int = 0, iterations: int = 1000) -> Any:
    """Return a copy of an RDKit molecule with explicit hydrogens and one conformer.

    Coordinates come from ETKDG (version 3, Riniker and Landrum 2015), relaxed with MMFF94 (Halgren 1996), with UFF
    where MMFF94 has no parameters. The same molecule and ``seed`` give the same coordinates. Raises ValueError if
    RDKit finds none.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    with rdBase.BlockLogs():
        full = Chem.AddHs(mol)
        full.RemoveAllConformers()
        settings = rdDistGeom.ETKDGv3()
        settings.randomSeed = seed & 0x7FFFFFFF
        if rdDistGeom.EmbedMolecule(full, settings) != 0:
            settings.useRandomCoords = True
            if rdDistGeom.EmbedMolecule(full, settings) != 0:
                raise ValueError(
                    f"ETKDG found no 3D coordinates for {Chem.MolToSmiles(mol)!r}; give a file with coordinates"
                )
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.MMFFOptimizeMolecule(full, maxIters=iterations)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.UFFOptimizeMolecule(full, maxIters=iterations)
    return full
