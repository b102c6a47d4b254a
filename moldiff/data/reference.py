"""The reference file that lies beside shipped weights: what novelty needs of the training set after a pip install.

SMILES are stored as text, not as hashes: another RDKit version may write the same molecule in another way, so they are
canonicalised again once a version and kept in the cache folder.
"""

from __future__ import annotations

import hashlib
import lzma
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moldiff.data.archive import Archive
from moldiff.data.download import cache_folder


@dataclass(frozen=True)
class Reference:
    """Canonical SMILES (no hydrogens, no stereochemistry) of the training and the test set.

    Attributes:
        data: name of the data set.
        train, test: sets of SMILES in the form of the RDKit at hand.
    """

    data: str
    train: frozenset[str]
    test: frozenset[str]

    @staticmethod
    def build(path: str | os.PathLike[str], archive: Archive, *, data: str) -> Path:
        """Write the reference file of an archive (its SMILES must be canonical for the RDKit at hand)."""
        from rdkit import rdBase

        path = Path(path)
        train, test = (pack(sorted(set(archive.subset(split).smiles.tolist()))) for split in ("train", "test"))
        version = np.array(rdBase.rdkitVersion)
        np.savez(path, data=np.array(data), rdkit=version, train_smiles=train, test_smiles=test)
        return path

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Reference:
        """Read a reference file.

        Raises:
            ValueError: if it is no such file.
        """
        from rdkit import rdBase

        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as stored:
                data, version = str(stored["data"]), str(stored["rdkit"])
                texts = {split: unpack(stored[f"{split}_smiles"]) for split in ("train", "test")}
        except (OSError, KeyError, ValueError, lzma.LZMAError) as error:
            raise ValueError(f"{path} is not a reference file ({error}): reinstall, or build it again") from error
        if version != rdBase.rdkitVersion:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            texts = {
                split: canonical_again(smiles, cache_folder() / f"{digest}-{rdBase.rdkitVersion}-{split}.smi")
                for split, smiles in texts.items()
            }
        return Reference(data, frozenset(texts["train"]), frozenset(texts["test"]))


def pack(smiles: Iterable[str]) -> np.ndarray:
    """Lines as LZMA-compressed bytes, uint8."""
    return np.frombuffer(lzma.compress("\n".join(smiles).encode(), preset=9 | lzma.PRESET_EXTREME), np.uint8)


def unpack(packed: np.ndarray) -> list[str]:
    """The lines again."""
    text = lzma.decompress(packed.tobytes()).decode()
    return text.split("\n") if text else []


def canonical_again(smiles: list[str], cached: Path) -> list[str]:
    """SMILES in the form of the RDKit at hand, from the cache file if it is there."""
    if cached.is_file():
        return cached.read_text().split("\n")
    from rdkit import Chem

    from moldiff.molecules.convert import canonical_smiles

    fresh = []
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        fresh.append(text if mol is None else canonical_smiles(mol))
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_suffix(".tmp")
        temporary.write_text("\n".join(fresh))
        os.replace(temporary, cached)
    except OSError:
        # a read-only home only costs the time again
        pass
    return fresh
