from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.config import PRESETS, NetworkConfig, TrainConfig
from moldiff.data.archive import Archive
from moldiff.data.demo import demo_archive
from moldiff.data.files import write
from moldiff.molecules.convert import Arrays, to_mol
from moldiff.networks.weights import build, load, save
from moldiff.state import BOND_SYMBOLS
from moldiff.training import train
from moldiff.training.describe import with_columns
from moldiff.training.run import describe_model, open_archive, start_from, stored_config

pytestmark = pytest.mark.usefixtures("tiny_preset", "one_thread")


def config(**settings: Any) -> TrainConfig:
    quick = {"steps": 2, "batch": 6, "device": "cpu", "precision": "fp32", "check_every": 0.0}
    return TrainConfig(**quick | settings)


def write_sdf(archive: Archive, path: Path) -> Path:
    records = [archive.record(i) for i in range(len(archive))]
    write([to_mol(Arrays(*record[:4])) for record in records], path)
    return path


@pytest.fixture
def weights(archive: Archive, tmp_path: Path) -> Path:
    """Untrained weights for the small archive, in a folder like that of a run."""
    model = dataclasses.replace(describe_model(archive, data="demo"), facts={"passes": "100", "hours": "1.00"})
    folder = tmp_path / "before"
    folder.mkdir()
    save(folder / "model.safetensors", model, tensors=dict(build(model).named_parameters()))
    return folder


def test_molecules_with_odd_electrons_are_not_ruled_out_where_training_has_some(archive: Archive) -> None:
    assert describe_model(archive, data="demo").sampler.closed_shell
    row = int(np.flatnonzero(archive.split == 0)[3])
    numbers = archive.numbers.copy()
    atom = int(archive.n_atoms[:row].astype(np.int64).sum())
    numbers[atom] = 7 if numbers[atom] != 7 else 6
    radicals = dataclasses.replace(archive, numbers=numbers)
    assert not describe_model(radicals, data="demo").sampler.closed_shell


def test_shares_of_bonds_are_those_of_heavy_atoms(archive: Archive) -> None:
    part = archive.subset("train")
    counted = np.zeros(len(BOND_SYMBOLS))
    for row in range(len(part)):
        mol = Chem.AddHs(Chem.MolFromSmiles(str(part.smiles[row])))
        for bond in mol.GetBonds():
            if min(bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()) > 1:
                counted[BOND_SYMBOLS.index(str(bond.GetBondType()).lower())] += 1
    expected = counted[1:].clip(1) / counted[1:].clip(1).sum()
    assert describe_model(archive, data="demo").sampler.bond_shares == pytest.approx(expected, abs=1e-4)


def test_the_model_describes_the_training_molecules(archive: Archive) -> None:
    model = describe_model(archive, data="demo")
    part = archive.subset("train")
    assert sum(model.sizes.values()) == len(part)
    assert set(model.sizes) == {str(n) for n in part.n_atoms}
    assert model.alphabets["elements"] == ("H", "C", "N", "O")
    for known in model.properties:
        values = part.column(known.name)
        assert (known.low, known.high) == (values.min(), values.max())
        assert known.mean == pytest.approx(values.mean(dtype=np.float64))


def test_a_column_without_values_is_left_out(archive: Archive, tmp_path: Path) -> None:
    names = archive.property_names.tolist()
    wider = with_columns(archive, ["empty", *names])
    assert [p.name for p in describe_model(wider, data="demo").properties] == names
    _, model = load(train(wider, tmp_path / "run", config=config()))
    assert [p.name for p in model.properties] == names


