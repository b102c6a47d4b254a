from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from moldiff.data.embed import embed
from moldiff.data.files import Writer, read, write


def make(smiles: str = "CCO") -> Any:
    return embed(Chem.MolFromSmiles(smiles), seed=0)


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".extxyz", ".smi"])
def test_everything_written_is_readable_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with Writer(path) as writer:
        for count in range(1, 4):
            writer.write(make())
            assert len(read(path)) == count == writer.count


def test_interrupt_leaves_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    with pytest.raises(KeyboardInterrupt), Writer(path) as writer:
        writer.write(make())
        writer.write(make("C"))
        raise KeyboardInterrupt
    assert len(read(path)) == 2


def test_old_file_stays_until_the_first_molecule(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text("CC old\nCCC old\n")
    Writer(path).close()
    assert path.read_text() == "CC old\nCCC old\n"
    with Writer(path) as writer:
        writer.write(make())
    assert path.read_text() == "CCO\n"
    Writer(tmp_path / "new.sdf").close()
    assert not (tmp_path / "new.sdf").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.foo", r"unknown suffix '\.foo'.*\.sdf"),
        ("a", "unknown suffix"),
        ("missing/a.sdf", "create it"),
        ("folder.sdf", "it is a folder"),
    ],
)
def test_refused_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.sdf").mkdir()
    with pytest.raises(ValueError, match=message):
        Writer(tmp_path / name)


def test_unwritable_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ValueError, match="Permission denied; check its permissions"):
        Writer(tmp_path / "a.sdf")


def test_comments_carry_smiles_and_charge(tmp_path: Path) -> None:
    mol = make("CC(=O)[O-]")
    write([mol], tmp_path / "a.xyz")
    assert (tmp_path / "a.xyz").read_text().splitlines()[:2] == ["7", "smiles=CC(=O)[O-] charge=-1"]
    write([mol], tmp_path / "a.extxyz")
    from ase.io import read as read_atoms

    atoms = read_atoms(tmp_path / "a.extxyz")
    assert atoms.info["smiles"] == "CC(=O)[O-]"
    assert atoms.info["charge"] == -1
    assert atoms.arrays["formal_charges"].sum() == -1


def test_sdf_is_kekulised_and_keeps_properties(tmp_path: Path) -> None:
    mol = make("c1ccccc1")
    mol.SetDoubleProp("gap", 5.25)
    write([mol], tmp_path / "a.sdf")
    (back,) = read(tmp_path / "a.sdf")
    assert sorted(bond.GetBondTypeAsDouble() for bond in back.GetBonds()) == [1] * 9 + [2] * 3
    assert back.GetDoubleProp("gap") == 5.25
    assert mol.GetBondWithIdx(0).GetIsAromatic()


def test_large_molecules_become_v3000(tmp_path: Path) -> None:
    mol = Chem.MolFromSmiles("C" * 1100)
    conformer = Chem.Conformer(1100)
    for i in range(1100):
        conformer.SetAtomPosition(i, (1.5 * i, 0, 0))
    mol.AddConformer(conformer)
    write([mol, make()], tmp_path / "a.sdf")
    text = (tmp_path / "a.sdf").read_text()
    assert text.count("V3000") == 1
    assert [m.GetNumAtoms() for m in read(tmp_path / "a.sdf")] == [1100, 9]


def test_invalid_molecules_can_be_written(tmp_path: Path) -> None:
    mol = Chem.RWMol(make("c1ccccc1"))
    mol.RemoveAtom(0)
    for suffix in (".sdf", ".xyz", ".smi"):
        assert write([mol], tmp_path / f"a{suffix}") == 1


def test_no_conformer(tmp_path: Path) -> None:
    mol = Chem.MolFromSmiles("CCO")
    for suffix in (".sdf", ".xyz", ".extxyz"):
        with pytest.raises(ValueError, match="'CCO' has no 3D coordinates"):
            write([mol], tmp_path / f"a{suffix}")
    assert write([mol], tmp_path / "a.smi") == 1
