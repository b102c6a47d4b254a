from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from moldiff.data.archive import Archive
from moldiff.data.dataset import MoleculeDataset, archive_from_pyg
from moldiff.data.demo import demo_archive


@pytest.fixture(scope="module")
def archive() -> Archive:
    return demo_archive(20)


def test_items(archive: Archive) -> None:
    dataset = MoleculeDataset(archive)
    assert len(dataset) == 20
    item, record = dataset[3], archive.record(3)
    n = len(record.numbers)
    assert item.z.tolist() == record.numbers.tolist()
    assert item.pos.dtype == torch.float32 and item.pos.shape == (n, 3)
    assert item.num_nodes == n and item.is_undirected()
    dense = torch.zeros(n, n, dtype=torch.long)
    dense[item.edge_index[0], item.edge_index[1]] = item.edge_attr
    assert np.array_equal(dense.numpy(), record.bonds)
    assert item.y.shape == (1, len(archive.property_names))
    assert item.smiles == archive.smiles[3]
    assert item.idx.item() == archive.index[3]


def test_indexing_loading_and_transforms(archive: Archive) -> None:
    dataset = MoleculeDataset(archive, split="train", transform=lambda item: item.update({"extra": torch.ones(1)}))
    assert len(dataset) == 16
    assert len(dataset[:5]) == 5
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert batch.num_graphs == 4 and batch.extra.shape == (4,)
    assert len(MoleculeDataset(archive, pre_filter=lambda item: item.num_nodes < 12)) == (archive.n_atoms < 12).sum()
    moved = MoleculeDataset(archive, pre_transform=lambda item: item.update({"pos": item.pos + 1}))
    assert torch.allclose(moved[0].pos, torch.from_numpy(archive.record(0).positions).float() + 1)
    with pytest.raises(ValueError, match="no molecule is left"):
        MoleculeDataset(archive, pre_filter=lambda item: False)
    with pytest.raises(ValueError, match="'valid'"):
        MoleculeDataset(archive, split="valid")


def test_round_trip_through_edges_and_geometry(archive: Archive) -> None:
    dataset = MoleculeDataset(archive)
    back, skipped = archive_from_pyg(
        dataset, property_names=archive.property_names.tolist(), property_units=archive.property_units.tolist()
    )
    assert not skipped
    assert np.array_equal(back.bonds, archive.bonds)
    assert np.array_equal(back.aromatic, archive.aromatic)
    assert np.array_equal(back.properties, archive.properties)
    assert back.smiles.tolist() == archive.smiles.tolist()
    perceived, skipped = archive_from_pyg([Data(z=item.z, pos=item.pos) for item in dataset])
    kept = [i for i in range(20) if i not in {row for row, _ in skipped}]
    assert len(kept) >= 19
    assert perceived.smiles.tolist() == archive.smiles[kept].tolist()
    assert perceived.properties.shape == (len(kept), 0)


def test_one_hot_edges_of_pyg_qm9_and_nuclear_charges(archive: Archive) -> None:
    row = next(i for i in range(20) if archive.record(i).aromatic.any())
    record = archive.record(row)
    symbols = np.where(record.aromatic, 4, record.bonds)
    edges = np.stack(np.nonzero(symbols))
    hot = torch.nn.functional.one_hot(torch.from_numpy(symbols[tuple(edges)] - 1), 4).float()
    item = Data(
        z=torch.from_numpy(record.numbers),
        pos=torch.from_numpy(record.positions),
        charges=torch.from_numpy(record.numbers),
        edge_index=torch.from_numpy(edges),
        edge_attr=hot,
        y=torch.arange(19.0).reshape(1, 19),
    )
    back, _ = archive_from_pyg([item])
    assert np.array_equal(back.record(0).aromatic, record.aromatic)
    assert back.smiles[0] == archive.smiles[row]
    assert back.property_names[-1] == "y18"
    # edges that hold something else are no bonds
    item.edge_attr = torch.rand(edges.shape[1], 7)
    other, _ = archive_from_pyg([item])
    assert other.smiles[0] == archive.smiles[row]


def test_charged_molecule_by_total_charge() -> None:
    pos = torch.tensor([[0, 0, 0.08], [0.0, 0.93, -0.22], [0.806, -0.465, -0.22], [-0.806, -0.465, -0.22]])
    back, _ = archive_from_pyg([Data(z=torch.tensor([8, 1, 1, 1]), pos=pos, charge=torch.tensor([1]))])
    assert back.smiles.tolist() == ["[OH3+]"]
    assert back.charges.tolist() == [1, 0, 0, 0]


def test_what_does_not_fit_is_reported(archive: Archive) -> None:
    good = MoleculeDataset(archive)[0]
    far = Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0, 0], [9, 0, 0]]))
    nan = Data(z=torch.tensor([1, 1]), pos=torch.full((2, 3), float("nan")))
    items = [Data(x=torch.ones(3)), far, nan]
    back, skipped = archive_from_pyg([items[0], good, *items[1:]])
    assert len(back) == 1 and back.index.tolist() == [1]
    assert [row for row, _ in skipped] == [0, 2, 3]
    assert "no z or no pos" in skipped[0][1]
    with pytest.raises(ValueError, match="items need z and pos"):
        archive_from_pyg(items)
    with pytest.raises(ValueError, match="2 names"):
        archive_from_pyg([good], property_names=["a", "b"])
