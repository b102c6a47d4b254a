"""An archive as a torch-geometric data set, and any torch-geometric data set as an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data, InMemoryDataset

from moldiff.data.archive import Archive, Record, split_by_smiles

__all__ = ["MoleculeDataset", "archive_from_pyg", "prepared"]


class MoleculeDataset(InMemoryDataset):
    """The molecules of an archive, held in memory.

    An item is a `torch_geometric.data.Data` with, for n atoms, e directed edges (each bond twice) and P properties:
    ``z (n,)`` int64 atomic numbers, ``pos (n, 3)`` float32 in angstrom, ``charges (n,)`` int64 formal charges,
    ``edge_index (2, e)`` int64, ``edge_attr (e,)`` int64 kekulised bond order 1-3, ``y (1, P)`` float32, ``smiles``
    str and ``idx (1,)`` int64, the number in the source. Names and units of ``y`` are in ``archive``.

    ``split`` chooses "train", "val" or "test" (default: all). ``transform`` is applied to each item when it is taken,
    ``pre_transform`` and ``pre_filter`` once here.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        split: str | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        pre_filter: Callable[[Data], bool] | None = None,
    ) -> None:
        super().__init__(None, transform, pre_transform, pre_filter)
        self.archive = archive if split is None else archive.subset(split)
        items = (_item(self.archive, i) for i in range(len(self.archive)))
        self.data, self.slices = self.collate(prepared(items, self, split=split, noun="molecule"))


def prepared(items: Iterable[Data], dataset: InMemoryDataset, *, split: str | None, noun: str) -> list[Data]:
    """The items of a data set after its ``pre_filter`` and ``pre_transform``.

    Args:
        items: of the archive.
        dataset: whose functions they are.
        split, noun: what was chosen and what an item is, for the error.

    Raises:
        ValueError: if nothing is left.
    """
    kept = [item for item in items if dataset.pre_filter is None or dataset.pre_filter(item)]
    if not kept:
        raise ValueError(
            f"no {noun} is left (split {split!r}, filter {dataset.pre_filter}); choose a larger archive or split"
        )
    return kept if dataset.pre_transform is None else [dataset.pre_transform(item) for item in kept]


