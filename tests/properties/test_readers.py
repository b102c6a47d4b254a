"""What holds for every file: what was written is read again, and rubbish is refused in words and never crashes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from moldiff.data.crystal_files import read_crystals
from moldiff.data.demo import demo_archive
from moldiff.data.files import read_molecules, write
from moldiff.molecules.convert import Arrays, to_mol

MOLECULES = (".sdf", ".mol", ".xyz", ".extxyz", ".smi")
CRYSTALS = (".cif", ".extxyz", ".vasp")


@cache
def demo() -> list[Chem.Mol]:
    archive = demo_archive(20)
    return [to_mol(Arrays(*archive.record(i)[:4])) for i in range(len(archive))]


def smiles(mol: Chem.Mol) -> str:
    with rdBase.BlockLogs():
        return Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=5), st.sampled_from((".sdf", ".xyz", ".extxyz", ".smi")))
@settings(max_examples=15)
def test_what_was_written_is_read(chosen: list[int], suffix: str) -> None:
    mols = [demo()[i] for i in chosen]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m{suffix}"
        assert write(mols, path) == len(mols)
        again = read_molecules(path)
    assert not again.skipped
    assert [smiles(mol) for mol in again] == [smiles(mol) for mol in mols]
    if suffix != ".smi":
        for ours, theirs in zip(mols, again, strict=True):
            assert np.allclose(ours.GetConformer().GetPositions(), theirs.GetConformer().GetPositions(), atol=1e-3)


lines = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            (
                "$$$$",
                "M  END",
                "  1  0  0  0  0  0  0  0  0  0999 V2000",
                "    0.0000    0.0000    0.0000 C   0  0",
                "2",
                "H 0 0 0",
                "C nan 1e400 0",
                'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3',
                "data_x",
                "_cell_length_a 3",
                "loop_",
                "_atom_site_fract_x",
                "c1ccccc1 benzene",
                "Direct",
            )
        ),
    ),
    max_size=12,
)


@given(lines, st.sampled_from(MOLECULES))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_rubbish_is_refused_in_words(content: list[str], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m{suffix}"
        path.write_text("\n".join(content), encoding="utf-8", errors="replace")
        try:
            found = read_molecules(path)
        except ValueError as error:
            assert f"m{suffix}" in str(error)
        else:
            assert all(isinstance(mol, Chem.Mol) for mol in found)
            assert len(found) >= 1


@given(lines, st.sampled_from(CRYSTALS))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_rubbish_is_no_crystal(content: list[str], suffix: str) -> None:
    pytest.importorskip("ase")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"c{suffix}"
        path.write_text("\n".join(content), encoding="utf-8", errors="replace")
        try:
            found = read_crystals(path)
        except ValueError as error:
            assert f"c{suffix}" in str(error)
        else:
            assert len(found) >= 1
