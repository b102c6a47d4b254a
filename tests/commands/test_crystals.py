"""The command line with a model of crystals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk

from moldiff.cli import run
from moldiff.config import PRESETS, NetworkConfig
from moldiff.data.demo_crystals import demo_crystal_archive
from moldiff.data.files import read, write
from moldiff.networks.weights import build, save
from moldiff.training.describe import describe_model

TINY = NetworkConfig(
    scalars=16, vectors=4, pairs=8, pair_hidden=16, heads=2, products=2, blocks=1, condition=8, radial=4
)
Refused = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = dataclasses.replace(describe_model(demo_crystal_archive(), data="demo"), network=TINY)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return str(save(path, model, tensors=dict(build(model).named_parameters())))


def test_sample_streams_into_every_format(crystals: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["sample", crystals, "-n", "4", "--steps", "2", "--composition", "NaCl", "--formula-units", "1-2"]
    assert run([*base, "-o", "out.cif"]) == 0
    out, err = capsys.readouterr()
    assert "composition NaCl" in out and "crystals/s" in out
    assert (
        "out.cif holds" in err and "many programs read only the first" in err and "crystals written to out.cif" in err
    )
    assert run([*base, "-o", "again.cif", "--quiet"]) == 0
    assert Path("out.cif").read_text() == Path("again.cif").read_text()
    for atoms in read("out.cif"):
        assert list(atoms.symbols).count("Na") == list(atoms.symbols).count("Cl")
        assert atoms.info["name"].startswith("demo-0-")
    assert run([*base, "-o", "folder", "--symmetrise", "--quiet"]) == 0
    assert len(list(Path("folder").iterdir())) == len(read("folder"))
    assert run([*base, "-o", "out.extxyz", "--json", "--keep-invalid", "--quiet"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["drawn"] == 4 == len(read("out.extxyz"))
    assert facts["rates"]["structure_valid"]["of"] == 4


def test_systems_and_targets(crystals: str) -> None:
    run(
        [
            *("sample", crystals, "-n", "3", "--steps", "2", "-o", "out.extxyz", "--chemical-system", "Li-Ti-O"),
            *("--target", "spacegroup=225", "--guidance", "2", "--quiet"),
        ]
    )
    assert all(set(atoms.symbols) == {"Li", "Ti", "O"} for atoms in read("out.extxyz"))


def test_complete_takes_a_crystal(crystals: str) -> None:
    write([bulk("NaCl", "rocksalt", a=5.64)], "seed.cif")
    base = ["complete", crystals, "seed.cif", "-n", "2", "--steps", "2", "--n-new", "1", "2"]
    assert run([*base, "-o", "out.extxyz", "--quiet"]) == 0
    assert all({"Na", "Cl"} <= set(atoms.symbols) for atoms in read("out.extxyz"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--formula", "CH4"], "--formula does not go with"),
        (["--charge", "1"], "--charge does not go with"),
        (["--composition", "Xx"], "'Xx' in 'Xx' is no element"),
        (["--composition", "NaCl", "--formula-units", "a"], "--formula-units a"),
        (["--composition", "NaCl", "--formula-units", "4"], "have 8 atoms, more than the 6"),
        (["--target", "spacegroup=231"], "whole number from 1 to 230"),
        (["--n-atoms", "7"], "7 atoms are more than the 6"),
        (["-o", "out.sdf"], "cannot write crystals to out.sdf"),
        (["-o", "none/out.cif"], "there is no folder none"),
    ],
)
def test_refused(crystals: str, options: list[str], message: str, refused: Refused) -> None:
    base = ["sample", crystals, "-n", "1", "--steps", "1"]
    assert message in refused([*base, *([] if "-o" in options else ["-o", "out.cif"]), *options])


def test_molecules_take_no_options_of_crystals(weights: str, refused: Refused) -> None:
    line = refused(["sample", weights, "-o", "out.sdf", "--composition", "NaCl"])
    assert "--composition does not go with" in line and "molecules" in line


def salts(path: str) -> None:
    write([bulk("NaCl", "rocksalt", a=5.5 + i / 20, cubic=i % 2 == 0) for i in range(4)], "salts.extxyz")
    write([bulk(name, "rocksalt", a=4.2 + i / 9) for i, name in enumerate(("MgO", "CaO", "LiF", "KCl"))], path)


def test_a_file_of_crystals_becomes_an_archive_and_a_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "s", TINY)
    salts("more.cif")
    assert run(["data", "salts.extxyz", "-o", "salts.npz", "--no-duplicates"]) == 0
    assert "duplicate of entry 0" in capsys.readouterr().out
    assert run(["data", "more.cif", "-o", "more.npz"]) == 0
    out = capsys.readouterr().out
    assert "4 crystals read, 0 entries skipped" in out
    assert "more.npz: 4 crystals" in out and "properties: spacegroup" in out
    for data in ("more.cif", "more.npz"):
        assert run(["train", data, "--steps", "2", "--batch", "2", "--out", f"runs/{data}", "--quiet"]) == 0
    assert run(["sample", "runs/more.cif", "-n", "2", "--steps", "2", "-o", "out.cif", "--quiet"]) in (0, 1)


def test_prepared_sets_by_name(refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    assert "mp20-raw" in refused(["data", "mp20", "--no-download"])
    assert run(["data", "demo-crystals", "-n", "20"]) == 0
    assert "20 crystals" in capsys.readouterr().out
    assert "no file none.cif" in refused(["data", "none.cif", "-o", "x.npz"])
    assert "is neither a data set nor a file" in refused(["data", "mp21"])
