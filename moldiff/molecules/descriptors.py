"""Cheap numbers about a molecule's graph, by name.

A descriptor of your own is one more `Descriptor`: anything that takes a molecule and gives a number.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from rdkit import Chem, rdBase


@dataclass(frozen=True)
class Descriptor:
    """A named number of a molecule; call it with the molecule.

    Attributes:
        name: its name in tables.
        unit: its unit, empty for a pure number.
        function: takes a sanitised molecule *without* explicit hydrogens and gives a number.
    """

    name: str
    unit: str
    function: Callable[[Chem.Mol], float]

    def __call__(self, mol: Chem.Mol) -> float:
        """The value for a sanitised molecule, with or without explicit hydrogens; it is not changed."""
        return float(self.function(_without_hydrogens(mol)))


def describe(mol: Chem.Mol) -> dict[str, float]:
    """All descriptors of a molecule.

    Args:
        mol: a sanitised molecule, with or without explicit hydrogens; it is not changed.

    Returns:
        name -> value, in the order of `NAMES`, in the units of `UNITS`.

    Raises:
        ImportError: RDKit was installed without its synthetic accessibility score.
    """
    heavy = _without_hydrogens(mol)
    return {name: float(descriptor.function(heavy)) for name, descriptor in DESCRIPTORS.items()}


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    with rdBase.BlockLogs():
        return Chem.RemoveHs(mol)


def _logp(mol: Chem.Mol) -> float:
    from rdkit.Chem import Crippen

    return Crippen.MolLogP(mol)


def _qed(mol: Chem.Mol) -> float:
    from rdkit.Chem import QED

    return QED.qed(mol)


def _tpsa(mol: Chem.Mol) -> float:
    from rdkit.Chem import rdMolDescriptors

    return rdMolDescriptors.CalcTPSA(mol)


def _sa(mol: Chem.Mol) -> float:
    return _sascorer().calculateScore(mol)


@functools.cache
def _sascorer() -> ModuleType:
    """RDKit's contributed script, loaded from its file: it is no part of the rdkit package."""
    import importlib.util
    from pathlib import Path

    from rdkit import RDConfig

    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(
            f"RDKit's synthetic accessibility score is not at {path}; install rdkit from PyPI: pip install rdkit"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rings(mol: Chem.Mol) -> float:
    from rdkit.Chem import rdMolDescriptors

    return rdMolDescriptors.CalcNumRings(mol)


def _heavy_atoms(mol: Chem.Mol) -> float:
    return mol.GetNumHeavyAtoms()


DESCRIPTORS: Mapping[str, Descriptor] = MappingProxyType(
    {
        descriptor.name: descriptor
        for descriptor in (
            Descriptor("logp", "", _logp),
            Descriptor("qed", "", _qed),
            Descriptor("tpsa", "angstrom^2", _tpsa),
            Descriptor("sa", "", _sa),
            Descriptor("rings", "", _rings),
            Descriptor("heavy_atoms", "", _heavy_atoms),
        )
    }
)
"""``logp`` Crippen's octanol-water partition (Wildman and Crippen 1999); ``qed`` drug-likeness from 0 to 1 (Bickerton
et al. 2012); ``tpsa`` polar surface (Ertl et al. 2000); ``sa`` synthetic accessibility from 1, easy, to 10 (Ertl and
Schuffenhauer 2009); ``rings`` of the smallest set; ``heavy_atoms``."""

NAMES: tuple[str, ...] = tuple(DESCRIPTORS)
"""Names of all descriptors."""

UNITS: Mapping[str, str] = MappingProxyType({name: d.unit for name, d in DESCRIPTORS.items()})
"""Unit of each descriptor, empty for a pure number."""
