from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.cli import run
from moldiff.data.archive import Archive
from moldiff.data.download import find_archive
from moldiff.molecules.descriptors import NAMES
from moldiff.training.describe import with_columns

Streams = pytest.CaptureFixture[str]
Refused = Callable[[list[str]], str]


def test_a_file_becomes_an_archive_with_a_report(sdf: str, archive: Archive, capsys: Streams) -> None:
    assert run(["data", sdf, "-o", "ten.npz"]) == 0
    out, _ = capsys.readouterr()
    assert "10 molecules read, 1 entries skipped" in out
    assert "entry 1: " in out
    assert "ten.npz: 10 molecules (8 train, 1 val, 1 test)" in out
    made = Archive.load("ten.npz")
    assert made.smiles.tolist() == archive.smiles[:10].tolist()
    assert made.aromatic is not None
    assert made.property_names.tolist() == list(NAMES)


def test_the_demonstration_set_is_found_by_name(capsys: Streams) -> None:
    assert run(["data", "demo", "-n", "5"]) == 0
    assert len(Archive.load(find_archive("demo"))) == 5
    assert "properties: logp, " in capsys.readouterr().out
    assert run(["data", "demo", "-n", "4", "-o", "other.npz"]) == 0
    assert len(Archive.load("other.npz")) == 4
    assert run(["data", "demo", "-n", "3", "--root", "elsewhere"]) == 0
    assert len(Archive.load("elsewhere/demo/demo.npz")) == 3


def test_qm9_without_its_files_says_which_to_put_where(refused: Refused, tmp_path: Path) -> None:
    error = refused(["data", "qm9", "--no-download"])
    assert f"{tmp_path / 'data' / 'qm9' / 'raw'}" in error
    assert "is missing; download https://" in error
    assert "elsewhere" in refused(["data", "qm9", "--no-download", "--root", "elsewhere"])


@pytest.mark.parametrize("out", [None, "copy.npz"])
def test_a_foreign_qm9_archive_is_described(archive: Archive, out: str | None, capsys: Streams) -> None:
    path = Path("data/qm9/qm9.npz")
    path.parent.mkdir(parents=True)
    dataclasses.replace(with_columns(archive, ["gap"]), aromatic=None).save(path)
    assert run(["data", "qm9", *(["-o", out] if out else [])]) == 0
    made = Archive.load(out or path)
    assert made.aromatic is not None
    assert (made.aromatic == archive.aromatic).all()
    assert made.property_names.tolist() == ["gap", *NAMES]
    assert (Archive.load(path).aromatic is None) is (out is not None)
    # a second time nothing is left to do
    before = (Path(out) if out else path).stat().st_mtime_ns
    if out is None:
        assert run(["data", "qm9"]) == 0
        assert path.stat().st_mtime_ns == before
    assert "30 molecules" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ten.sdf"], "say where to write the archive: moldiff data ten.sdf -o NAME.npz"),
        (["none.sdf", "-o", "x.npz"], "'none.sdf' is neither a data set nor a file"),
        (["qm10"], "'qm10' is neither a data set nor a file"),
        (["ten.sdf", "-o", "x.zip"], "its name must end in .npz"),
        (["ten.sdf", "-o", "nowhere/x.npz"], "there is no folder nowhere"),
        (["demo", "-n", "0"], "n=0 molecules cannot be made"),
        (["demo", "--root", "ten.sdf"], "cannot make the folder ten.sdf/demo"),
        (["empty.sdf", "-o", "x.npz"], "no readable molecule (the file is empty)"),
    ],
)
def test_refused(arguments: list[str], message: str, sdf: str, refused: Refused) -> None:
    Path("empty.sdf").write_text("")
    assert message in refused(["data", *arguments])
    assert not list(Path().glob("*.npz"))
