"""Crystals, the whole way: from structures to numbers, table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matminer")

from ase import Atoms
from ase.build import bulk
from ase.io import write

import moldiff
from moldiff.crystals.convert import from_atoms, to_structure
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.evaluation import crystal_reference
from moldiff.evaluation.crystal_reference import CrystalReference, find_crystals
from moldiff.evaluation.workers import Workers

SALT = bulk("NaCl", "rocksalt", a=5.64)
BLENDE = bulk("ZnS", "zincblende", a=5.41)
OXIDE = bulk("MgO", "rocksalt", a=4.21)
COPPER = bulk("Cu", a=3.6)
BRASS = bulk("CuZn", "cesiumchloride", a=2.95)
LITHIUM = bulk("LiF", "rocksalt", a=4.03)
CAESIUM = bulk("CsCl", "cesiumchloride", a=4.12)


def clash() -> Atoms:
    """Sodium and chlorine 0.2 angstrom apart."""
    return Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.05, 0, 0]], cell=[4, 4, 4], pbc=True)


def unbalanced() -> Atoms:
    """Li3F, whose charges cannot balance, at places without symmetry."""
    places = [[0.05, 0.11, 0.13], [0.48, 0.55, 0.08], [0.45, 0.02, 0.61], [0.93, 0.52, 0.57]]
    return Atoms("Li3F", scaled_positions=places, cell=[[4.0, 0, 0], [0.5, 4.6, 0], [0.4, 0.3, 5.3]], pbc=True)


def archive() -> CrystalArchive:
    """For training salt, copper and magnesia; for testing blende, brass and lithium fluoride."""
    crystals = [SALT, COPPER, OXIDE, BLENDE, BRASS, LITHIUM]
    return CrystalArchive.build([from_atoms(a) for a in crystals], split=[0, 0, 0, 2, 2, 2])


@pytest.fixture(scope="module")
def reference() -> CrystalReference:
    with Workers(0) as workers:
        return CrystalReference.of(archive(), data="small", workers=workers, covered=6)


def counts(result: moldiff.evaluation.Evaluation, *names: str) -> list[tuple[int, int]]:
    return [(result.metrics[name]["n"], result.metrics[name]["of"]) for name in names]


def test_a_set_worked_out_by_hand(reference: CrystalReference, tmp_path: Path) -> None:
    wider = bulk("NaCl", "rocksalt", a=5.7, cubic=True)  # another setting of a training crystal
    double = LITHIUM.repeat((2, 1, 1))  # a supercell: a duplicate of the test crystal beside it
    sample = [wider, LITHIUM, double, clash(), unbalanced(), None, BRASS]
    result = moldiff.evaluate(sample, reference=reference, jobs=0, csv=tmp_path / "c.csv", json=tmp_path / "c.json")
    assert counts(result, "structure_valid", "composition_valid", "valid") == [(5, 7), (5, 7), (4, 7)]
    # salt, lithium fluoride (twice) and brass are valid; salt is known
    assert counts(result, "unique", "novel", "vun", "memorised") == [(3, 4), (2, 3), (2, 7), (1, 7)]
    assert counts(result, "cov_recall") == [(2, 3)]  # brass and lithium fluoride; nothing resembles blende
    assert result.metrics["cov_precision"]["of"] == 7 and result.metrics["cov_precision"]["n"] >= 3
    assert counts(result, "p1_share") == [(1, 7)]
    assert result.meta["space_groups"]["225"] == 3
    assert [row["reason"] for row in result.rows] == ["ok", "ok", "ok", "overlap", "composition", "none", "ok"]
    assert [row["formula"] for row in result.rows][:2] == ["ClNa", "FLi"]
    assert result.rows[0]["training_match"] == "0" and not result.rows[2]["unique"]
    for name, metric in result.metrics.items():
        assert set(metric) == {"value", "low", "high", "n", "of", "floor"}, name
        assert result.definitions[name]
    assert result.metrics["memorised"]["floor"] == 0 and result.metrics["valid"]["floor"] == 1
    stored = json.loads((tmp_path / "c.json").read_text())
    assert set(stored) == {"metrics", "definitions", "meta"} and stored["meta"]["protocol"] == "crystals"
    lines = list(csv.DictReader(io.StringIO((tmp_path / "c.csv").read_text())))
    assert len(lines) == 7 and lines[3]["reason"] == "overlap" and "smiles" not in lines[0]
    text = str(result)
    assert "7 crystals; reference small" in text and "1 overlap" in text and "COV-P" in text


def test_density_and_elements_are_compared_with_the_test_set(reference: CrystalReference) -> None:
    result = moldiff.evaluate([BLENDE, BRASS, LITHIUM], reference=reference, jobs=0)
    assert result.metrics["w1_density"]["value"] == pytest.approx(0, abs=1e-6)
    assert result.metrics["w1_elements"]["value"] == 0
    assert result.metrics["cov_recall"]["value"] == result.metrics["cov_precision"]["value"] == 1
    assert moldiff.evaluate([COPPER], reference=reference, jobs=0).metrics["w1_elements"]["value"] == 1


def test_an_empty_set_is_judged_by_its_reference(reference: CrystalReference) -> None:
    result = moldiff.evaluate([], reference=reference, jobs=0)
    assert len(result) == 0 and result.meta["protocol"] == "crystals"
    assert result.metrics["valid"]["value"] is None and result.metrics["cov_recall"]["n"] == 0
    assert "0 crystals" in str(result)
    assert result.to_csv().startswith("index,source,formula")
    failed = moldiff.evaluate([None, None], reference=reference, jobs=0)
    assert counts(failed, "valid", "memorised") == [(0, 2), (0, 2)]


def test_without_a_reference_only_the_crystals_speak() -> None:
    result = moldiff.evaluate([SALT, SALT, COPPER], reference=None, jobs=0)
    assert counts(result, "valid", "unique") == [(3, 3), (2, 3)]
    assert "novel" not in result.metrics and "cov_recall" not in result.metrics


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    write(tmp_path / "salt.cif", SALT)
    write(tmp_path / "salt.extxyz", [SALT, COPPER])
    for name, count in (("salt.cif", 1), ("salt.extxyz", 2), ("*.cif", 1)):
        result = moldiff.evaluate(tmp_path / name, reference=None, jobs=0)
        assert result.meta["protocol"] == "crystals" and counts(result, "valid") == [(count, count)]
    free = Atoms("OH2", positions=[[0, 0, 0], [0, 0, 0.97], [0, 0.93, -0.24]])
    write(tmp_path / "water.extxyz", free)
    assert moldiff.evaluate(tmp_path / "water.extxyz", reference=None, jobs=0).meta["protocol"] == "edm"
    assert moldiff.evaluate([free], reference=None, jobs=0).meta["protocol"] == "edm"
    archive = CrystalArchive.build([from_atoms(SALT)])
    archive.save(tmp_path / "a.npz")
    assert counts(moldiff.evaluate(tmp_path / "a.npz", reference=None, jobs=0), "valid") == [(1, 1)]
    assert counts(moldiff.evaluate([to_structure(from_atoms(SALT))], reference=None, jobs=0), "valid") == [(1, 1)]


def test_what_a_generator_failed_at_stays_in_the_denominator() -> None:
    class Failed:
        number, reason, message, mol = 1, "not_finite", "not a number", None

    class Clashed:
        number, reason, message, mol = 3, "overlap", "two sites too close", clash()

    class Drawn(list[Any]):
        failed = (Clashed(), Failed())

    result = moldiff.evaluate(Drawn([SALT, COPPER]), reference=None, jobs=0)
    assert [row["reason"] for row in result.rows] == ["ok", "not_finite", "ok", "overlap"]
    assert moldiff.evaluate(Drawn([]), reference=None, jobs=0).meta["protocol"] == "crystals"


def test_strange_crystals_are_failures_with_reasons() -> None:
    flat = Atoms("Na", cell=[[3, 0, 0], [3, 0, 1e-9], [0, 0, 3]], pbc=True)
    lost = Atoms("NaCl", positions=[[0, 0, 0], [np.nan, 0, 0]], cell=[4, 4, 4], pbc=True)
    slab = Atoms("NaCl", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=[True, True, False])
    large = SALT.repeat(7)
    same = Atoms("Na2", positions=np.zeros((2, 3)), cell=[4, 4, 4], pbc=True)
    result = moldiff.evaluate([SALT, flat, lost, slab, large, same], reference=None, jobs=0)
    reasons = [row["reason"] for row in result.rows]
    assert reasons == ["ok", "volume", "not_finite", "not_periodic", "too_large", "overlap"]
    assert counts(result, "valid", "structure_valid") == [(1, 6), (1, 6)]


def test_structure_prediction() -> None:
    shifted = SALT.copy()
    shifted.positions[1] += 0.2
    truth = [SALT, OXIDE, LITHIUM, BLENDE, SALT]
    guess = [shifted, bulk("MgO", "cesiumchloride", a=2.6), None, COPPER, clash()]
    result = moldiff.evaluate(guess, csp=truth, jobs=0)
    assert counts(result, "match_rate", "match_rate_valid", "same_composition") == [(1, 5), (1, 5), (3, 5)]
    # METRe: the first prediction also matches the fifth true crystal
    assert counts(result, "metre") == [(2, 5)]
    rms = result.metrics["match_rmse"]["value"]
    assert rms == pytest.approx(0.1 * 3**0.5 / (5.64**3 / 8) ** (1 / 3), rel=1e-3)
    assert result.metrics["match_rmse_all"]["value"] == pytest.approx((rms + 4 * 0.5) / 5)
    assert [row["match_reason"] for row in result.rows] == ["ok", "differs", "composition", "composition", "differs"]
    assert "fingerprint" in str(result) and "unique" not in result.metrics
    with pytest.raises(ValueError, match="1 structures for 5 true crystals"):
        moldiff.evaluate([SALT], csp=truth, jobs=0)


def test_relaxation_by_a_named_calculator() -> None:
    wide = bulk("Cu", a=3.75)
    result = moldiff.evaluate([wide, SALT, clash()], reference=None, calculator="emt", jobs=0)
    assert counts(result, "relax_failed") == [(1, 2)]  # EMT does not know salt; the clash is not tried
    assert result.metrics["energy_drop"]["value"] > 0
    assert result.rows[1]["relax_reason"] == "error" and "relaxed with emt" in str(result)
    with pytest.raises(ValueError, match="cannot make the calculator"):
        moldiff.evaluate([wide], reference=None, calculator="no_such", jobs=0)


def test_options_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="for molecules"):
        moldiff.evaluate([SALT], reference=None, xtb=3)
    with pytest.raises(ValueError, match="for crystals"):
        moldiff.evaluate([Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])], reference=None, csp=[SALT])
    with pytest.raises(ValueError, match="no reference of crystals"):
        moldiff.evaluate([SALT], reference="no_such_thing", jobs=0)


def test_the_reference_file_keeps_crystals_and_fingerprints(reference: CrystalReference, tmp_path: Path) -> None:
    rows = np.array([3, 4, 5, 0])  # of the whole archive: three test crystals and one of training
    found = np.concatenate([reference.test_fingerprints[np.argsort(reference.test_rows)], np.zeros((1, 61))])
    built = CrystalReference.build(
        tmp_path / "built.npz", archive(), data="small", source="made by hand", known=(rows, found)
    )
    second = CrystalReference.load(built)
    assert second.source == "made by hand" and second.test_rows.tolist() == [0, 1, 2] and len(second.train_rows) == 1
    path = reference.save(tmp_path / "reference.npz")
    again = find_crystals(path, Workers(0))
    assert (len(again.train), len(again.test), again.data) == (3, 3, "small")
    np.testing.assert_allclose(again.test_fingerprints, reference.test_fingerprints, atol=5e-4)
    sample = [SALT, OXIDE, LITHIUM, BRASS]
    one, other = (moldiff.evaluate(sample, reference=known, jobs=0) for known in (reference, again))
    for name in one.metrics:
        assert one.metrics[name]["value"] == pytest.approx(other.metrics[name]["value"], abs=1e-3), name
    assert [row.get("training_match") for row in other.rows] == ["0", "2", None, None]


def test_the_fingerprints_of_an_archive_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crystal_reference, "cache_folder", lambda: tmp_path / "cache")
    path = CrystalArchive.build([from_atoms(a) for a in (SALT, BLENDE)], split=[0, 2]).save(tmp_path / "a.npz")
    first = find_crystals(path, Workers(0))
    monkeypatch.setattr(crystal_reference, "fingerprints", None)
    again = find_crystals(path, Workers(0))
    np.testing.assert_allclose(again.test_fingerprints, first.test_fingerprints, atol=5e-4)
    assert len(again.train_rows) == 1 and again.data == "a"


@pytest.mark.slow
def test_workers_take_crystals_too(reference: CrystalReference) -> None:
    result = moldiff.evaluate([SALT, clash(), LITHIUM], reference=reference, jobs=1)
    assert counts(result, "valid", "novel") == [(2, 3), (1, 2)]
