"""What may serve as a reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from moldiff.data.archive import Archive
from moldiff.data.reference import Reference
from moldiff.evaluation import cache, evaluate, references
from moldiff.evaluation.workers import Workers


@pytest.fixture
def workers() -> Workers:
    return Workers(0)


def test_archive_file_folder_and_name(
    tmp_path: Path, archive: Archive, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").mkdir()
    archive.save(tmp_path / "toy" / "toy.npz")
    Reference.build(tmp_path / "toy" / "reference.npz", archive, data="toy")
    monkeypatch.setenv("MOLDIFF_DATA", str(tmp_path))
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    smiles = frozenset(archive.subset("train").smiles.tolist())
    ways = [archive, tmp_path / "toy" / "toy.npz", tmp_path / "toy" / "reference.npz", tmp_path / "toy", "toy"]
    for what in ways:
        reference, notes = references.find(what, workers)
        assert reference.train == smiles and notes == []
        assert reference.profile is not None and reference.profile.structures == 12
        assert references.find(reference, workers)[0] is reference
    monkeypatch.setattr(references, "FOLDER", tmp_path / "none")
    assert references.find("toy", workers)[0].train == smiles, "a prepared archive by name"
    with pytest.raises(ValueError, match="unknown reference 'nothing': shipped are none"):
        references.find("nothing", workers)


def test_slow_parts_of_an_archive_are_kept(
    tmp_path: Path, archive: Archive, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    path = archive.save(tmp_path / "a.npz")
    first = references.find(path, workers)[0]
    assert first.profile is not None and first.train_edm
    monkeypatch.setattr(references, "spread", lambda workers: None)
    second = references.find(path, workers)[0]
    assert second.profile is not None and second.profile.counts == first.profile.counts
    assert second.train_edm == first.train_edm


def test_a_reference_file_gives_the_numbers_of_its_archive(tmp_path: Path, archive: Archive) -> None:
    path = Reference.build(tmp_path / "reference.npz", archive, data="toy")
    direct, stored = (evaluate(archive, reference=what, jobs=0).metrics for what in (archive, path))
    assert set(direct) == set(stored)
    for name, metric in direct.items():
        for key in ("value", "floor"):
            if metric[key] is not None:
                # geometries to 0.0001 angstrom, heavy atoms of the training set to 0.02
                tolerance = 0.02 if name == "memorised_rmsd" else 2e-3 * max(1, abs(metric[key]))
                assert stored[name][key] == pytest.approx(metric[key], abs=tolerance), name


def test_a_file_of_molecules(tmp_path: Path, workers: Workers, embedded: Callable[..., Any]) -> None:
    smiles = ("C", "CC", "CCC", "CCO", "CCN", "CO", "CN", "C#N", "C=O", "CC=O")
    path = tmp_path / "mine.sdf"
    path.write_text("".join(Chem.MolToMolBlock(embedded(text)) + "$$$$\n" for text in smiles) + "bad\n$$$$\n")
    reference, notes = references.find(path, workers)
    assert len(reference.train) == 10, "novel means in none of them"
    assert reference.profile is not None and reference.profile.structures == 8
    assert reference.held_out is not None and len(reference.held_out) == 2
    assert "4/5" in notes[0] and "1 of its entries" in notes[1]
    (tmp_path / "mine.smi").write_text("OCC\nC\n")
    reference, notes = references.find(tmp_path / "mine.smi", workers)
    assert reference.train == {"CCO", "C"} and reference.held_out is None and "novelty only" in notes[0]
    with pytest.raises(ValueError, match="unknown suffix"):
        (tmp_path / "mine.txt").write_text("C")
        references.find(tmp_path / "mine.txt", workers)
