"""The Python example of the README runs as it is printed, on the weights in the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks[0], str(README), "exec"), names)
    mols = names["mols"]
    assert 0 < len(mols) <= 100
    assert all(isinstance(mol, Chem.Mol) and mol.GetConformer().Is3D() for mol in mols)
    written = [mol for mol in Chem.SDMolSupplier(str(tmp_path / "out.sdf"), removeHs=False) if mol is not None]
    assert [Chem.MolToSmiles(mol) for mol in written] == [Chem.MolToSmiles(mol) for mol in mols]


def test_the_tables_are_those_of_the_results() -> None:
    script = README.parent / "benchmarks" / "readme.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "README.md differs from benchmarks/results: run python benchmarks/readme.py"
