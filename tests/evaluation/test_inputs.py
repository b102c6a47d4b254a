"""What can be evaluated: every entry keeps its place, failures included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem

from moldiff.data.archive import Archive
from moldiff.evaluation.inputs import MAX_ATOMS, gather


def kinds(inputs: Any) -> list[str]:
    return [one.reason if one.payload is None else one.payload[0] for one in inputs.structures]


def write_sdf(path: Path, mols: list[Any]) -> Path:
    path.write_text("".join(Chem.MolToMolBlock(mol) + "$$$$\n" for mol in mols))
    return path


def test_a_list_of_anything(embedded: Callable[..., Any], drawing: Callable[..., Any]) -> None:
    atoms = Atoms("OH2", positions=np.eye(3), info={"charge": -1})
    inputs = gather([embedded("C"), None, atoms, drawing("H H", [(0, 1, 1)])])
    assert kinds(inputs) == ["mol", "none", "atoms", "arrays"]
    assert inputs.with_bonds
    assert inputs.structures[2].payload is not None and inputs.structures[2].payload[1][2] == -1
    assert not gather([atoms, None]).with_bonds
    with pytest.raises(ValueError, match="item 0 is a float"):
        gather([1.0])
    with pytest.raises(ValueError, match="cannot evaluate int"):
        gather(3)


def test_failures_of_a_generator_take_their_places(embedded: Callable[..., Any]) -> None:
    class Molecules(list[Any]):
        failed: ClassVar[list[Any]] = [
            SimpleNamespace(number=1, reason="valence", message="too many", mol=None),
            SimpleNamespace(number=3, reason="radical", message="", mol=Chem.MolFromSmiles("[CH3]")),
        ]

    inputs = gather(Molecules([embedded("C"), embedded("CC"), embedded("CCC")]))
    assert kinds(inputs) == ["mol", "valence", "mol", "mol", "mol"]
    assert inputs.structures[3].embedded is False
    assert [one.source for one in inputs.structures] == ["0", "1", "2", "3", "4"]


def test_an_sdf_with_a_bad_entry(tmp_path: Path, embedded: Callable[..., Any]) -> None:
    path = write_sdf(tmp_path / "a.sdf", [embedded("C"), embedded("CC")])
    blocks = path.read_text().split("$$$$\n")
    path.write_text(blocks[0] + "$$$$\nthis is\nno molecule\n$$$$\n" + blocks[1] + "$$$$\n")
    inputs = gather(path)
    assert kinds(inputs) == ["mol", "unreadable", "mol"]
    assert [one.source for one in inputs.structures] == ["a.sdf:0", "a.sdf:1", "a.sdf:2"]
    assert "1 of 3 entries" in inputs.notes[0]


def test_patterns_and_unreadable_files(tmp_path: Path, embedded: Callable[..., Any]) -> None:
    write_sdf(tmp_path / "a.sdf", [embedded("C")])
    (tmp_path / "b.sdf").write_text("nothing\n$$$$\n")
    (tmp_path / "c.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    (tmp_path / "d.smi").write_text("CCO ethanol\nC1\n")
    inputs = gather(str(tmp_path / "*"))
    assert kinds(inputs) == ["mol", "unreadable", "atoms", "mol", "unreadable"]
    assert [one.embedded for one in inputs.structures] == [True, True, True, False, True]
    assert kinds(gather([tmp_path / "a.sdf", str(tmp_path / "*.xyz")])) == ["mol", "atoms"]
    with pytest.raises(ValueError, match="no readable molecule"):
        gather(tmp_path / "b.sdf")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        gather(tmp_path / "*.pdb")
    (tmp_path / "e.pdb").write_text("")
    with pytest.raises(ValueError, match="unknown suffix"):
        gather(tmp_path / "e.pdb")


def test_archives(tmp_path: Path, archive: Archive) -> None:
    archive.save(tmp_path / "a.npz")
    for what in (archive, tmp_path / "a.npz"):
        assert kinds(gather(what)) == ["arrays"] * len(archive)


def test_an_extxyz_tells_the_charge(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3 name=chloride charge=-1\nCl 0 0 0\n")
    assert [structure.payload[1][2] for structure in gather(path).structures if structure.payload] == [-1]


def test_the_comment_of_an_xyz_may_tell_the_charge(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\ncharge=-1\nCl 0 0 0\n1\nnothing\nHe 0 0 0\n")
    payloads = [one.payload for one in gather(path).structures]
    assert [payload[1][2] for payload in payloads if payload is not None] == [-1, 0]


def test_huge_structures_are_failures(tmp_path: Path) -> None:
    n = MAX_ATOMS + 1
    atoms = Atoms("H" * n, positions=np.zeros((n, 3)))
    assert kinds(gather([atoms])) == ["too_large"]
    path = tmp_path / "huge.xyz"
    path.write_text(f"{n}\n\n" + "H 0 0 0\n" * n)
    assert kinds(gather(path)) == ["too_large"]
