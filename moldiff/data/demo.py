"""A small data set the project makes itself, for tests, notebooks and demonstrations without a network.

Small molecules of C, H, N and O, enumerated here, with conformers of ETKDG and MMFF94. They are no substitute for
QM9: the geometries are those of a force field, and the chemistry is what the lists below hold.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from moldiff.data.archive import Archive, Record, split_by_smiles
from moldiff.data.embed import embed

__all__ = ["demo_archive", "demo_smiles"]

MAX_HEAVY_ATOMS = 9
"""Largest number of atoms other than hydrogen, as in QM9."""

_WHOLE = (
    "C",
    "N",
    "O",
    "C=O",
    "C#N",
    "C#C",
    "C=C",
    "CO",
    "CN",
    "CC",
    "N#CC#N",
    "O=C=O",
    "C1CC1",
    "C1CO1",
    "NC=O",
    "CNC=O",
)
# each core has one or two open ends, written {0} and {1}
_CORES = (
    "C{0}",
    "CC{0}",
    "CCC{0}",
    "CC(C){0}",
    "C=CC{0}",
    "C#CC{0}",
    "C1CC1{0}",
    "C1CCC1{0}",
    "C1CCCC1{0}",
    "C1CCCCC1{0}",
    "C1COC1{0}",
    "C1CCOC1{0}",
    "C1CNC1{0}",
    "C1CCNC1{0}",
    "c1ccccc1{0}",
    "c1ccncc1{0}",
    "c1cccnc1{0}",
    "c1cncnc1{0}",
    "c1ccoc1{0}",
    "c1cc[nH]c1{0}",
    "c1cnc[nH]1{0}",
    "c1cocn1{0}",
    "{1}CC{0}",
    "{1}CCC{0}",
    "{1}C1CC1{0}",
    "{1}C1CCC1{0}",
    "{1}c1ccc({0})o1",
    "{1}c1ccc({0})[nH]1",
    "{1}c1ccc({0})cc1",
    "{1}C=C{0}",
    "{1}C(C){0}",
    "{1}N(C){0}",
)
_ENDS = ("", "C", "O", "N", "C=O", "C#N", "OC", "NC", "C(C)=O", "C(N)=O", "C(=O)O", "C#C", "C=C", "CO", "CN")


def demo_smiles() -> tuple[str, ...]:
    """All SMILES of the demonstration set: canonical, distinct, sorted; over a thousand, at most nine heavy atoms."""
    from rdkit import Chem, rdBase

    found = set()
    texts = list(_WHOLE)
    for core, first, second in product(_CORES, _ENDS, _ENDS):
        if "{1}" in core or second == "":
            # an empty branch "()" is no SMILES
            texts.append(core.format(first, second).replace("()", ""))
    with rdBase.BlockLogs():
        for text in texts:
            mol = Chem.MolFromSmiles(text)
            if mol is not None and mol.GetNumHeavyAtoms() <= MAX_HEAVY_ATOMS:
                found.add(Chem.MolToSmiles(mol, isomericSmiles=False))
    return tuple(sorted(found))


def demo_archive(n: int = 200, *, seed: int = 0) -> Archive:
    """An archive of ``n`` different molecules with one conformer each, split 80 : 10 : 10, with descriptor properties.

    The same ``n`` and ``seed`` give the same archive (with the same version of RDKit); a smaller ``n`` gives the
    beginning of a larger one, but for the split. Raises ValueError if ``n`` is not between 1 and the number of
    `demo_smiles`.
    """
    from moldiff.data.files import record_of
    from moldiff.molecules.descriptors import NAMES, UNITS, describe

    smiles = demo_smiles()
    if not 1 <= n <= len(smiles):
        raise ValueError(f"n={n} molecules cannot be made; choose 1 to {len(smiles)}")
    from rdkit import Chem

    order = np.random.default_rng(seed).permutation(len(smiles))
    records: list[Record] = []
    names: list[str] = []
    values: list[list[float]] = []
    index: list[int] = []
    for i in order.tolist():
        if len(records) == n:
            break
        try:
            mol = embed(Chem.MolFromSmiles(smiles[i]), seed=seed)
        except ValueError:
            continue  # no conformer: the next molecule takes its place
        record, name = record_of(mol)
        described = describe(mol)
        records.append(record)
        names.append(name)
        values.append([described[key] for key in NAMES])
        index.append(i)
    return Archive.build(
        records,
        smiles=names,
        split=split_by_smiles(names, seed=seed),
        properties=np.array(values, dtype=np.float32),
        property_names=NAMES,
        property_units=[UNITS[key] for key in NAMES],
        index=index,
    )
