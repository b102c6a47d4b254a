"""The benchmark of molecules: samples are kept and drawn once, seeds are judged alone and together."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import common
import molecules
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.config import SamplerConfig
from moldiff.data.archive import Archive
from moldiff.data.files import record_of
from moldiff.data.reference import Reference
from moldiff.evaluation import chemnet
from moldiff.molecules.convert import Arrays, from_mol

SMILES = ("CO", "CCO", "CC#N", "C1CC1", "CN", "COC")


def embed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return mol


class Made:
    """Stands in for a generator: real molecules in another order, one in four without its last bond."""

    name, config, sampler = "toy", SimpleNamespace(facts={"passes": "1"}), SamplerConfig()

    def __init__(self, path: Path) -> None:
        self.path, self.calls = path, 0
        path.write_bytes(b"weights")

    def stream(self, n: int, *, seed: int, steps: int, progress: bool) -> Iterator[Any]:
        self.calls += 1
        for number in reversed(range(n)):
            arrays = from_mol(embed(SMILES[(number + seed) % len(SMILES)]))
            if number % 4 == 3:
                bonds = arrays.bonds.copy()
                bonds[-1] = bonds[:, -1] = 0
                arrays = Arrays(arrays.numbers, arrays.positions, arrays.charges, bonds)
            yield SimpleNamespace(number=number, arrays=arrays)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "model.safetensors")


def test_samples_are_drawn_once_for_the_same_weights_and_settings(made: Made, tmp_path: Path) -> None:
    def draw(n: int = 5, seed: int = 0) -> tuple[list[Arrays], float]:
        return molecules.draw(made, n, seed=seed, steps=3, folder=tmp_path / "samples")

    first, seconds = draw()
    again, same = draw()
    assert made.calls == 1 and seconds == same and len(first) == 5
    for one, other in zip(first, again, strict=True):
        for name in ("numbers", "positions", "charges", "bonds"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    draw(n=4), draw(seed=1)
    assert made.calls == 3
    made.path.write_bytes(b"other weights")
    draw()
    made.sampler = SamplerConfig(churn=0.0)
    draw()
    assert made.calls == 5
    assert molecules.load(tmp_path / "none.npz") is None


def test_a_broken_file_is_drawn_again(made: Made, tmp_path: Path) -> None:
    molecules.draw(made, 2, seed=0, steps=3, folder=tmp_path / "samples")
    (path,) = (tmp_path / "samples").iterdir()
    for content in (b"", path.read_bytes()[:100]):
        path.write_bytes(content)
        assert len(molecules.draw(made, 2, seed=0, steps=3, folder=tmp_path / "samples")[0]) == 2
    assert made.calls == 3


def test_mean_and_deviation_over_seeds() -> None:
    found = molecules.over_seeds({"0": {"a": 1.0, "b": None}, "1": {"a": 3.0, "b": 2.0}, "2": {"a": 5.0}})
    assert found == {
        "a": {"mean": 3.0, "deviation": 2.0, "seeds": 3},
        "b": {"mean": 2.0, "deviation": None, "seeds": 1},
    }


def test_seeds_alone_and_together(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chemnet, "installed", lambda: False)
    records = [record_of(embed(smiles))[0] for smiles in SMILES]
    archive = Archive.build(records, smiles=list(SMILES), split=[0, 0, 0, 0, 2, 2])
    reference = Reference.of(archive, data="toy")
    args = argparse.Namespace(n=6, seeds=[0, 1], xtb=0, posebusters=0, jobs=0, samples=tmp_path / "samples")
    result = molecules.run(made, 3, args=args, reference=reference)
    # five of six: number 3 of each seed lost a hydrogen
    pooled = result["evaluation"]["metrics"]["valid_connected"]
    assert (pooled["n"], pooled["of"]) == (10, 12) and result["molecules_per_second"] > 0
    assert [values["valid_connected"] for values in result["by_seed"].values()] == [pytest.approx(5 / 6)] * 2
    assert result["over_seeds"]["valid_connected"]["deviation"] == pytest.approx(0)
    assert result["by_seed"]["0"]["w1_bond_length"] > 0 and pooled["floor"] == 1
    assert result["evaluation_edm"]["metrics"]["valid"]["of"] == 12
    assert result["model"]["facts"] == {"passes": "1"} and result["sampler"]["steps"] == 3
    text = molecules.table({3: json.loads(json.dumps(result))})
    assert "| valid and connected, % | 83.3 (" in text
    assert "mean and deviation over the seeds: 83.3 +- 0.0 % at 3" in text
    args.seeds = [0]
    alone = molecules.run(made, 3, args=args, reference=reference)
    assert made.calls == 2 and alone["by_seed"]["0"]["valid_connected"] == pytest.approx(5 / 6)
    assert alone["over_seeds"]["valid_connected"]["deviation"] is None
    assert "over the seeds" not in molecules.table({3: alone})


def test_the_table_is_that_of_the_results() -> None:
    assert (common.RESULTS / "molecules-qm9.md").read_text() == molecules.table(molecules.stored("qm9"))


def test_the_reference_beside_the_weights_comes_first(made: Made, tmp_path: Path) -> None:
    assert molecules.reference_of(made) == "toy"
    (tmp_path / "reference.npz").write_bytes(b"")
    assert molecules.reference_of(made) == str(tmp_path / "reference.npz")
