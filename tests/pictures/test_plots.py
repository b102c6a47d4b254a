"""Plots: something is drawn, nothing touches the edge, and bad input is refused before a file is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from PIL import Image
from rdkit import Chem

from moldiff.pictures import plots

RNG = np.random.default_rng(0)


def check(picture: Image.Image) -> None:
    """Some ink, a white border: nothing is cut off."""
    grey = np.asarray(picture.convert("L"))
    assert (grey < 200).mean() > 0.005
    border = np.concatenate([grey[:2].ravel(), grey[-2:].ravel(), grey[:, :2].ravel(), grey[:, -2:].ravel()])
    assert border.min() > 250


def test_distributions(tmp_path: Path) -> None:
    samples = {"logp": RNG.normal(size=50), "rings": RNG.integers(0, 4, 50), "tpsa": [40.0, np.nan, 40.0]}
    reference = {"logp": RNG.normal(size=500), "rings": RNG.integers(0, 5, 500)}
    picture = plots.distributions(samples, reference, tmp_path / "p.png", units={"tpsa": "angstrom²"})
    check(picture)
    with Image.open(tmp_path / "p.png") as saved:
        assert saved.size == picture.size
    check(plots.distributions({"qed": [0.5]}))


def test_targets() -> None:
    asked = np.repeat([3.0, 5.0, 7.0], 20)
    check(plots.targets(asked, asked + RNG.normal(size=60), name="gap", unit="eV", reference=RNG.normal(5, 1, 99)))
    check(plots.targets([1.0, 2.0, np.nan], [1.1, np.nan, 3.0]))
    check(plots.targets(RNG.normal(size=30), RNG.normal(size=30)))


def test_quality() -> None:
    curve = [(100, 0.9, 0.88, 0.92), (20, 0.5, 0.45, 0.55)]
    check(plots.quality({"shipped": curve, "own": curve[:1]}, floor=1.0))
    check(plots.quality({"only": curve}, percent=False, label="energy"))


def test_elements_and_space_groups() -> None:
    crystals = [bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)]
    check(plots.elements(crystals, [Chem.AddHs(Chem.MolFromSmiles("CCO"))]))
    check(plots.elements([bulk("Fe")]))
    check(plots.space_groups([1, 1, 225, *range(60, 99)], [225, 14]))


def test_space_groups_of_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spglib")
    one = plots.space_groups([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)])
    assert np.array_equal(np.asarray(one), np.asarray(plots.space_groups([225, 225])))
    monkeypatch.setitem(sys.modules, "spglib", None)
    with pytest.raises(ImportError, match=r"pip install 'moldiff\[crystal\]'"):
        plots.space_groups([bulk("Cu")])


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no property to draw"):
        plots.distributions({})
    with pytest.raises(ValueError, match="qed has no finite value"):
        plots.distributions({"qed": [np.nan]})
    with pytest.raises(ValueError, match="2 targets for 1 values"):
        plots.targets([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no finite pair"):
        plots.targets([1.0], [np.nan])
    with pytest.raises(ValueError, match="no point to draw"):
        plots.quality({"shipped": []})
    with pytest.raises(ValueError, match="nothing to count"):
        plots.elements([])
    with pytest.raises(ValueError, match=r"'C' is neither an rdkit\.Chem\.Mol nor an ase\.Atoms"):
        plots.elements(["C"])
    with pytest.raises(ValueError, match="231 is no space group number"):
        plots.space_groups([231])
    with pytest.raises(ValueError, match=r"must end in one of \.png"):
        plots.space_groups([1], path=tmp_path / "x.svg")
    assert not list(tmp_path.iterdir())