def test_training_from_an_sdf_file(archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sdf(archive.select(slice(0, 20)), tmp_path / "mine.sdf")
    text = path.read_text()
    path.write_text(text.replace("$$$$\n", "$$$$\nnonsense\n$$$$\n", 1))
    file = train(path, tmp_path / "run", config=config(), progress=False)
    _, model = load(file)
    assert model.data == "mine"
    assert model.facts["steps"] == "2"
    assert "entry 1 skipped: " in capsys.readouterr().out


def test_training_from_an_archive_by_path(archive: Archive, tmp_path: Path) -> None:
    archive.save(tmp_path / "small.npz")
    _, model = load(train(tmp_path / "small.npz", tmp_path / "run", config=config(), progress=False))
    assert model.data == "small"


def test_unknown_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no archive of 'qm10'"):
        open_archive("qm10")
    with pytest.raises(FileNotFoundError, match=r"no file .*none.sdf"):
        open_archive(tmp_path / "none.sdf")


def test_resuming_needs_no_settings(archive: Archive, tmp_path: Path) -> None:
    train(archive, tmp_path / "run", config=config(seed=5), progress=False)
    assert stored_config(tmp_path / "run").seed == 5
    file = train(archive, tmp_path / "run", resume=True, progress=False)
    assert load(file)[1].facts["seed"] == "5"
    with pytest.raises(ValueError, match="a new run needs settings"):
        train(archive, tmp_path / "other", progress=False)
    with pytest.raises(ValueError, match="nothing to resume"):
        train(archive, tmp_path / "other", resume=True, progress=False)


def test_starting_from_weights(archive: Archive, weights: Path, tmp_path: Path) -> None:
    # a learning rate of nothing: what comes out is what went in
    still = config(rate=1e-12)
    network, model = load(train(archive, tmp_path / "run", config=still, init_from=weights, progress=False))
    before, _ = load(weights / "model.safetensors")
    for (name, one), (_, other) in zip(network.named_parameters(), before.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    # the passes of both runs count
    assert model.facts["passes"] == "112"


def test_a_run_from_weights_forgets_what_is_true_of_them_only(archive: Archive, weights: Path) -> None:
    file = weights / "model.safetensors"
    network, stored = load(file)
    save(file, dataclasses.replace(stored, facts=stored.facts | {"mean": "of two"}), tensors=network.state_dict())
    even = describe_model(archive, data="demo")
    odd = dataclasses.replace(even, sampler=dataclasses.replace(even.sampler, closed_shell=False))
    assert start_from(file, even)[0].sampler.closed_shell and not start_from(file, odd)[0].sampler.closed_shell
    assert start_from(file, even)[0].facts == {"passes": "100", "hours": "1.00"}


def test_another_size_is_named(
    archive: Archive, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_preset: NetworkConfig
) -> None:
    monkeypatch.setitem(PRESETS, "m", dataclasses.replace(tiny_preset, blocks=3))
    with pytest.raises(
        ValueError, match=r"cannot start this run: its network is .*blocks=2.*--size asks for .*blocks=3"
    ):
        train(archive, tmp_path / "run", config=config(size="m"), init_from=weights)
    assert not (tmp_path / "run").exists()


def test_other_data_keep_the_symbols_and_properties_of_the_weights(weights: Path, tmp_path: Path) -> None:
    before, stored = load(weights / "model.safetensors")
    hydrocarbons = demo_archive(150)
    rows = [i for i in range(len(hydrocarbons)) if set(hydrocarbons.record(i).numbers.tolist()) == {1, 6}]
    few = with_columns(hydrocarbons.select(rows), ["gap", hydrocarbons.property_names.tolist()[0]])
    few.split[:] = 0
    few.properties[:, 0] = 1.0
    network, model = load(train(few, tmp_path / "run", config=config(), init_from=weights, progress=False))
    assert model.alphabets == stored.alphabets
    assert model.properties == stored.properties
    assert sum(model.sizes.values()) == len(few)
    assert torch.equal(network.state_dict()["conditioning.mean"], before.state_dict()["conditioning.mean"])


def test_an_element_the_weights_do_not_know_is_named(archive: Archive, weights: Path, tmp_path: Path) -> None:
    sulphur = dataclasses.replace(archive, numbers=np.where(archive.numbers == 8, 16, archive.numbers))
    with pytest.raises(ValueError, match="does not know the elements S of the data; leave those structures out"):
        train(sulphur, tmp_path / "run", config=config(), init_from=weights)
