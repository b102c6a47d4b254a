from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from moldiff.data.crystal_dataset import CrystalDataset
from moldiff.data.demo_crystals import demo_crystal_archive


def test_items_are_the_records() -> None:
    archive = demo_crystal_archive(12)
    dataset = CrystalDataset(archive)
    assert len(dataset) == 12
    for i, item in enumerate(dataset):
        record = archive.record(i)
        assert np.array_equal(item.z.numpy(), record.numbers)
        assert torch.allclose(item.pos, item.frac @ item.cell[0], atol=1e-5)
        assert item.name == archive.material_id[i] and int(item.spacegroup) == archive.spacegroup_number[i]
        assert item.y.shape == (1, 2)


def test_batches_splits_and_filters() -> None:
    archive = demo_crystal_archive(40)
    batch = next(iter(DataLoader(CrystalDataset(archive, split="train"), batch_size=5)))
    assert batch.cell.shape == (5, 3, 3) and batch.frac.shape == batch.pos.shape
    small = CrystalDataset(archive, pre_filter=lambda item: item.num_nodes == 2)
    assert all(item.num_nodes == 2 for item in small)
    with pytest.raises(ValueError, match="no crystal is left"):
        CrystalDataset(archive, pre_filter=lambda item: False)
