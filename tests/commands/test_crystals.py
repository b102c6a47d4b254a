"""The command line with a model of crystals."""

from __future__ import annotations

import dataclasses
import json
import sys
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
    assert run([*base, "--keep", "Cl", "--new-cell", "--forbid", "Na", "-o", "new.extxyz", "--quiet"]) in (0, 1)
    if Path("new.extxyz").exists():
        assert all(atoms.symbols[0] == "Cl" and "Na" not in atoms.symbols for atoms in read("new.extxyz"))


def test_complete_substitutes(crystals: str, capsys: pytest.CaptureFixture[str]) -> None:
    write([bulk("NaCl", "rocksalt", a=5.64)], "seed.cif")
    base = ["complete", crystals, "seed.cif", "-n", "3", "--steps", "4", "-o", "out.extxyz"]
    assert run([*base, "--substitute", "Na", "--chemical-system", "K-Cl"]) == 0
    assert "required K, Cl" in capsys.readouterr().out
    assert [list(atoms.symbols) for atoms in read("out.extxyz")] == [["K", "Cl"]] * 3
    assert run([*base, "--substitute", "0", "1", "--elements", "Li,F", "--target", "spacegroup=225"]) == 0
    assert "target: spacegroup 225" in capsys.readouterr().out
    assert all(set(atoms.symbols) <= {"Li", "F"} for atoms in read("out.extxyz"))
    assert run([*base, "--substitute", "all", "--reward", "density", "--particles", "2"]) == 0
    assert "reward density; 2 particles" in capsys.readouterr().out


REWARDS = """
def light(crystals):
    return [-float(atoms.numbers.mean()) for atoms in crystals]
notes = 3
"""


def test_rewards_by_name_and_of_a_file(
    crystals: str, capsys: pytest.CaptureFixture[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("my_rewards.py").write_text(REWARDS)
    monkeypatch.setitem(sys.modules, "my_rewards", None)
    monkeypatch.delitem(sys.modules, "my_rewards")
    base = ["sample", crystals, "-n", "4", "--steps", "6", "--n-atoms", "2", "-o", "out.extxyz", "--keep-invalid"]
    texts = []
    for name in ("my_rewards.py:light", "my_rewards:light"):
        assert run([*base, "--reward", name, "--particles", "3", "--strength", "2"]) == 0
        assert "reward light; 3 particles, strength 2" in capsys.readouterr().out
        texts.append(Path("out.extxyz").read_text())
    assert texts[0] == texts[1]
    assert run([*base, "--reward", "density"]) == 0
    assert "reward density; 4 particles" in capsys.readouterr().out
    for name, message in (
        ("qed", "unknown reward 'qed': choose from density"),
        ("my_rewards.py:none", "my_rewards.py:none: AttributeError"),
        ("none.py:light", "there is no file none.py"),
        ("nowhere:light", "ModuleNotFoundError: No module named 'nowhere'; write a name, or the module"),
        ("my_rewards.py:notes", "notes is no function but 3"),
    ):
        assert message in refused([*base, "--reward", name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--substitute", "Fe"], "substitute 'Fe': give indices of sites"),
        (["--substitute", "all", "--n-new", "1", "2"], "--substitute adds no sites"),
        (["--substitute", "all", "--keep", "Na"], "leave keep and keep_cell out"),
        (["--substitute", "all", "--new-cell"], "leave keep and keep_cell out"),
        (["--keep", "Na", "--atoms", "0"], "give one of them"),
        (["--atoms", "7"], "give indices between 0 and 1"),
        (["--target", "gap=1"], "unknown property 'gap'"),
    ],
)
def test_completions_refused(crystals: str, options: list[str], message: str, refused: Refused) -> None:
    write([bulk("NaCl", "rocksalt", a=5.64)], "seed.cif")
    assert message in refused(["complete", crystals, "seed.cif", "-n", "1", "--steps", "1", "-o", "o.cif", *options])


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
    assert "--substitute does not go with" in refused(
        ["complete", weights, "x.sdf", "-o", "o.sdf", "--substitute", "all"]
    )


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
