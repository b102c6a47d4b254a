from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from moldiff.data.embed import embed
from moldiff.data.files import read, read_archive, read_molecules, record_of, write

SMILES = ["c1cc[nH]c1", "CC(=O)[O-]", "C[NH3+]", "CCO", "N#CC1CC1", "c1ccncc1", "C[N+](=O)[O-]"]


def plain(mol: Any) -> str:
    copy = Chem.Mol(mol)
    Chem.SanitizeMol(copy)
    return Chem.MolToSmiles(Chem.RemoveHs(copy), isomericSmiles=False)


@pytest.fixture(scope="module")
def mols() -> list[Any]:
    made = [embed(Chem.MolFromSmiles(text), seed=1) for text in SMILES]
    for i, mol in enumerate(made):
        mol.SetProp("_Name", f"mol{i}")
        mol.SetProp("gap", str(1.5 * i))
        mol.SetProp("note", "text")
    return made


@pytest.fixture
def sdf(tmp_path: Path, mols: Sequence[Any]) -> str:
    write(mols, tmp_path / "source.sdf")
    return (tmp_path / "source.sdf").read_text()


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".extxyz", ".smi"])
@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tmp_path: Path, mols: Sequence[Any], suffix: str, packed: bool) -> None:
    path = tmp_path / f"out{suffix}"
    assert write(mols, path) == len(mols)
    if packed:
        path = tmp_path / f"out{suffix}.gz"
        path.write_bytes(gzip.compress((tmp_path / f"out{suffix}").read_bytes()))
    reading = read_molecules(path)
    assert not reading.skipped
    assert [plain(mol) for mol in reading] == [plain(mol) for mol in mols]
    assert [mol.GetNumAtoms() for mol in reading] == [mol.GetNumAtoms() for mol in mols]
    if suffix != ".smi":
        for before, after in zip(mols, reading, strict=True):
            tolerance = 1e-4 if suffix == ".sdf" else 1e-7
            assert np.allclose(
                before.GetConformer().GetPositions(), after.GetConformer().GetPositions(), atol=tolerance
            )
    if suffix == ".sdf":
        assert reading[2].GetProp("gap") == "3.0"
        assert reading[2].GetProp("note") == "text"
        assert reading[2].GetProp("_Name") == "mol2"


def test_read_archive_from_sdf(tmp_path: Path, mols: Sequence[Any]) -> None:
    write(mols, tmp_path / "a.sdf")
    archive, reading = read_archive(tmp_path / "a.sdf")
    assert len(archive) == len(reading) == len(mols)
    assert archive.property_names.tolist() == ["gap"]
    assert archive.column("gap").tolist() == [1.5 * i for i in range(len(mols))]
    assert archive.smiles.tolist() == [plain(mol) for mol in mols]
    pyrrole = archive.record(0)
    assert pyrrole.aromatic.sum() == 10
    assert pyrrole.bonds.max() == 2
    assert archive.record(1).charges.sum() == -1
    assert archive.record(2).charges.sum() == 1
    assert set(archive.split.tolist()) == {0, 1, 2}


def test_read_archive_from_smiles_is_reproducible(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("smiles name\nCCO ethanol\n# comment\n\nC1CC benzyl?\nc1ccoc1\tfuran\n")
    archive, reading = read_archive(tmp_path / "a.smi", seed=3)
    again, _ = read_archive(tmp_path / "a.smi", seed=3)
    other, _ = read_archive(tmp_path / "a.smi", seed=4)
    assert archive.smiles.tolist() == ["CCO", "c1ccoc1"]
    assert [mol.GetProp("_Name") for mol in reading] == ["ethanol", "furan"]
    assert [(skip.entry, "C1CC" in skip.reason) for skip in reading.skipped] == [(1, True)]
    assert np.array_equal(archive.positions, again.positions)
    assert not np.array_equal(archive.positions, other.positions)


def test_bad_sdf_entries_do_not_cost_the_others(tmp_path: Path, sdf: str) -> None:
    blocks = sdf.split("$$$$\n")[:7]
    blocks[1] = blocks[1].replace("  1  2", "  1 99", 1)  # a bond to an atom that is not there
    counts = blocks[2].splitlines()[3]
    blocks[2] = blocks[2].replace(counts, "garbage", 1)
    blocks[3] = "\n"
    lines = blocks[4].splitlines()
    lines[5] = "    abc   " + lines[5][10:]
    blocks[4] = "\n".join(lines) + "\n"
    blocks[6] = blocks[6][:200]  # truncated
    (tmp_path / "bad.sdf").write_text("$$$$\n".join(blocks))
    reading = read(tmp_path / "bad.sdf")
    assert reading.indices == [0, 5]
    reasons = {skip.entry: skip.reason for skip in reading.skipped}
    assert list(reasons) == [1, 2, 3, 4, 6]
    assert "counts line 'garbage'" in reasons[2]
    assert reasons[3] == "empty entry"
    assert "atom 2" in reasons[4]
    assert "truncated" in reasons[6]
    assert "2 molecules read, 5 entries skipped" in reading.report()


def test_sdf_line_ends_and_last_entry(tmp_path: Path, sdf: str) -> None:
    (tmp_path / "dos.sdf").write_bytes(sdf.replace("\n", "\r\n").encode())
    assert len(read(tmp_path / "dos.sdf")) == 7
    (tmp_path / "one.mol").write_text(sdf.split("$$$$\n")[0])
    assert len(read(tmp_path / "one.mol")) == 1
    (tmp_path / "latin.sdf").write_bytes(sdf.replace("text", "t\xe9xt").encode("latin-1"))
    assert len(read(tmp_path / "latin.sdf")) == 7


def test_counts_line_that_promises_more(tmp_path: Path, sdf: str) -> None:
    block = sdf.split("$$$$\n")[3]
    counts = block.splitlines()[3]
    (tmp_path / "a.sdf").write_text(block.replace(counts, "999" + counts[3:], 1) + "$$$$\n" + sdf)
    reading = read(tmp_path / "a.sdf")
    assert len(reading) == 7
    assert "promises 999 atoms" in reading.skipped[0].reason


def test_aromatic_bonds_are_kekulised_and_charges_kept(tmp_path: Path) -> None:
    mol = embed(Chem.MolFromSmiles("c1cc[nH]c1.C[N+](C)(C)C.[O-]c1ccccc1"), seed=0)
    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(mol, kekulize=False) + "$$$$\n")
    assert " 4  0" in (tmp_path / "a.sdf").read_text()
    (back,) = read(tmp_path / "a.sdf")
    assert {str(bond.GetBondType()) for bond in back.GetBonds()} == {"SINGLE", "DOUBLE"}
    assert sorted({atom.GetFormalCharge() for atom in back.GetAtoms()}) == [-1, 0, 1]
    assert plain(back) == plain(mol)


