"""What a set of molecules looks like as distributions: the side of a comparison that a reference file keeps.

`measure` takes one molecule and gives plain numbers, so that worker processes can return them; a `Profile` adds
them up.
"""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COUNTED", "DESCRIBED", "Profile", "edm_smiles", "heavy_geometry", "measure", "measure_arrays"]

DESCRIBED = ("qed", "sa", "logp", "weight")
"""Descriptors compared as distributions; ``weight`` in g/mol, the others as in `moldiff.molecules.descriptors`."""
COUNTED = ("element", "size", "bond", "ring_size", "fragment", "scaffold")
"""Things counted in a set: atoms by element, molecules by atoms, bonds of heavy atoms by order, rings by size, BRICS
fragments, Murcko scaffolds."""


def measure(mol: Any, arrays: Any = None) -> dict[str, Any]:
    """Everything about one molecule that is compared as a distribution.

    Args:
        mol: a sanitised `rdkit.Chem.Mol`.
        arrays: `moldiff.molecules.convert.Arrays` of it with aromatic bonds; None leaves the geometry out.

    Returns:
        ``internals`` (see `moldiff.molecules.geometry.internals`, or None), ``descriptors`` by name, ``counts`` by
        `COUNTED` and then by what is counted, and ``fingerprint`` (128,) uint8.
    """
    from rdkit.Chem import Descriptors

    from moldiff.molecules import descriptors, geometry, similarity

    known = descriptors.DESCRIPTORS
    numbers = {name: known[name](mol) for name in DESCRIBED if name in known}
    scaffold = similarity.scaffold(mol)
    counts = {
        "element": Counter(atom.GetSymbol() for atom in mol.GetAtoms()),
        "size": Counter([str(mol.GetNumAtoms())]),
        "bond": Counter(geometry.bond_orders(mol)),
        "ring_size": Counter(str(size) for size in geometry.ring_sizes(mol)),
        "fragment": Counter(similarity.fragments(mol)),
        "scaffold": Counter([] if scaffold is None else [scaffold]),
    }
    return {
        "internals": None if arrays is None else geometry.internals(arrays),
        "descriptors": {**numbers, "weight": float(Descriptors.MolWt(mol))},
        "counts": {name: dict(counter) for name, counter in counts.items()},
        "fingerprint": similarity.fingerprint(mol),
    }


def measure_arrays(record: Sequence[Any]) -> dict[str, Any]:
    """`measure` of ``(numbers, positions, charges, bonds)``, kekulised, or of what else `Arrays` takes."""
    from moldiff.molecules.convert import Arrays, from_mol, to_mol

    mol = to_mol(Arrays(*record))
    return measure(mol, from_mol(mol))


def edm_smiles(record: Sequence[Any]) -> str | None:
    """SMILES of ``(numbers, positions)`` under the EDM protocol, None where that is not valid."""
    from moldiff.molecules.edm import edm_check

    return edm_check(record[0], record[1]).smiles


def heavy_geometry(record: Sequence[Any]) -> tuple[str, NDArray[np.float64]]:
    """Canonical SMILES of ``(numbers, positions, charges, bonds)`` and its heavy atoms (k, 3) in that SMILES' order."""
    from rdkit import Chem, rdBase

    from moldiff.molecules.convert import Arrays, to_mol

    mol = to_mol(Arrays(*record))
    Chem.RemoveStereochemistry(mol)
    with rdBase.BlockLogs():
        flat = Chem.RemoveHs(mol, sanitize=False)
    smiles = Chem.MolToSmiles(flat, isomericSmiles=False)
    order = list(flat.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    return smiles, np.asarray(flat.GetConformer().GetPositions())[order]


@dataclass(frozen=True)
class Profile:
    """The distributions of a set of molecules.

    Attributes:
        structures: how many molecules. smiles: their canonical SMILES, for fingerprints.
        histograms: length, angle and torsion -> `moldiff.molecules.distributions.Histogram`.
        descriptors: name -> (structures,) values.
        counts: name of `COUNTED` -> thing -> how often.
    """

    structures: int
    smiles: list[str]
    histograms: dict[str, Any]
    descriptors: dict[str, NDArray[np.float64]]
    counts: dict[str, dict[str, int]]

    @staticmethod
    def of(measured: Sequence[Mapping[str, Any]], smiles: Iterable[str]) -> Profile:
        """Add up results of `measure`."""
        from moldiff.molecules.distributions import Measured

        geometry = [m["internals"] for m in measured if m["internals"] is not None]
        joined = Measured.join(geometry) if geometry else {}
        return Profile(
            structures=len(measured),
            smiles=list(smiles),
            histograms={kind: values.histogram() for kind, values in joined.items()},
            descriptors={name: np.array([m["descriptors"][name] for m in measured]) for name in DESCRIBED},
            counts={name: add_up(m["counts"][name] for m in measured) for name in COUNTED},
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays of a reference file."""
        stored: dict[str, NDArray[Any]] = {f"profile_{kind}": h.pack() for kind, h in self.histograms.items()}
        for name, values in self.descriptors.items():
            stored[f"profile_{name}"] = values.astype(np.float32)
        text = json.dumps({"counts": self.counts, "structures": self.structures, "smiles": self.smiles})
        stored["profile_text"] = np.frombuffer(lzma.compress(text.encode(), preset=9), np.uint8)
        return stored

    @staticmethod
    def from_arrays(stored: Mapping[str, NDArray[Any]], *, same_rdkit: bool) -> Profile:
        """Read what `arrays` wrote.

        What depends on the version of RDKit, as SMILES of fragments do, is counted again with another one than the
        file's; so is what older files lack.
        """
        from moldiff.molecules.distributions import Histogram
        from moldiff.molecules.geometry import KINDS

        text = json.loads(lzma.decompress(stored["profile_text"].tobytes()))
        counts = text["counts"]
        if not same_rdkit or any(name not in counts for name in COUNTED):
            counts |= count_again(text["smiles"])
        return Profile(
            structures=text["structures"],
            smiles=text["smiles"],
            histograms={
                kind: Histogram.unpack(stored[f"profile_{kind}"]) for kind in KINDS if f"profile_{kind}" in stored
            },
            descriptors={name: stored[f"profile_{name}"].astype(np.float64) for name in DESCRIBED},
            counts=counts,
        )


def add_up(counters: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counters, sorted by key."""
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(sorted(total.items()))


def count_again(smiles: Sequence[str]) -> dict[str, dict[str, int]]:
    """Bonds, fragments and scaffolds of SMILES as the RDKit at hand sees them."""
    from rdkit import Chem

    from moldiff.molecules.geometry import bond_orders
    from moldiff.molecules.similarity import fragments, scaffold

    mols = [mol for mol in map(Chem.MolFromSmiles, smiles) if mol is not None]
    frames = [frame for frame in map(scaffold, mols) if frame is not None]
    return {
        "bond": add_up(Counter(bond_orders(mol)) for mol in mols),
        "fragment": add_up(map(fragments, mols)),
        "scaffold": add_up({frame: 1} for frame in frames),
    }
