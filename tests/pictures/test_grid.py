"""Picture grids: what is drawn, what comes back, and what is refused before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem
from rdkit.Chem import AllChem

import moldiff
from moldiff.pictures import view


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    return mol


@pytest.fixture(scope="module")
def mols() -> list[Chem.Mol]:
    return [embedded(smiles) for smiles in ("c1ccccc1O", "CC(=O)[O-]", "C#CC=O", "C", "CS(=O)(=O)N")]


def inked(picture: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Number of pixels in the box that are neither white nor the frame's light grey."""
    return int((np.asarray(picture.crop(box).convert("L")) < 200).sum())


def test_the_file_holds_a_panel_for_every_molecule(mols: list[Chem.Mol], tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    picture = view(mols, path, columns=2, panel=(200, 120))
    with Image.open(path) as saved:
        assert saved.size == picture.size == (2 * 12 + 2 * 200, 2 * 12 + 3 * (120 + 22))
        assert np.array_equal(np.asarray(saved), np.asarray(picture))
    for i in range(6):
        left, top = 12 + (i % 2) * 200, 12 + (i // 2) * 142
        solid, flat, text = (
            inked(picture, (left + 4, top + 4, left + 104, top + 114)),
            inked(picture, (left + 110, top + 4, left + 196, top + 114)),
            inked(picture, (left + 4, top + 122, left + 196, top + 140)),
        )
        if i < len(mols):
            assert min(solid, flat, text) > 20, f"panel {i}: {solid}, {flat}, {text} dark pixels"
        else:
            assert solid == flat == text == 0


def test_elements_have_their_colours() -> None:
    picture = np.asarray(view(embedded("O"))).astype(int)
    red = (picture[..., 0] > 120) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    assert red.sum() > 100
    assert not ((picture[..., 2] > 120) & (picture[..., 0] < 60)).any()


def test_captions_replace_the_formula(mols: list[Chem.Mol]) -> None:
    default, same = view(mols[:1]), view(mols[:1], captions=["1   C6H6O"])
    assert np.array_equal(np.asarray(default), np.asarray(same))
    empty = view(mols[:1], captions=[""])
    assert inked(empty, (16, 184, 304, 202)) == 0
    longest = view(mols[:1], captions=["a caption that is longer than its panel is wide " * 3])
    assert longest.size == default.size
    assert inked(longest, (0, 184, 12, 202)) == 0


def test_one_molecule_and_the_default_number_of_columns(mols: list[Chem.Mol]) -> None:
    assert view(mols[0]).size == view(mols[:1]).size == (324, 216)
    width, height = view(mols[:1] * 30, panel=(60, 40)).size
    assert 0.6 < width / height < 1.7


def test_molecules_that_rdkit_refuses_or_that_have_no_conformer_are_drawn() -> None:
    five_bonds = Chem.MolFromSmiles("C(F)(F)(F)(F)F", sanitize=False)
    conformer = Chem.Conformer(6)
    conformer.SetPositions(np.array([[0, 0, 0], [1.4, 0, 0], [-1.4, 0, 0], [0, 1.4, 0], [0, -1.4, 0], [0, 0, 1.4]]))
    five_bonds.AddConformer(conformer)
    flat_only = Chem.MolFromSmiles("CCO")
    lone = Chem.MolFromSmiles("[He]")
    lone.AddConformer(Chem.Conformer(1))
    lone.GetConformer().Set3D(True)
    picture = view([five_bonds, flat_only, lone], columns=3)
    for i in range(3):
        left = 12 + 300 * i
        assert inked(picture, (left + 4, 16, left + 296, 176)) > 50
        assert inked(picture, (left + 4, 184, left + 296, 202)) > 20


def test_the_lazy_public_name_is_this_function() -> None:
    assert moldiff.view is view


def test_bad_input_is_refused_with_the_remedy(mols: list[Chem.Mol], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no molecule to draw; pass at least one"):
        view([])
    with pytest.raises(ValueError, match=r"entry 1 is None and no rdkit\.Chem\.Mol or ase\.Atoms; leave it out"):
        view([mols[0], None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="molecule 0 has no atoms; leave it out"):
        view(Chem.Mol())
    with pytest.raises(ValueError, match="1 captions for 2 molecules; give one for each"):
        view(mols[:2], captions=["one"])
    with pytest.raises(ValueError, match="columns is 0; give 1 or more"):
        view(mols, columns=0)
    with pytest.raises(ValueError, match="at least 40 pixels"):
        view(mols, panel=(300, 10))
    with pytest.raises(ValueError, match=r"2000 molecules are too many for one picture; draw at most 1388"):
        view(mols[:1] * 2000)
    with pytest.raises(ValueError, match=r"grid\.svg'.*must end in one of \.png"):
        view(mols, tmp_path / "grid.svg")
    with pytest.raises(ValueError, match="is not a folder; create it first"):
        view(mols, tmp_path / "missing" / "grid.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="choose another place"):
        view(mols, tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png"]
