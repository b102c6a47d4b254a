"""A thousand damaged files, always the same: nothing but the documented error, and no neighbour harmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from moldiff.data.archive import Archive
from moldiff.evaluation import evaluate
from moldiff.evaluation.inputs import gather

VARIANTS = 500  # of each format
WORDS = [
    b"nan",
    b"inf",
    b"-1e308",
    b"1e999",
    b"99999",
    b"-1",
    b"0",
    b"Xx",
    b"Q",
    b"",
    b"\xff\xfe\x00",
    b"$$",
    b"M  END",
]
WORDS += [
    "é漢".encode(),
    b"1.0D+400",
    b"*",
    b"R#",
    b"D",
    b"LP",
    b"Og",
    b"999999999999999999999",
    b"4",
    b"\t",
    b"charge=9",
]


def damaged(text: bytes, rng: np.random.Generator) -> bytes:
    """One entry, damaged in one to three ways."""
    for _ in range(int(rng.integers(1, 4))):
        lines = text.split(b"\n")
        place = int(rng.integers(0, max(1, len(lines))))
        kind = int(rng.integers(0, 11))
        if kind == 0:
            text = text[: int(rng.integers(0, len(text) + 1))]
        elif kind == 1:
            text = b"\n".join(lines[i] for i in rng.permutation(len(lines)))
        elif kind == 2:
            text = b"\n".join(lines[:place] + lines[place + 1 :])
        elif kind == 3:
            text = b"\n".join(lines[:place] + [lines[place]] * int(rng.integers(2, 30)) + lines[place + 1 :])
        elif kind in (4, 5, 6):
            words = lines[place].split(b" ")
            words[int(rng.integers(0, len(words)))] = WORDS[int(rng.integers(0, len(WORDS)))]
            lines[place] = b" ".join(words)
            text = b"\n".join(lines)
        elif kind == 7:
            at = int(rng.integers(0, len(text) + 1))
            text = text[:at] + rng.bytes(int(rng.integers(1, 9))) + text[at:]
        elif kind == 8:
            at = int(rng.integers(0, len(text) + 1))
            text = text[:at] + text[at + int(rng.integers(1, 20)) :]
        elif kind == 9:
            # another count where the format has one
            row = 3 if len(lines) > 3 and b"V2000" in lines[3] else 0
            lines[row] = str(int(rng.integers(-2, 2000))).rjust(3).encode() + lines[row][3:]
            text = b"\n".join(lines)
        else:
            # every atom in the same place
            text = text.replace(b"0.6", b"0.0").replace(b"-0.6", b"0.0")
    return text


def thousands(symbol: str, count: int) -> bytes:
    x = np.random.default_rng(0).normal(size=(count, 3)) * 20
    return f"{count}\n\n".encode() + b"".join(f"{symbol} {a:.3f} {b:.3f} {c:.3f}\n".encode() for a, b, c in x)


def entry(mol: Any, suffix: str) -> bytes:
    return (Chem.MolToMolBlock(mol) if suffix == ".sdf" else Chem.MolToXYZBlock(mol)).encode()


@pytest.mark.parametrize("suffix", [".sdf", ".xyz"])
def test_damage_stays_where_it_is(suffix: str, tmp_path: Path, archive: Archive, embedded: Callable[..., Any]) -> None:
    """The entry before each damaged one is evaluated; in an SDF, whose entries have ends, the one after too."""
    rng = np.random.default_rng(20260)
    whole = embedded("C")
    victims = [entry(embedded(smiles), suffix) for smiles in ("O", "C=O", "CO", "C[N+](=O)[O-]")]
    end = b"$$$$\n" if suffix == ".sdf" else b""
    intact = entry(whole, suffix) + end
    files = {}
    for number in range(VARIANTS):
        bad = damaged(victims[number % len(victims)], rng)
        if suffix == ".xyz" and number % 100 == 7:
            bad = thousands("C", 1500)
        path = tmp_path / f"{number:04}{suffix}"
        path.write_bytes(intact + bad + (b"\n" + end + intact if suffix == ".sdf" else b""))
        files[path.name] = 2 if suffix == ".sdf" else 1
    result = evaluate(str(tmp_path / f"*{suffix}"), reference=archive, jobs=2, time_limit=20, progress=False)
    seen = dict.fromkeys(files, 0)
    key = "smiles" if suffix == ".sdf" else "determine_bonds_smiles"
    for row in result.rows:
        assert row.get(key) == "C" or not row["source"].endswith(":0"), row
        name = row["source"].rpartition(":")[0] or Path(row["source"]).name
        seen[name] += row.get(key) == "C"
    assert {name: (seen[name], n) for name, n in files.items() if seen[name] < n} == {}
    assert result.metrics["valid"]["of"] == len(result.rows) >= sum(files.values())
    reasons = set(result.meta["reasons"])
    assert "unreadable" in reasons and not {"crash", "error"} & reasons, [
        row for row in result.rows if row["reason"] in ("crash", "error")
    ][:3]


@pytest.mark.parametrize("suffix", [".sdf", ".xyz", ".extxyz", ".smi"])
def test_a_file_of_damage_only_raises_nothing_but_the_documented_error(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / f"bad{suffix}"
    text = {
        ".smi": b"CCO ethanol\nc1ccccc1 benzene\n",
        ".extxyz": b'2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\nH 0 0 0.6\nH 0 0 0\n',
    }.get(suffix, entry(Chem.MolFromSmiles("CO"), ".sdf"))
    outcomes = set()
    for _ in range(60):
        path.write_bytes(damaged(text, rng))
        try:
            gather(path)
            outcomes.add("read")
        except ValueError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes
