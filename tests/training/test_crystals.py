"""Training on crystals: what the data decide, one short run, and that it learns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.config import ModelConfig, NetworkConfig, TrainConfig, from_dict, to_dict
from moldiff.data.batching import Batches, blank_crystals, crystal_alphabets, to_crystal_state
from moldiff.data.crystal_archive import CrystalArchive, CrystalRecord
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.diffusion.lattice import LatticeProcess
from moldiff.diffusion.sampler import sample
from moldiff.networks.weights import alphabets, load
from moldiff.state import State
from moldiff.training import train
from moldiff.training.check import check_crystals
from moldiff.training.describe import describe_model
from moldiff.training.loop import Trainer

TINY = NetworkConfig(
    scalars=32, vectors=8, pairs=16, pair_hidden=32, heads=4, products=4, blocks=2, condition=16, radial=8
)
PAIRS = ((11, 17), (3, 9), (19, 35), (12, 8))


@pytest.fixture(scope="module")
def archive() -> CrystalArchive:
    """Rock salt and caesium chloride cells of four salts at several strains, forty in all."""
    records, groups, values = [], [], []
    rng = np.random.default_rng(0)
    for i in range(40):
        a, b = PAIRS[i % 4]
        length = 3.5 + 0.5 * (i % 4) + 0.2 * rng.random()
        if i % 2:
            cell, numbers, places = np.eye(3), [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]]
        else:
            cell = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / np.sqrt(2)
            numbers, places = [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]]
        records.append(CrystalRecord(np.array(numbers), np.array(places, float), length * cell))
        groups.append(221 if i % 2 else 225)
        values.append([rng.normal(), np.nan if i % 5 == 0 else rng.random()])
    return CrystalArchive.build(
        records,
        spacegroup_number=groups,
        properties=np.array(values),
        property_names=["formation_energy_per_atom", "other"],
        property_units=["eV/atom", ""],
    )


@pytest.fixture
def model(archive: CrystalArchive) -> ModelConfig:
    return dataclasses.replace(describe_model(archive, data="salts"), network=TINY)


def test_the_data_decide_the_description(archive: CrystalArchive) -> None:
    model = describe_model(archive, data="salts")
    assert model.kind == "crystal" and set(model.alphabets) == {"elements"}
    assert model.alphabets["elements"] == ("Li", "O", "F", "Na", "Mg", "Cl", "K", "Br")
    assert [(p.name, p.classes) for p in model.properties] == [("formation_energy_per_atom", 0), ("spacegroup", 230)]
    assert model.sizes == {"2": 40}
    process = LatticeProcess(model.diffusion.lattice)
    x = process.invariants(torch.from_numpy(archive.lattice), torch.full((40,), 2))
    assert torch.allclose(x.mean(0), torch.zeros(6), atol=1e-3)
    assert float(x[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-3)
    stored = json.loads(json.dumps(to_dict(model)))
    assert from_dict(ModelConfig, stored) == model


def test_states_hold_symmetric_cells_of_the_same_metric(archive: CrystalArchive) -> None:
    state = to_crystal_state(archive, np.arange(5), crystal_alphabets(archive)).check()
    cell, lattice = state.field("cell"), torch.from_numpy(archive.lattice[:5])
    assert torch.allclose(cell, cell.transpose(1, 2), atol=1e-5)
    assert torch.allclose(cell @ cell.transpose(1, 2), lattice @ lattice.transpose(1, 2), atol=1e-4)
    batch = Batches(archive, crystal_alphabets(archive), batch=8).draw(0)
    assert batch.state.present == ("fractional", "cell", "elements") and batch.properties.shape == (8, 3)
    blank = blank_crystals([2, 3])
    assert blank.check().present == batch.state.present and blank.n_atoms.tolist() == [2, 3]


def test_sound_crystals_are_told_from_collapsed_ones() -> None:
    state = State(
        mask=torch.ones(3, 2, dtype=torch.bool),
        elements=torch.zeros(3, 2, dtype=torch.long),
        fractional=torch.tensor([[[0.0] * 3, [0.5] * 3], [[0.0] * 3, [0.98] * 3], [[0.0] * 3, [0.5] * 3]]),
        cell=torch.eye(3) * torch.tensor([4.0, 4.0, 0.4])[:, None, None],
    )
    assert check_crystals(state).tolist() == [True, False, False]


def test_a_short_run_writes_weights_that_load(archive: CrystalArchive, model: ModelConfig, tmp_path: Path) -> None:
    config = TrainConfig(steps=4, batch=8, device="cpu", check_every=1.0, check_samples=4)
    path = Trainer(archive, model, config=config, out=tmp_path / "run").fit(progress=False)
    network, stored = load(path)
    assert stored.kind == "crystal" and network.kind == "crystal" and stored.facts["passes"] == "32"
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"fractional", "cell", "elements", "properties"} <= set(lines[0])
    assert "structure_valid" in lines[-1]["check"]


def test_weights_of_another_kind_cannot_start_a_run(
    archive: CrystalArchive, model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moldiff.config import PRESETS
    from moldiff.networks.weights import build, save

    monkeypatch.setitem(PRESETS, "s", TINY)
    kinds = {"elements": ("H", "C"), "charges": ("0",), "bonds": ("none", "single")}
    other = dataclasses.replace(model, kind="molecule", alphabets=kinds, properties=())
    path = save(tmp_path / "model.safetensors", other, tensors=build(other).state_dict())
    with pytest.raises(ValueError, match="makes molecules, the data are crystals"):
        train(archive, tmp_path / "run", config=TrainConfig(steps=1, device="cpu"), init_from=path)


def test_it_learns_and_samples_structures_back(archive: CrystalArchive, model: ModelConfig, tmp_path: Path) -> None:
    """Two salts: given the elements, their sites come back."""
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        few = archive.select([0, 1] * 16)
        config = TrainConfig(
            steps=220, batch=32, rate=5e-3, optimiser="adamw", device="cpu", precision="fp32", check_every=0.0
        )
        trainer = Trainer(few, model, config=config, out=tmp_path)
        trainer.fit(progress=False)
    finally:
        torch.set_num_threads(torch_threads)
    trainer.average.swap(trainer.network)
    trainer.network.eval()
    kinds = alphabets(model)
    process = JointProcess.for_crystals(model.diffusion, kinds, sampler=model.sampler)
    truth = to_crystal_state(few, np.arange(8), kinds)
    settings = dataclasses.replace(model.sampler, steps=20)
    blank = blank_crystals([2] * 8).replace(elements=truth.elements)
    done = sample(
        denoiser(trainer.network, process),
        process,
        state=blank,
        generator=torch.Generator().manual_seed(0),
        config=settings,
        given={"elements": truth.mask},
    )
    assert torch.equal(done.field("elements"), truth.field("elements"))
    apart = done.field("fractional")[:, 0] - done.field("fractional")[:, 1]
    near = (apart - apart.floor() - 0.5).abs().amax(1) < 0.08
    assert float(near.float().mean()) >= 0.75
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for name, share in (("fractional", 0.8), ("cell", 0.8), ("elements", 0.5)):
        begin, end = (np.mean([line[name] for line in part]) for part in (lines[:2], lines[-4:]))
        assert end < share * begin, (name, begin, end)


def test_a_resumed_run_is_bit_identical_to_one_that_was_never_stopped(
    archive: CrystalArchive, model: ModelConfig, tmp_path: Path
) -> None:
    settings = {"steps": 6, "batch": 8, "device": "cpu", "precision": "fp32", "check_every": 0.0, "save_steps": 100}
    Trainer(archive, model, config=TrainConfig(**settings), out=tmp_path / "whole").fit(progress=False)
    halted = Trainer(archive, model, config=TrainConfig(**settings), out=tmp_path / "halted")
    for _ in range(3):
        halted.update()
    halted.save()
    resumed = Trainer(archive, model, config=TrainConfig(**settings), out=tmp_path / "halted", resume=True)
    assert resumed.step == 3
    resumed.fit(progress=False)
    one, other = (load(tmp_path / name / "model.safetensors")[0].state_dict() for name in ("whole", "halted"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