def test_radicals_and_missing_hydrogens(tmp_path: Path) -> None:
    radical = embed(Chem.MolFromSmiles("C[CH2]"), seed=0)
    bare = Chem.RemoveHs(embed(Chem.MolFromSmiles("CCO"), seed=0))
    write([radical, bare], tmp_path / "a.sdf")
    explicit = read(tmp_path / "a.sdf")
    assert [atom.GetNumRadicalElectrons() for atom in explicit[0].GetAtoms()][:2] == [0, 1]
    assert [mol.GetNumAtoms() for mol in explicit] == [7, 3]
    assert all(atom.GetTotalNumHs() == 0 for atom in explicit[1].GetAtoms())
    implicit = read(tmp_path / "a.sdf", hydrogens="implicit")
    assert sum(atom.GetTotalNumHs() for atom in implicit[1].GetAtoms()) == 6
    added = read(tmp_path / "a.sdf", hydrogens="add")
    assert [mol.GetNumAtoms() for mol in added] == [7, 9]
    assert np.ptp(added[1].GetConformer().GetPositions(), axis=0).min() > 0
    with pytest.raises(ValueError, match="hydrogens='add'"):
        read_archive(tmp_path / "a.sdf")
    archive, reading = read_archive(tmp_path / "a.sdf", hydrogens="add")
    assert archive.smiles.tolist() == ["CCO"]
    assert "radicals" in reading.skipped[0].reason
    with pytest.raises(ValueError, match="'some'"):
        read(tmp_path / "a.sdf", hydrogens="some")  # type: ignore[arg-type]


def test_nothing_is_sanitised(tmp_path: Path) -> None:
    block = Chem.MolToMolBlock(embed(Chem.MolFromSmiles("C"), seed=0)).replace("  1  2  1", "  1  2  3", 1)
    (tmp_path / "a.sdf").write_text(block + "$$$$\n")
    (mol,) = read(tmp_path / "a.sdf")
    assert mol.GetBondWithIdx(0).GetBondTypeAsDouble() == 3
    with pytest.raises(ValueError, match="valence"):
        record_of(mol)


XYZ = """3
water
O 0.0 0.0 0.1173
H 0.0 0.7572 -0.4692
H 0.0 -0.7572 -0.4692
"""


def test_xyz_resynchronises(tmp_path: Path) -> None:
    bad_atom = XYZ.replace("H 0.0 0.7572 -0.4692", "H 0.0 oops -0.4692")
    unknown = XYZ.replace("O ", "Qq ")
    short = "\n".join(XYZ.splitlines()[:4]) + "\n"  # two of three atoms, then the next entry begins
    charged = "4\nhydronium charge=1\nO 0 0 0.08\nH 0.0 0.93 -0.22\nH 0.806 -0.465 -0.22\nH -0.806 -0.465 -0.22\n"
    text = "\n".join([XYZ, bad_atom + XYZ + "rubbish\nmore rubbish\n" + XYZ, unknown + short + charged + "\n" + short])
    (tmp_path / "a.xyz").write_text(text)
    reading = read(tmp_path / "a.xyz")
    assert [plain(mol) for mol in reading] == ["O", "O", "O", "[OH3+]"]
    reasons = [skip.reason for skip in reading.skipped]
    assert "atom 2 of 3" in reasons[0]
    assert "'rubbish'" in reasons[1]
    assert "Qq" in reasons[2]
    assert "atom 3 of 3" in reasons[3]
    assert "truncated: 3 atoms promised, 2 found" in reasons[4]
    assert sorted(reading.indices + [skip.entry for skip in reading.skipped]) == list(range(9))
    assert reading[0].GetProp("_Name") == "water"


