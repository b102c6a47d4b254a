"""An archive of crystals as a torch-geometric data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch_geometric.data import Data, InMemoryDataset

from moldiff.data.crystal_archive import CrystalArchive
from moldiff.data.dataset import prepared

__all__ = ["CrystalDataset"]


class CrystalDataset(InMemoryDataset):
    """The crystals of an archive, held in memory.

    An item is a `torch_geometric.data.Data` with, for n atoms a cell and P properties: ``z (n,)`` int64 atomic numbers,
    ``frac (n, 3)`` float32 in [0, 1), ``cell (1, 3, 3)`` float32 rows a, b, c in angstrom, ``pos (n, 3)`` float32 in
    angstrom, ``y (1, P)`` float32, ``spacegroup (1,)`` int64 (0 unknown) and ``name`` str. Names and units of ``y`` are
    in ``archive``. Edges are left to the user, as of `torch_geometric.transforms`: which images count depends on the
    model.

    ``split`` chooses "train", "val" or "test" (default: all). ``transform`` is applied to each item when it is taken,
    ``pre_transform`` and ``pre_filter`` once here. Raises ValueError if nothing is left.
    """

    def __init__(
        self,
        archive: CrystalArchive,
        *,
        split: str | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        pre_filter: Callable[[Data], bool] | None = None,
    ) -> None:
        super().__init__(None, transform, pre_transform, pre_filter)
        self.archive = archive if split is None else archive.subset(split)
        items = (_item(self.archive, i) for i in range(len(self.archive)))
        self.data, self.slices = self.collate(prepared(items, self, split=split, noun="crystal"))


def _item(archive: CrystalArchive, i: int) -> Data:
    record = archive.record(i)
    return Data(
        z=torch.from_numpy(record.numbers),
        frac=torch.from_numpy(record.fractional).float(),
        cell=torch.from_numpy(record.cell).float()[None],
        pos=torch.from_numpy(record.fractional @ record.cell).float(),
        y=torch.from_numpy(np.array(archive.properties[i], dtype=np.float32)).reshape(1, -1),
        spacegroup=torch.tensor([int(archive.spacegroup_number[i])]),
        name=str(archive.material_id[i]),
    )
