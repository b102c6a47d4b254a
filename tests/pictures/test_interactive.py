"""Interactive grids: every structure is in the page, and a still picture is always there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from rdkit import Chem

from moldiff.data.embed import embed
from moldiff.pictures import view


def test_a_page_of_molecules_and_crystals(tmp_path: Path) -> None:
    pytest.importorskip("py3Dmol")
    phenol = embed(Chem.MolFromSmiles("c1ccccc1O"))
    shown = view(
        [phenol, bulk("NaCl", "rocksalt", a=5.64), molecule("H2O")], tmp_path / "g.html", captions=["a", "b", "c"]
    )
    page = (tmp_path / "g.html").read_text(encoding="utf-8")
    assert page.count("addModel") == 3
    assert page.count("addUnitCell") == 1
    assert "V2000" in page
    assert "data:image/png;base64,iVBORw0KGgo" in page
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert "3dmolviewer" in shown._repr_html_()
    assert shown.picture.size == view([phenol] * 3).size


def test_in_a_notebook_with_a_picture_saved(tmp_path: Path) -> None:
    pytest.importorskip("py3Dmol")
    view(bulk("Si"), tmp_path / "still.png", interactive=True)
    assert (tmp_path / "still.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="molecule 0 has no conformer"):
        view(Chem.MolFromSmiles("C"), interactive=True)
    with pytest.raises(ValueError, match="61 structures are too many"):
        view([bulk("Si")] * 61, interactive=True, panel=(60, 40))


def test_without_py3dmol_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3Dmol", None)
    with pytest.raises(ImportError, match=r"pip install 'moldiff\[viz\]'"):
        view(bulk("Si"), interactive=True)
