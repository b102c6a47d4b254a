"""The whole way: from molecules to numbers, table, JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem

import moldiff
from moldiff.data.archive import Archive
from moldiff.evaluation import Evaluation, evaluate

HEADLINES = ["valid", "connected", "valid_connected", "valid_connected_published", "atom_stable", "molecule_stable"]
HEADLINES += ["unique", "novel", "vu", "vun"]
GEOMETRY = ["w1_bond_length", "w1_bond_angle", "w1_torsion", "mmd_bond", "mmd_angle", "mmd_torsion", "mmff_drop"]


def counts(result: Evaluation, *names: str) -> list[tuple[int, int]]:
    return [(result.metrics[name]["n"], result.metrics[name]["of"]) for name in names]


def test_every_number_has_definition_denominator_and_floor(archive: Archive) -> None:
    result = moldiff.evaluate(archive, reference=archive, jobs=0)
    assert set(HEADLINES + GEOMETRY) <= set(result.metrics)
    assert counts(result, "valid", "molecule_stable", "unique") == [(18, 18), (18, 18), (18, 18)]
    assert counts(result, "novel", "in_training") == [(6, 18), (12, 18)]  # six test molecules are not in training
    assert result.metrics["novel"]["floor"] == 1.0 and result.metrics["in_training"]["floor"] == 0.0
    assert result.metrics["memorised_rmsd"]["value"] == pytest.approx(0, abs=1e-3)
    assert counts(result, "copied") == [(12, 18)]
    for name, metric in result.metrics.items():
        assert set(metric) == {"value", "low", "high", "n", "of", "floor"}, name
        assert result.definitions[name]
        if metric["low"] is not None and metric["value"] is not None:
            assert metric["low"] <= metric["value"] <= metric["high"], name
    assert "floor is of 6 test molecules" in str(result)


def test_test_molecules_are_their_own_floor(archive: Archive) -> None:
    result = evaluate(archive.subset("test"), reference=archive, jobs=0)
    for name, metric in result.metrics.items():
        if metric["value"] is not None:
            assert metric["value"] == pytest.approx(metric["floor"], abs=1e-6), name


def test_json_and_csv(tmp_path: Path, archive: Archive, embedded: Callable[..., Any]) -> None:
    mols = [embedded("CCO"), None, Chem.MolFromSmiles("[CH2]"), embedded("CCO")]
    evaluate(mols, reference=archive, jobs=0, json=tmp_path / "r.json", csv=tmp_path / "per.csv")
    stored = json.loads((tmp_path / "r.json").read_text())
    assert set(stored) == {"metrics", "definitions", "meta"}
    assert stored["metrics"]["valid"] == {
        "value": 0.5,
        "low": pytest.approx(0.15, abs=0.01),
        "high": pytest.approx(0.85, abs=0.01),
        "n": 2,
        "of": 4,
        "floor": 1.0,
    }
    assert (stored["metrics"]["unique"]["value"], stored["metrics"]["vu"]["value"]) == (0.5, 0.25)
    assert stored["meta"]["reasons"] == {"ok": 2, "none": 1, "radical": 1}
    rows = list(csv.DictReader((tmp_path / "per.csv").open()))
    assert [row["smiles"] for row in rows] == ["CCO", "", "", "CCO"]
    assert [row["reason"] for row in rows] == ["ok", "none", "radical", "ok"]
    assert [row["valid"] for row in rows] == ["1", "0", "0", "1"]
    assert float(rows[0]["mmff_drop"]) == pytest.approx(0, abs=0.05)
    assert next(iter(rows[0])) == "index"


def test_nothing_and_only_failures(archive: Archive) -> None:
    empty = evaluate([], reference=archive, jobs=0)
    assert len(empty) == 0 and empty.metrics["valid"]["value"] is None
    assert counts(empty, "valid", "unique") == [(0, 0), (0, 0)]
    failed = evaluate([None] * 3, reference=archive, jobs=0)
    assert failed.metrics["valid"] == {"value": 0.0, "low": 0.0, "high": pytest.approx(0.56, abs=0.01)} | {
        "n": 0,
        "of": 3,
        "floor": 1.0,
    }
    for result in (empty, failed):
        assert str(result) and json.loads(result.to_json())["metrics"]


def test_duplicates_only(embedded: Callable[..., Any]) -> None:
    result = evaluate([embedded("C")] * 5, reference=None, jobs=0)
    assert counts(result, "valid", "unique", "vu") == [(5, 5), (1, 5), (1, 5)]
    assert "novel" not in result.metrics and result.metrics["valid"]["floor"] is None
    assert result.metrics["internal_diversity"]["value"] == pytest.approx(0, abs=1e-6)


def test_without_bonds_the_edm_protocol_is_chosen(archive: Archive) -> None:
    records = [archive.record(i) for i in range(len(archive))]
    atoms = [Atoms(numbers=r.numbers, positions=r.positions) for r in records]
    result = evaluate([*atoms, None], reference=archive, jobs=0)
    assert result.meta["protocol"] == "edm"
    assert counts(result, "valid", "determine_bonds_valid") == [(18, 19), (18, 19)]
    assert result.metrics["atom_stable"]["of"] == int(archive.n_atoms.sum())
    assert counts(result, "determine_bonds_novel") == [(6, 18)]
    assert "connected" not in result.metrics, "the two families never share a table"
    assert "EDM" in result.definitions["valid"] and "DetermineBonds" in result.definitions["mmff_drop"]
    assert evaluate(archive, reference=archive, protocol="edm", jobs=0).metrics["valid"]["n"] == 18


def test_edm_rules_for_geom_know_more_elements(archive: Archive, embedded: Callable[..., Any]) -> None:
    # chloromethane: 4 C-H and C-Cl bonds; the table for QM9 has no chlorine
    mols = [embedded("CCl"), embedded("CCO")]
    small = evaluate(mols, reference=archive, protocol="edm", jobs=0)
    large = evaluate(mols, reference=archive, protocol="edm-geom", jobs=0)
    assert counts(small, "valid", "molecule_stable") == [(1, 2), (1, 2)]
    assert counts(large, "valid", "molecule_stable", "atom_stable") == [(2, 2), (2, 2), (14, 14)]
    assert small.rows[0]["reason"] == "element" and large.rows[0]["reason"] == "ok"
    assert "novel" in small.metrics and "novel" not in large.metrics
    assert "drawn single" in large.definitions["valid"] and "GEOM" in str(large)


def test_implied_hydrogens_are_labelled(tmp_path: Path, archive: Archive, embedded: Callable[..., Any]) -> None:
    path = tmp_path / "heavy.sdf"
    path.write_text("".join(Chem.MolToMolBlock(Chem.RemoveHs(embedded(s))) + "$$$$\n" for s in ("CCO", "c1ccncc1")))
    strict = evaluate(path, reference=archive, jobs=0)
    assert strict.metrics["valid"]["value"] == 0 and "hydrogens='implicit'" in str(strict)
    lenient = evaluate(path, reference=archive, hydrogens="implicit", jobs=0)
    assert lenient.metrics["valid"]["value"] == 1 and lenient.metrics["novel"]["value"] == 0
    assert lenient.metrics["molecule_stable"]["value"] is None and lenient.metrics["atom_stable"]["value"] is None
    assert "not applicable" in str(lenient) and "hydrogens implicit" in str(lenient)


def test_absurd_coordinates_harm_nobody(archive: Archive, embedded: Callable[..., Any]) -> None:
    mols = [embedded("CCO") for _ in range(4)]
    for mol, scale in zip(mols, (0.0, 1e20, 1e200), strict=False):
        mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * scale)
    for protocol in ("bonds", "edm"):
        result = evaluate(mols, reference=archive, protocol=protocol, jobs=0)
        assert result.metrics["valid"]["of"] == 4 and result.metrics["mmff_drop"]["n"] >= 1
        assert result.rows[3]["reason"] == "ok" and str(result) and result.to_json()


def test_smiles_have_no_geometry(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "a.smi").write_text("CCO\nCCC\nC1\n")
    result = evaluate(tmp_path / "a.smi", reference=archive, jobs=0)
    assert counts(result, "valid", "valid_connected") == [(2, 3), (2, 3)]
    assert not set(GEOMETRY) & set(result.metrics)
    assert "no coordinates" in str(result)


def test_worker_processes_give_the_same_numbers(archive: Archive) -> None:
    alone = evaluate(archive, reference=archive, jobs=0)
    spread = evaluate(archive, reference=archive, jobs=2, progress=False)
    assert spread.metrics == alone.metrics and spread.rows == alone.rows


def test_bad_options_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protocol='x'"):
        evaluate([], protocol="x")
    with pytest.raises(ValueError, match="hydrogens='add'"):
        evaluate([], hydrogens="add")
    with pytest.raises(ValueError, match="xtb = -1"):
        evaluate([], xtb=-1)
    with pytest.raises(ValueError, match="does not exist; create it first"):
        evaluate([], json=tmp_path / "no" / "r.json")
    with pytest.raises(ValueError, match="unknown reference 'q'"):
        evaluate([], reference="q", jobs=0)
    with pytest.raises(ValueError, match="goes with bonds only"):
        evaluate([], protocol="edm", hydrogens="implicit")


@pytest.mark.data
def test_qm9_test_molecules_score_as_known(data_root: Path) -> None:
    archive = Archive.load(data_root / "qm9" / "qm9.npz").subset("test")
    rows = np.random.default_rng(0).permutation(len(archive))[:200]
    strict = evaluate(archive.select(rows), reference=None, jobs=0)
    for name in ("valid", "connected", "valid_connected", "valid_connected_published", "atom_stable"):
        assert strict.metrics[name]["value"] == 1.0
    edm = evaluate(archive.select(rows), reference=None, protocol="edm", jobs=0)
    assert edm.metrics["determine_bonds_valid"]["value"] == 1.0
    assert edm.metrics["atom_stable"]["low"] <= 0.994 <= edm.metrics["atom_stable"]["high"]
    assert edm.metrics["molecule_stable"]["low"] <= 0.955 <= edm.metrics["molecule_stable"]["high"]
    assert edm.metrics["valid"]["low"] <= 0.978 <= edm.metrics["valid"]["high"]
