from __future__ import annotations

from moldiff.generator.results import Molecules, Report


def report(**changes: object) -> Report:
    rate = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 5, "of": 10}
    nothing = {"value": float("nan"), "low": 0.0, "high": 1.0, "n": 0, "of": 0}
    values: dict[str, object] = {
        "asked": 10,
        "drawn": 10,
        "made": 5,
        "reasons": {"ok": 5, "valence": 4, "disconnected": 1},
        "rates": {"valid_connected": rate, "unique": nothing},
        "seconds": 4.0,
        "evaluations": 50,
        "seed": 7,
        "batch_size": 64,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_the_table_names_value_interval_and_denominator() -> None:
    lines = str(report()).splitlines()
    assert lines[1].split() == ["valid", "and", "connected", "50.0%", "20.0", "-", "80.0", "5", "of", "10"]
    # nothing to divide by: no percentage is invented
    assert lines[2].split() == ["unique", "(of", "valid)", "-", "0", "of", "0"]
    assert lines[3] == "failures                  valence 4, disconnected 1"
    assert "2.5 molecules/s" in lines[4] and "50 network evaluations" in lines[4] and "seed 7" in lines[4]


def test_no_time_is_no_speed() -> None:
    assert report(seconds=0.0).molecules_per_second != report(seconds=0.0).molecules_per_second  # NaN


def test_the_dictionary_is_complete() -> None:
    content = report(notes=("a note",)).to_dict()
    assert content["asked"] == 10 and content["made"] == 5 and content["molecules_per_second"] == 2.5
    assert content["rates"]["valid_connected"]["of"] == 10 and content["notes"] == ["a note"]
    assert str(report(notes=("a note",))).endswith("a note")


def test_molecules_are_a_list_with_a_report() -> None:
    mols = Molecules(["a", "b"], report=report(), failed=[])
    assert list(mols) == ["a", "b"] and len(mols) == 2 and mols.report.made == 5 and mols.failed == []
