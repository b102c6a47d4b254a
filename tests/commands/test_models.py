from __future__ import annotations

from pathlib import Path

import pytest

from moldiff.cli import run
from moldiff.generator import Shipped


def test_models_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = Shipped("toy", Path("toy"), megabytes=7.62, parameters=3_810_000, data="demo", headline="valid 97.1 %")
    monkeypatch.setattr("moldiff.generator.shipped", lambda: [model])
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("toy", "3.8 M parameters", "7.6 MB", "trained on demo", "valid 97.1 %"))


def test_an_installation_without_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("moldiff.generator.shipped", list)
    assert run(["models"]) == 0
    assert "no weights are in this installation" in capsys.readouterr().err
