from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.cli import run
from moldiff.data.files import write
from moldiff.generator import Drawn, Generator, complete

Refused = Callable[[list[str]], str]


@pytest.fixture
def scaffold() -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    write([mol, mol], "scaffold.sdf")
    return "scaffold.sdf"


def test_complete_writes_what_was_made(
    weights: str, scaffold: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # untrained weights make nothing valid: the molecule itself stands in for all but one completion
    asked = {}
    original = complete.stream

    def valid(generator: Generator, mol: Chem.Mol, keep: str | None, **options: Any) -> Iterator[Drawn]:
        asked.update(options, keep=keep)
        for item in original(generator, mol, keep, **options):  # type: ignore[arg-type]
            yield item._replace(mol=Chem.Mol(mol)) if item.number else item

    monkeypatch.setattr(complete, "stream", valid)
    arguments = ["complete", weights, scaffold, "--keep", "[OH]", "--n-new", "1", "2", "-n", "3", "--steps", "2"]
    assert run([*arguments, "-o", "out.sdf", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["asked"] == facts["drawn"] == 3 and facts["written"] == 2 and facts["evaluations"] == 2
    assert asked == {"keep": "[OH]", "n_new": (1, 2), "n": 3, "seed": 0, "steps": 2, "batch_size": None}
    mols = list(Chem.SDMolSupplier("out.sdf", removeHs=False))
    assert [mol.GetProp("_Name") for mol in mols] == ["demo-0-1", "demo-0-2"]
    assert "holds 2 molecules" in err and "2 molecules written to out.sdf" in err


def test_complete_tells_when_nothing_was_made(weights: str, scaffold: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["complete", weights, scaffold, "--atoms", "1", "-n", "2", "--steps", "2", "-o", "out.sdf"]
    code = run(arguments)
    out, err = capsys.readouterr()
    assert "valid and connected" in out
    assert code == (1 if "no valid molecule was made" in err else 0)


def test_complete_refuses_bad_input_in_one_line(weights: str, scaffold: str, refused: Refused) -> None:
    begin = ["complete", weights, scaffold, "-o", "out.sdf"]
    assert "matches nothing" in refused([*begin, "--keep", "c1ccccc1"])
    assert "give one of them" in refused([*begin, "--keep", "C", "--atoms", "0"])
    assert "n_new" in refused([*begin, "--n-new", "3", "2"])
    assert "no file" in refused(["complete", weights, "missing.sdf", "-o", "out.sdf"])
    assert "unknown suffix" in refused(["complete", weights, scaffold, "-o", "out.pdb"])


def test_a_scaffold_without_hydrogens_and_with_attachment_points_is_read(weights: str) -> None:
    mol = Chem.MolFromSmiles("*CO")
    AllChem.Compute2DCoords(mol)
    mol.GetConformer().Set3D(True)
    write([mol], "points.sdf")
    assert run(["complete", weights, "points.sdf", "-n", "1", "--steps", "1", "-o", "out.sdf", "--quiet"]) in (0, 1)
    assert np.isfinite(mol.GetConformer().GetPositions()).all()
