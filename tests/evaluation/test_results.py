"""The table, the JSON text and the CSV text."""

from __future__ import annotations

import json
import math

import numpy as np

from moldiff.evaluation.definitions import DEFINITIONS, definition
from moldiff.evaluation.results import Evaluation

METRICS = {
    "valid": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 90, "of": 100, "floor": 1.0},
    "mmff_drop": {"value": math.inf, "low": 4.0, "high": math.inf, "n": 90, "of": 100, "floor": 4.5},
    "w1_bond_length": {"value": np.float64(0.0123), "low": 0.01, "high": 0.02, "n": 90, "of": 100, "floor": 0.001},
    "novel": {"value": math.nan, "low": 0.0, "high": 1.0, "n": 0, "of": 0, "floor": None},
}


def made() -> Evaluation:
    rows = [{"index": 0, "source": "a", "smiles": "C", "reason": "ok", "valid": True, "message": "", "x": 0.25}]
    rows.append({"index": 1, "source": "b", "smiles": "", "reason": "valence", "valid": False, "message": "a, b"})
    meta = {"protocol": "bonds", "input": "a.sdf", "reasons": {"ok": 90, "valence": 10}, "notes": ["look here"]}
    return Evaluation(METRICS, rows=rows, meta=meta)


def test_table() -> None:
    text = str(made())
    assert "valid    " in text and "90.00 %" in text and "85.00 - 95.00" in text and "90 of 100" in text
    assert "W1 bond lengths, angstrom" in text and "0.0123" in text
    assert "failures: 10 valence" in text and "note: look here" in text
    assert repr(made()) == "<moldiff Evaluation of 2 structures, 4 metrics>"


def test_json_has_neither_nan_nor_infinity() -> None:
    stored = json.loads(made().to_json(), parse_constant=lambda name: 1 / 0)
    assert stored["metrics"]["mmff_drop"]["value"] is None and stored["metrics"]["novel"]["value"] is None
    assert stored["metrics"]["w1_bond_length"]["value"] == 0.0123
    assert set(stored["definitions"]) == set(METRICS)


def test_csv_quotes_and_keeps_every_column() -> None:
    lines = made().to_csv().splitlines()
    assert lines[0] == "index,source,smiles,reason,atoms,charge,valid,x,message"
    assert lines[1] == "0,a,C,ok,,,1,0.25,"
    assert lines[2] == '1,b,,valence,,,0,,"a, b"'


def test_every_definition_speaks_for_itself() -> None:
    for name in DEFINITIONS:
        for protocol in ("bonds", "edm", "edm-geom"):
            found = definition(name, protocol)
            assert found.label and len(found.text) > 15
    assert "EDM" in definition("valid", "edm").text and "EDM" not in definition("valid", "bonds").text
    assert definition("posebusters_bond_lengths", "bonds").text.count("bond_lengths") == 1
