"""The study of bond lengths: exact where the guess is exact, and of the shape that is written."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from types import SimpleNamespace

import lengths
import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.config import DiffusionConfig, SamplerConfig
from moldiff.data.archive import Archive
from moldiff.data.batching import molecule_alphabets
from moldiff.data.files import record_of
from moldiff.denoiser import Prediction


@pytest.fixture
def study(tmp_path: Path) -> lengths.Study:
    """Ethanol and its neighbours, all of nine atoms, and one without hydroxyl."""
    records = []
    for smiles in ("CCO", "CCO", "COC"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=len(records) + 1)
        records.append(record_of(mol)[0])
    archive = Archive.build(records, smiles=["CCO", "CCO", "COC"], split=[2, 2, 2])
    generator = SimpleNamespace(
        config=SimpleNamespace(diffusion=DiffusionConfig()),
        alphabets=molecule_alphabets(archive),
        sampler=SamplerConfig(),
        network=None,
        execution=SimpleNamespace(running=contextlib.nullcontext),
    )
    return lengths.Study(generator, archive, count=5, size=9)


def perfect(study: lengths.Study, stretch: float = 1.0) -> None:
    """Let the model know the truth, or the truth made longer."""
    truth = study.truth

    def model(state: object, clocks: object, condition: object, previous: object) -> Prediction:
        logits = {
            name: 50.0 * torch.nn.functional.one_hot(truth.field(name), len(study.generator.alphabets[name])).float()
            for name in ("elements", "charges", "bonds")
        }
        return Prediction(positions=truth.field("positions") * stretch, **logits)

    study.model = model  # type: ignore[assignment]


def test_only_molecules_with_hydroxyl_and_their_bonds(study: lengths.Study) -> None:
    assert len(study.truth) == 2
    counts = {name: int(mask.sum()) for name, mask in study.pairs.items()}
    assert counts == {"H-O 1": 2, "C-H 1": 10, "C-C 1": 2, "C-O 1": 2}


def test_a_perfect_model_has_no_errors(study: lengths.Study) -> None:
    perfect(study)
    found = study.guessed(0.2, seed=0)
    assert found["loss"] == pytest.approx(0, abs=1e-6)
    assert found["training_below"] == pytest.approx(0.5 * math.erfc(2.4 / math.sqrt(2)))
    assert all(one["rms"] == 0 for one in found["errors"].values())
    walked = study.walked(100, 0.25, seed=0)
    assert walked["same_molecule"] == 2 and 0.25 < walked["last_clock"] < 0.28
    assert all(one["rms"] < 1e-3 for one in walked["errors"].values())
    assert study.walked(100, 0.0, seed=0)["evaluations"] > walked["evaluations"]


def test_errors_are_in_milliangstrom(study: lengths.Study) -> None:
    perfect(study, stretch=1.01)
    errors = study.guessed(0.2, seed=0)["errors"]
    positions = study.truth.field("positions")
    for name, mask in study.pairs.items():
        expected = 10 * float(lengths.lengths(positions)[mask].mean())
        assert errors[name]["mean"] == pytest.approx(expected, rel=1e-3)
        assert f"{name} {expected:+.1f}" in lengths.line("guess", errors)
    assert np.isfinite([one["rms"] for one in errors.values()]).all()
