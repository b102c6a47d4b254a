"""How like a reference a set of molecules is: the metrics of MOSES (Polykovskiy et al. 2020).

Everything here is about graphs without explicit hydrogens and without stereochemistry.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator, rdmolops
from rdkit.Chem.Scaffolds import MurckoScaffold

BITS = 1024
"""Length of a fingerprint."""

_RADIUS = 2
_BLOCK = 2000

Key = TypeVar("Key")


def strip(mol: Chem.Mol) -> Chem.Mol:
    """A copy without hydrogens and without stereochemistry, which generated molecules need not have assigned.

    The other functions here do it themselves; where several are called, stripping once beforehand saves time.

    Args:
        mol: a sanitised molecule; it is not changed.
    """
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    with rdBase.BlockLogs():
        return Chem.RemoveHs(flat)


def fingerprint(mol: Chem.Mol) -> np.ndarray:
    """Morgan fingerprint of radius 2 and 1024 bits, as MOSES uses it.

    Args:
        mol: a sanitised molecule, with or without explicit hydrogens; it is not changed.

    Returns:
        (128,) uint8, eight bits a byte (`numpy.unpackbits` unpacks them).
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=BITS)
    bits = np.zeros(BITS, dtype=np.uint8)
    DataStructs.ConvertToNumpyArray(generator.GetFingerprint(strip(mol)), bits)
    return np.packbits(bits)


def fingerprints(mols: Iterable[Chem.Mol]) -> np.ndarray:
    """Fingerprints of M molecules, (M, 128) uint8."""
    rows = [fingerprint(mol) for mol in mols]
    return np.stack(rows) if rows else np.zeros((0, BITS // 8), dtype=np.uint8)


def nearest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Tanimoto similarity of each fingerprint to the most similar one of another set.

    Args:
        first: (M, 128) uint8, packed.
        second: (K, 128) uint8, packed.

    Returns:
        (M,) float64 in [0, 1]; NaN where ``second`` is empty.

    Raises:
        ValueError: arrays that are no packed fingerprints.
    """
    first, second = _checked(first), _checked(second)
    best = np.full(len(first), np.nan if not len(second) else 0.0)
    for start in range(0, len(first), _BLOCK):
        rows = _floats(first[start : start + _BLOCK])
        for other in range(0, len(second), _BLOCK):
            found = _tanimoto(rows, _floats(second[other : other + _BLOCK])).max(1)
            np.maximum(best[start : start + _BLOCK], found, out=best[start : start + _BLOCK])
    return best


def snn(first: np.ndarray, second: np.ndarray) -> float:
    """Similarity to the nearest neighbour: the mean of `nearest` over ``first``; NaN if either set is empty."""
    found = nearest(first, second)
    return float(found.mean()) if len(found) else float("nan")


def internal_diversity(packed: np.ndarray, *, p: int = 1) -> float:
    """One minus the mean similarity within a set, all M x M pairs counted (a molecule with itself as well).

    Args:
        packed: (M, 128) uint8 fingerprints.
        p: power: each molecule's similarities are averaged as (mean of T^p)^(1/p).

    Returns:
        in [0, 1]; NaN for an empty set.

    Raises:
        ValueError: no packed fingerprints, or a power below 1.
    """
    packed = _checked(packed)
    if p < 1:
        raise ValueError(f"p = {p}; a power of at least 1 is needed (MOSES reports 1 and 2)")
    if not len(packed):
        return float("nan")
    sums = np.zeros(len(packed))
    for start in range(0, len(packed), _BLOCK):
        rows = _floats(packed[start : start + _BLOCK])
        for other in range(0, len(packed), _BLOCK):
            similar = _tanimoto(rows, _floats(packed[other : other + _BLOCK]))
            sums[start : start + _BLOCK] += (similar if p == 1 else similar**p).sum(1, dtype=np.float64)
    return float(1 - ((sums / len(packed)) ** (1 / p)).mean())


def fragments(mol: Chem.Mol) -> Counter[str]:
    """SMILES of the pieces left when every BRICS bond (Degen et al. 2008) is cut, with their counts.

    Args:
        mol: a sanitised molecule, with or without explicit hydrogens; it is not changed.
    """
    with rdBase.BlockLogs():
        pieces = rdmolops.FragmentOnBRICSBonds(strip(mol))
    return Counter(Chem.MolToSmiles(pieces).split("."))


def scaffold(mol: Chem.Mol, *, min_rings: int = 2) -> str | None:
    """SMILES of the Murcko scaffold: rings and the chains between them (Bemis and Murcko 1996).

    Args:
        mol: a sanitised molecule, with or without explicit hydrogens; it is not changed.
        min_rings: a scaffold of fewer rings does not count; two in MOSES.

    Returns:
        the SMILES, or None where there is no such scaffold.
    """
    core = MurckoScaffold.GetScaffoldForMol(strip(mol))
    if core.GetRingInfo().NumRings() < min_rings:
        return None
    return Chem.MolToSmiles(core) or None


def cosine(first: Mapping[Key, float], second: Mapping[Key, float]) -> float:
    """Cosine similarity of two sets of counts (of fragments, of scaffolds); NaN if either is empty."""
    length = sum(n * n for n in first.values()) * sum(n * n for n in second.values())
    if not length:
        return float("nan")
    return float(sum(n * second.get(key, 0) for key, n in first.items()) / length**0.5)


def _checked(packed: np.ndarray) -> np.ndarray:
    packed = np.asarray(packed)
    if packed.ndim != 2 or packed.shape[1] != BITS // 8 or packed.dtype != np.uint8:
        raise ValueError(
            f"an array of {packed.dtype} and shape {packed.shape} holds no fingerprints; make (M, 128) uint8 by "
            "fingerprints(mols)"
        )
    return packed


def _floats(packed: np.ndarray) -> np.ndarray:
    # Counts up to 1024 are exact in float32, and its matrix product is far faster than integer popcounts.
    return np.unpackbits(packed, axis=1).astype(np.float32)


def _tanimoto(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(M, bits) and (K, bits) flags -> (M, K); two empty fingerprints are alike."""
    common = first @ second.T
    union = first.sum(1)[:, None] + second.sum(1)[None] - common
    empty = union == 0
    union[empty] = 1
    common[empty] = 1
    common /= union
    return common