def test_xyz_notations(tmp_path: Path) -> None:
    text = XYZ.replace("0.1173", "1.173D-1").replace("0.7572", "7.572*^-1", 1).replace("H ", "1 ").replace("O ", "o ")
    (tmp_path / "a.xyz").write_text(text)
    (mol,) = read(tmp_path / "a.xyz")
    assert np.allclose(mol.GetConformer().GetPositions()[:2, 1:], [[0, 0.1173], [0.7572, -0.4692]])


def test_xyz_without_bonds_and_without_sense(tmp_path: Path) -> None:
    far = XYZ.replace("-0.7572", "-7.572")
    nan = XYZ.replace("0.1173", "nan")
    (tmp_path / "a.xyz").write_text(far + nan + XYZ)
    reading = read(tmp_path / "a.xyz")
    assert reading.indices == [2]
    assert "no bonds found for total charge 0" in reading.skipped[0].reason
    assert reading.skipped[1].reason == "coordinates are not finite"
    atoms = read_molecules(tmp_path / "a.xyz", bonds=False)
    assert atoms.indices == [0, 2]
    assert all(mol.GetNumBonds() == 0 and mol.GetNumAtoms() == 3 for mol in atoms)


def test_extxyz_columns_and_damage(tmp_path: Path) -> None:
    good = '3\nProperties=id:I:1:species:S:1:pos:R:3 charge=0 pbc="F F F"\n'
    good += "".join(f"{i} {line}\n" for i, line in enumerate(XYZ.splitlines()[2:]))
    bad = good.replace("species:S:1:", "")
    (tmp_path / "a.extxyz").write_text(good + bad + good)
    reading = read(tmp_path / "a.extxyz")
    assert [plain(mol) for mol in reading] == ["O", "O"]
    assert "extended XYZ" in reading.skipped[0].reason


def test_the_total_charge_stays_when_bonds_are_left_out(tmp_path: Path) -> None:
    body = "\n".join(XYZ.splitlines()[2:]) + "\n"
    comments = ["charge=-1", "Properties=species:S:1:pos:R:3 charge=2", "nothing", f"charge={'9' * 5000}"]
    plain_text = "".join(f"3\n{comment}\n{body}" for comment in comments)
    (tmp_path / "a.xyz").write_text(plain_text)
    assert [mol.GetIntProp("charge") for mol in read_molecules(tmp_path / "a.xyz", bonds=False)] == [-1, 2, 0, 0]
    lines = [f"3\nProperties=species:S:1:pos:R:3 {name}\n{body}" for name in ("charge=-1", "total_charge=1", "pbc=F")]
    (tmp_path / "a.extxyz").write_text("".join([*lines, lines[0].replace("-1", "100000000000")]))
    reading = read_molecules(tmp_path / "a.extxyz", bonds=False)
    assert [mol.GetIntProp("charge") for mol in reading] == [-1, 1, 0]
    assert reading.skipped[0].reason == "a total charge beyond 999"


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".extxyz", ".smi", ".sdf.gz"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"this is\nno molecule file\n", b"\x00\xff\xfe\x01"])
def test_files_without_a_molecule(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with pytest.raises(ValueError, match=r"a\.(sdf|xyz|extxyz|smi).*no readable molecule"):
        read(path)


def test_truncated_gzip(tmp_path: Path, sdf: str) -> None:
    packed = gzip.compress(sdf.encode(), compresslevel=0)
    (tmp_path / "a.sdf.gz").write_bytes(packed[: len(packed) // 2])
    reading = read(tmp_path / "a.sdf.gz")
    assert 1 <= len(reading) < 7
    assert any("gzip" in skip.reason for skip in reading.skipped)


def test_unknown_suffix_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.pdb'.*\.sdf"):
        read(tmp_path / "a.pdb")
    with pytest.raises(FileNotFoundError, match="check the path"):
        read(tmp_path / "a.sdf")


@pytest.mark.data
def test_drug_smiles(data_root: Path, tmp_path: Path) -> None:
    with gzip.open(data_root / "molecules" / "geom_drugs_val.smi.gz", "rt") as stream:
        lines = [next(stream) for _ in range(200)]
    (tmp_path / "drugs.smi").write_text("".join(lines))
    reading = read(tmp_path / "drugs.smi")
    assert len(reading) == 200
    assert all(mol.GetNumAtoms() > mol.GetNumHeavyAtoms() for mol in reading)
