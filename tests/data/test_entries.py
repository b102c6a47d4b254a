from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from moldiff.data.embed import embed
from moldiff.data.entries import sdf_entries, smiles_entries, xyz_entries

WATER = ["3", "water", "O 0.0 0.0 0.1173", "H 0.0 0.7572 -0.4692", "H 0.0 -0.7572 -0.4692"]
BLOCK = Chem.MolToMolBlock(embed(Chem.MolFromSmiles("CC=O"), seed=0)).splitlines()
SCRAPS = ["3", "$$$$", "M  END", "Properties=species:S:1:pos:R:3", "Properties=pos:R:3 charge=x", *WATER, *BLOCK]
PARSERS = {"sdf": sdf_entries, "xyz": xyz_entries, "smi": smiles_entries}


@pytest.mark.parametrize("name", list(PARSERS))
@settings(max_examples=40, deadline=None)
@given(lines=st.lists(st.one_of(st.text(max_size=12), st.sampled_from(SCRAPS))))
def test_no_text_raises(name: str, lines: list[str]) -> None:
    for result, _ in PARSERS[name](lines, True):
        assert isinstance(result, str | Chem.Mol)


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("start", range(len(WATER) * 3))
def test_losing_lines_of_an_xyz_costs_no_later_entry(start: int, count: int) -> None:
    lines = WATER * 3
    damaged = lines[:start] + lines[start + count :] + WATER
    results = [result for result, _ in xyz_entries(damaged, True)]
    assert isinstance(results[-1], Chem.Mol)
    assert results[-1].GetNumAtoms() == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(BLOCK) - 1), st.integers(1, 20))
def test_losing_lines_of_an_sdf_costs_one_entry(start: int, count: int) -> None:
    damaged = BLOCK[:start] + BLOCK[start + count :]
    results = [result for result, _ in sdf_entries([*BLOCK, "$$$$", *damaged, "$$$$", *BLOCK], True)]
    assert len(results) == 3
    assert isinstance(results[0], Chem.Mol) and isinstance(results[2], Chem.Mol)


def test_coordinates_that_are_not_finite() -> None:
    lines = [line.replace("0.0000 C", "   nan C") for line in BLOCK]
    atom = lines.index(next(line for line in lines if " C   0" in line))
    lines[atom] = "       nan" + lines[atom][10:]
    ((result, head),) = sdf_entries(lines, True)
    assert isinstance(result, str) and head.splitlines()[3].strip().startswith("7  6")


def test_bonds_can_be_left_out() -> None:
    ((mol, _),) = sdf_entries(BLOCK, False)
    assert mol.GetNumBonds() == 0 and mol.GetNumAtoms() == 7
    ((mol, _),) = xyz_entries(WATER, False)
    assert mol.GetNumBonds() == 0
    assert np.allclose(mol.GetConformer().GetPositions()[0], [0, 0, 0.1173])
