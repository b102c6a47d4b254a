"""Two processes of torchrun make the same file as one: the same molecules in the same order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from rdkit import Chem
from rdkit.Chem import AllChem

import moldiff
from moldiff.generator import Generator
from moldiff.generator.ranks import Ranks
from moldiff.state import State

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
from moldiff.generator import generator as module
from moldiff.commands.sample import Sample
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest
import moldiff.generator

def right(b):
    return torch.arange(b) % 2 == 0

def load(name, device="auto", compile="auto"):
    network = conftest.Oracle(right)
    return module.Generator(network, conftest.config({{"5": 3, "4": 1}}), precision="fp32", device="cpu")

moldiff.generator.load = load
options = dict(model="toy", number=20, batch_size=3, keep_invalid=True, device="cpu", seed=4)
for fill in (False, True):
    code = Sample(out=Path(sys.argv[1]) / f"{{fill}}.sdf", fill=fill, quiet=True, **options).run()
    if code:
        sys.exit(code)
"""


def run(command: list[str], folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, str(script), str(folder)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    run([sys.executable], one)
    run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], two)
    for name in ("False.sdf", "True.sdf"):
        text = (one / name).read_text()
        assert text.count("$$$$") >= 20
        assert (two / name).read_text() == text
    # so that the test means something: some of the structures are invalid, and more were drawn to fill up
    assert text.count(">  <reason>") > text.count("<reason>  \nok") >= 20
    assert ">  <reason>  \nok" in text


def both(arguments: list[str], folder: Path, suffix: str) -> tuple[str, str]:
    """What one process and what two processes write."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    texts = []
    for name, start in (
        ("one", [sys.executable, "-m"]),
        ("two", [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]),
    ):
        out = folder / f"{name}.{suffix}"
        command = [*start, "moldiff", *arguments, "-o", str(out), "--batch-size", "2", "--device", "cpu"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("network evaluations") == 1
        texts.append(out.read_text())
    return texts[0], texts[1]


def test_two_processes_fill_up_a_sample_of_crystals_as_one_does(tmp_path: Path) -> None:
    """All processes must learn that it is enough: one that does not waits for ever."""
    options = ["-n", "6", "--fill", "--steps", "3", "--n-atoms", "4"]
    one, two = both(["sample", "mp20", *options], tmp_path, "extxyz")
    assert one.count("Lattice") == 6
    assert two == one


def test_two_processes_complete_a_molecule_as_one_does(tmp_path: Path) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    moldiff.write([mol], tmp_path / "seed.sdf")
    options = ["--n-new", "1", "3", "-n", "7", "--steps", "2", "--keep-invalid"]
    one, two = both(["complete", "qm9", str(tmp_path / "seed.sdf"), *options], tmp_path, "sdf")
    assert one.count("$$$$") == 7
    assert two == one


def test_two_processes_complete_a_crystal_as_one_does(tmp_path: Path) -> None:
    moldiff.write([bulk("NaCl", "rocksalt", a=5.64)], tmp_path / "seed.cif")
    options = ["--new-cell", "--n-new", "1", "3", "-n", "7", "--steps", "2", "--keep-invalid"]
    one, two = both(["complete", "mp20", str(tmp_path / "seed.cif"), *options], tmp_path, "extxyz")
    assert one.count("Lattice") == 7
    assert two == one


def test_one_process_shares_nothing() -> None:
    ranks = Ranks()
    parts = [torch.tensor([0, 2]), torch.tensor([1])]

    def blank(rows: torch.Tensor) -> State:
        return State(mask=torch.ones(len(rows), 2, dtype=torch.bool))

    found = list(ranks.share(parts, blank=blank, draw=lambda place, state: state))
    assert [rows.tolist() for rows, _ in found] == [[0, 2], [1]]
    assert ranks.agree(7) == 7
    assert ranks.device("auto") == "auto"
    ranks.leave()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch, methane: Generator) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    ranks = Ranks.join()
    assert (ranks.rank, ranks.count) == (0, 1)
    assert methane.ranks.count == 1
