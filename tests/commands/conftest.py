"""A tiny untrained model by path, a file of molecules, and a folder of its own for every test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.cli import run
from moldiff.config import PRESETS, NetworkConfig, SamplerConfig
from moldiff.data.archive import Archive
from moldiff.data.demo import demo_archive
from moldiff.data.files import write
from moldiff.molecules.convert import Arrays, to_mol
from moldiff.networks.weights import build, save
from moldiff.training.run import describe_model

TINY = NetworkConfig(
    scalars=32, vectors=8, pairs=16, pair_hidden=32, heads=4, products=4, blocks=2, condition=16, radial=8
)


@pytest.fixture(scope="session")
def archive() -> Archive:
    return demo_archive(30)


@pytest.fixture(scope="session")
def weights(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained weights: nearly everything they make is invalid, but for molecules of two atoms."""
    described = describe_model(archive, data="demo")
    model = dataclasses.replace(described, network=TINY, sampler=SamplerConfig(temperature=1.0))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return str(save(path, model, tensors=dict(build(model).named_parameters())))


@pytest.fixture
def sdf(archive: Archive, tmp_path: Path) -> str:
    """Ten molecules in a file, after the first of them an entry that is none."""
    path = tmp_path / "ten.sdf"
    write([to_mol(Arrays(*archive.record(i)[:4])) for i in range(10)], path)
    path.write_text(path.read_text().replace("$$$$\n", "$$$$\nnonsense\n$$$$\n", 1))
    return str(path)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Every test runs in a folder of its own, with its own data folder and a tiny preset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLDIFF_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(PRESETS, "s", TINY)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Runs arguments that are refused with exit code 2 and one line, and returns the line."""

    def line(arguments: list[str]) -> str:
        capsys.readouterr()
        assert run(arguments) == 2
        out, err = capsys.readouterr()
        assert err.startswith("moldiff: error: ")
        assert err.count("\n") == 1
        assert out == ""
        return err

    return line
