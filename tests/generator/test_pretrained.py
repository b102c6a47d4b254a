from __future__ import annotations

from pathlib import Path

import torch
from rdkit import Chem

import moldiff
from moldiff.generator import load, shipped
from moldiff.networks import weights

from .conftest import config


def test_every_shipped_model_is_described_and_small_enough() -> None:
    found = shipped()
    assert "qm9" in [model.name for model in found]
    for model in found:
        assert model.megabytes < 16 and model.parameters > 1e6
        assert "%" in model.headline
        assert (model.path / "card.md").is_file()
        assert (model.path / "reference.npz").stat().st_size < 6e6


def test_the_shipped_model_samples_and_knows_its_training_set() -> None:
    generator = moldiff.load("qm9", device="cpu")
    assert generator.name == "qm9" and "qm9" in repr(generator)
    mols = generator.sample(24, seed=0, steps=30, progress=False)
    # a coin-flip lower bound far under the measured rate: this guards against broken weights, not against noise
    assert len(mols) >= 12
    assert mols.report.rates["novel"]["of"] == mols.report.rates["unique"]["n"] > 0
    assert all(mol.GetNumConformers() == 1 for mol in mols)
    # most molecules of QM9 have a stereocentre, and the coordinates say which
    assert any(atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for mol in mols for atom in mol.GetAtoms())


def test_a_run_folder_and_a_file_load_alike(tmp_path: Path) -> None:
    network = weights.build(config())
    weights.save(tmp_path / "model.safetensors", config(), tensors=network.state_dict())
    folder, file = load(tmp_path, precision="fp32"), load(tmp_path / "model.safetensors", precision="fp32")
    assert folder.config == file.config == config()
    assert torch.equal(folder.draw(3, steps=2).elements, file.draw(3, steps=2).elements)
