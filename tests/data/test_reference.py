"""The reference file: what goes in comes out, at the promised precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem

from moldiff.data import reference as module
from moldiff.data.archive import Archive
from moldiff.data.files import record_of
from moldiff.data.profile import Profile
from moldiff.data.reference import (
    Reference,
    pack,
    pack_numbers,
    unpack,
    unpack_numbers,
)
from moldiff.molecules.convert import Arrays
from moldiff.molecules.edm import edm_check
from moldiff.molecules.geometry import lengths

TRAIN = ("CCO", "C1CC1CN", "c1ccncc1", "CCO", "C[N+](=O)[O-]")
TEST = ("CO", "CC#N")


@pytest.fixture(scope="module")
def archive() -> Archive:
    found = []
    for seed, smiles in enumerate((*TRAIN, *TEST)):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=seed + 1)
        found.append(record_of(mol))
    split = [0] * len(TRAIN) + [2] * len(TEST)
    return Archive.build([record for record, _ in found], smiles=[smiles for _, smiles in found], split=split)


@pytest.fixture(scope="module")
def path(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Reference.build(tmp_path_factory.mktemp("reference") / "reference.npz", archive, data="small")


def test_smiles(path: Path, archive: Archive) -> None:
    reference = Reference.load(path)
    assert reference.data == "small"
    assert reference.train == frozenset(archive.smiles[:5].tolist()) and len(reference.train) == 4
    assert reference.test == {"CO", "CC#N"}


def test_held_out_molecules_to_a_ten_thousandth(path: Path, archive: Archive) -> None:
    held = Reference.load(path).held_out
    assert held is not None and len(held) == 2
    for i in range(2):
        old = archive.record(archive.smiles.tolist().index(held.smiles[i]))
        new = held.record(i)
        assert np.array_equal(new.numbers, old.numbers) and np.array_equal(new.bonds, old.bonds)
        assert np.array_equal(new.charges, old.charges)
        assert np.abs(new.positions - old.positions).max() < 6e-5


def test_profile_is_that_of_the_training_set(path: Path, archive: Archive) -> None:
    stored, computed = Reference.load(path).profile, Reference.of(archive, data="small").profile
    assert stored is not None and computed is not None
    assert stored.structures == 5 and sorted(stored.smiles) == sorted(archive.smiles[:5].tolist())
    assert stored.counts == computed.counts
    assert stored.counts["ring_size"] == {"3": 1, "6": 1}
    assert stored.counts["element"]["N"] == 3
    assert stored.descriptors["weight"] == pytest.approx(computed.descriptors["weight"])
    record = archive.record(0)
    assert {"C-H", "C-C", "C-O", "H-O"} <= set(
        lengths(Arrays(record.numbers, record.positions, record.charges, record.bonds))
    )
    for kind, histogram in stored.histograms.items():
        assert histogram.types() == computed.histograms[kind].types()


def test_a_file_without_a_count_is_counted_again(path: Path) -> None:
    stored = Reference.load(path).profile
    assert stored is not None and stored.counts["bond"]["aromatic"] == 6
    older = dataclasses.replace(stored, counts={name: count for name, count in stored.counts.items() if name != "bond"})
    assert Profile.from_arrays(older.arrays(), same_rdkit=True).counts == stored.counts


def test_training_geometries_in_the_order_of_their_smiles(path: Path, archive: Archive) -> None:
    stored = Reference.load(path).geometries(["CCO", "NCC1CC1", "CO"])
    computed = Reference.of(archive, data="small").geometries(["CCO", "NCC1CC1", "CO"])
    assert {name: len(found) for name, found in stored.items()} == {"CCO": 2, "NCC1CC1": 1}, "CO is not in training"
    for name, found in stored.items():
        for (text, x), (same, y) in zip(found, computed[name], strict=True):
            assert text == same == name
            assert np.abs(x - (y - y.mean(0))).max() < 0.011
            mol = Chem.MolFromSmiles(text)
            for bond in mol.GetBonds():
                length = np.linalg.norm(x[bond.GetBeginAtomIdx()] - x[bond.GetEndAtomIdx()])
                assert 1.2 < length < 1.7, "bonded atoms are neighbours, so the order is right"


def test_edm_smiles_of_the_training_set(path: Path, archive: Archive) -> None:
    records = [archive.record(i) for i in range(5)]
    expected = {edm_check(record.numbers, record.positions).smiles for record in records} - {None}
    assert Reference.load(path).train_edm == expected


def test_another_rdkit_makes_the_smiles_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    foreign = ["OCC", "[O-][N+](=O)C", "C1CC1CN", "c1cnccc1"]  # in the order of the file
    older = tmp_path / "older.npz"
    np.savez(older, **(arrays | {"rdkit": np.array("1999.01"), "train_smiles": pack(foreign)}))
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    for _ in range(2):
        reference = Reference.load(older)
        assert reference.train == frozenset(archive.smiles[:5].tolist())
    assert len(list((tmp_path / "cache").glob(f"*-{rdBase.rdkitVersion}-train.smi"))) == 1
    assert reference.profile is not None and reference.train_edm is None
    # the geometry belongs to the stored text, whose order of atoms it has
    assert [text for text, _ in reference.geometries(["CCO"])["CCO"]] == ["OCC", "OCC"]


def test_older_files_and_other_files(tmp_path: Path, path: Path) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in ("data", "rdkit", "train_smiles", "test_smiles")}
    np.savez(tmp_path / "old.npz", **arrays)
    old = Reference.load(tmp_path / "old.npz")
    assert len(old.train) == 4
    assert (old.profile, old.held_out, old.train_edm, old.geometries(["CCO"])) == (None, None, None, {})
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("text.npz", "absent.npz"):
        with pytest.raises(ValueError, match="is not a reference file"):
            Reference.load(tmp_path / name)


def test_packing() -> None:
    assert unpack(pack(["C", "CC"])) == ["C", "CC"] and unpack(pack([])) == []
    numbers = np.array([[-70000, 3], [0, 2**30]])
    assert np.array_equal(unpack_numbers(pack_numbers(numbers)), numbers)
    assert unpack_numbers(pack_numbers(np.zeros((0, 3)))).shape == (0, 3)