def archive_from_pyg(
    dataset: Iterable[Any],
    *,
    property_names: Iterable[str] = (),
    property_units: Iterable[str] = (),
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> tuple[Archive, list[tuple[int, str]]]:
    """Make an archive of any data set whose items have ``z`` (n,) and ``pos`` (n, 3) in angstrom.

    With ``edge_index`` and ``edge_attr`` of whole numbers 0-3 (one column), or one-hot over single, double, triple,
    aromatic (four columns, as in `torch_geometric.datasets.QM9`), the bonds are taken from there, with ``charges`` or
    ``formal_charges`` (n,) if present; otherwise bonds and charges are perceived from the geometry, neutral or for
    the total ``charge`` of the item. ``y`` (P,) or (1, P) become properties, named y0, y1, ... unless
    ``property_names`` are given. The split is random, equal molecules together. Returns the archive and the skipped
    items as (position, reason). Raises ValueError if no item fits.
    """
    records: list[Record] = []
    smiles: list[str] = []
    values: list[NDArray[Any]] = []
    index: list[int] = []
    skipped: list[tuple[int, str]] = []
    for i, item in enumerate(dataset):
        try:
            record, name = _record(item)
        except (ValueError, RuntimeError) as error:
            skipped.append((i, str(error).strip().splitlines()[0]))
            continue
        y = getattr(item, "y", None)
        records.append(record)
        smiles.append(name)
        values.append(np.zeros(0) if y is None else np.asarray(torch.as_tensor(y).detach().cpu(), float).reshape(-1))
        index.append(i)
    if not records:
        reasons = "; ".join(f"item {i}: {reason}" for i, reason in skipped[:3])
        raise ValueError(f"no item of the data set makes a molecule ({reasons or 'it is empty'}); items need z and pos")
    width = {len(row) for row in values}
    if len(width) > 1:
        raise ValueError(f"y has {sorted(width)} values in different items; every molecule needs the same properties")
    count = width.pop()
    names = list(property_names) or [f"y{column}" for column in range(count)]
    units = list(property_units) or [""] * count
    if len(names) != count or len(units) != count:
        raise ValueError(f"{len(names)} names and {len(units)} units do not belong to {count} values of y")
    archive = Archive.build(
        records,
        smiles=smiles,
        split=split_by_smiles(smiles, fractions=fractions, seed=seed),
        properties=np.stack(values).astype(np.float32),
        property_names=names,
        property_units=units,
        index=index,
    )
    return archive, skipped


def _item(archive: Archive, i: int) -> Data:
    record = archive.record(i)
    edges = np.stack(np.nonzero(record.bonds))
    return Data(
        z=torch.from_numpy(record.numbers),
        pos=torch.from_numpy(record.positions).float(),
        charges=torch.from_numpy(record.charges),
        edge_index=torch.from_numpy(edges),
        edge_attr=torch.from_numpy(record.bonds[tuple(edges)]),
        y=torch.from_numpy(np.array(archive.properties[i], dtype=np.float32)).reshape(1, -1),
        smiles=str(archive.smiles[i]),
        idx=torch.tensor([int(archive.index[i])]),
    )


def _record(item: Any) -> tuple[Record, str]:
    from moldiff.molecules.bonds import perceive
    from moldiff.molecules.convert import AROMATIC, canonical_smiles, perceive_aromatic, to_mol

    if getattr(item, "z", None) is None or getattr(item, "pos", None) is None:
        raise ValueError("has no z or no pos; atomic numbers and coordinates are needed")
    numbers = _array(item.z).astype(np.int64).reshape(-1)
    positions = _array(item.pos).astype(np.float64)
    if not np.isfinite(positions).all():
        raise ValueError("coordinates are not finite")
    arrays = _drawn(item, numbers, positions)
    if arrays is None:
        total = getattr(item, "charge", None)
        charge = 0 if total is None else int(_array(total).reshape(-1)[0])
        found = perceive(numbers, positions, charge=charge, aromatic=False)
        if found.arrays is None:
            raise ValueError(f"no bonds found: {found.reason}")
        arrays = found.arrays
    mol = to_mol(arrays)
    if _radicals(mol):
        raise ValueError("has radicals: hydrogens or charges are missing")
    aromatic = perceive_aromatic(arrays.numbers, arrays.charges, arrays.bonds) == AROMATIC
    record = Record(arrays.numbers, arrays.positions, arrays.charges, arrays.bonds, aromatic)
    return record, canonical_smiles(mol)


def _drawn(item: Any, numbers: NDArray[Any], positions: NDArray[Any]) -> Any:
    """Kekulised `Arrays` from the edges of an item; None if it has no bond orders, or if they lack their charges."""
    from moldiff.molecules.convert import Arrays, to_mol

    bonds = _bonds(item, len(numbers))
    if bonds is None:
        return None
    formal = getattr(item, "formal_charges", None)
    if formal is None:
        formal = getattr(item, "charges", None)
    charges = None if formal is None else _array(formal).astype(np.int64).reshape(-1)
    if charges is not None and np.array_equal(charges, numbers):
        charges = None  # some data sets call the atomic numbers charges
    if charges is not None:
        return Arrays(numbers, positions, charges, bonds).kekulised()
    try:
        arrays = Arrays(numbers, positions, np.zeros(len(numbers), np.int64), bonds).kekulised()
        return None if _radicals(to_mol(arrays)) else arrays
    except ValueError:
        return None


def _radicals(mol: Any) -> bool:
    return any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def _bonds(item: Any, n: int) -> NDArray[np.int64] | None:
    """(n, n) bond symbols 0-4 from the edges of an item, None if they hold no bond orders."""
    edges, attributes = getattr(item, "edge_index", None), getattr(item, "edge_attr", None)
    if edges is None or attributes is None:
        return None
    edges, attributes = _array(edges), _array(attributes)
    if attributes.ndim == 2 and attributes.shape[1] == 4:
        orders = np.where(attributes.any(axis=1), attributes.argmax(axis=1) + 1, 0)
    elif attributes.size == len(attributes) and np.isin(attributes, (0, 1, 2, 3)).all():
        orders = attributes.reshape(-1)
    else:
        return None  # lengths or other features of the edges
    bonds = np.zeros((n, n), np.int64)
    bonds[edges[0], edges[1]] = orders
    return np.maximum(bonds, bonds.T)


def _array(values: Any) -> NDArray[Any]:
    return np.asarray(torch.as_tensor(values).detach().cpu())
