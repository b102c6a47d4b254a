"""How strained a geometry is, by the MMFF94 force field."""

import math

from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers


def mmff_drop(mol: Chem.Mol, *, max_iterations: int = 1000) -> tuple[float, bool] | None:
    """MMFF94 energy before minus after minimisation (Halgren 1996), from the molecule's own geometry.

    Args:
        mol: a sanitised molecule with explicit hydrogens and a conformer; it is not changed.
        max_iterations: limit of minimisation steps.

    Returns:
        ``(drop, converged)``: kcal/mol, not negative apart from rounding (infinite where atoms coincide), and whether
        the minimisation converged within the limit. None when MMFF94 has no parameters for the molecule.

    Raises:
        ValueError: no conformer, or a limit below 1.
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations = {max_iterations}; at least 1 is needed")
    if not mol.GetNumConformers():
        raise ValueError("the molecule has no conformer; embed it first (rdkit.Chem.AllChem.EmbedMolecule)")
    relaxed = Chem.Mol(mol)
    with rdBase.BlockLogs():
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(relaxed, mmffVariant="MMFF94")
        if properties is None:
            return None
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(relaxed, properties, ignoreInterfragInteractions=False)
        if field is None:
            return None
        field.Initialize()
        before = field.CalcEnergy()
        if not math.isfinite(before):
            return math.inf, False
        converged = field.Minimize(maxIts=max_iterations) == 0
        after = field.CalcEnergy()
    return (before - after, converged) if math.isfinite(after) else (math.inf, False)
