from __future__ import annotations

from pathlib import Path

import pytest

from moldiff.cli import run
from moldiff.generator import Shipped, shipped
from moldiff.generator.targets import Property


def test_models_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = Shipped("toy", Path("toy"), megabytes=7.62, parameters=3_810_000, data="demo", headline="valid 97.1 %")
    monkeypatch.setattr("moldiff.generator.shipped", lambda: [model])
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("toy", "3.8 M parameters", "7.6 MB", "trained on demo", "valid 97.1 %"))


def test_the_properties_that_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        Property("gap", "eV", "GFN2-xTB", 0.2, 16.86, 5.0, 2.0),
        Property("qed", "", "RDKit", 0.0512, 0.7, 0.4, 0.1),
    )
    model = Shipped("toy", Path("toy"), 1.0, 10, "demo", "", asked)
    monkeypatch.setattr("moldiff.generator.shipped", lambda: [model])
    assert run(["models"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert lines == [["gap", "eV", "0.2", "to", "16.86", "GFN2-xTB"], ["qed", "0.0512", "to", "0.7", "RDKit"]]


def test_every_property_of_the_shipped_weights_has_a_level_of_theory() -> None:
    for model in shipped():
        for p in model.properties:
            assert p.low < p.high and not p.level.startswith("as in"), (model.name, p.name)


def test_an_installation_without_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("moldiff.generator.shipped", list)
    assert run(["models"]) == 0
    assert "no weights are in this installation" in capsys.readouterr().err
