from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import rdBase

from moldiff.config import SamplerConfig
from moldiff.data.reference import pack
from moldiff.denoiser import Clocks, Condition, Preconditioning, Prediction
from moldiff.generator import Generator
from moldiff.generator.formulas import Chemistry, parse_formula
from moldiff.generator.training_formulas import fitting
from moldiff.state import BOND_SYMBOLS, Alphabet, State

from .conftest import config

ALPHABETS = {
    "elements": Alphabet(("H", "C", "N", "O")),
    "charges": Alphabet(("-1", "0", "1")),
    "bonds": Alphabet(BOND_SYMBOLS),
}


class Restless:
    """Random logits, a new set at every call."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(
        self,
        state: State,
        clocks: Clocks,
        condition: Condition | None,
        previous: Prediction | None,
        preconditioning: Preconditioning,
    ) -> Prediction:
        b, n = state.mask.shape
        pairs = torch.randn((b, n, n, 5), generator=self.generator)
        return Prediction(
            positions=torch.zeros(b, n, 3),
            elements=3 * torch.randn((b, n, 4), generator=self.generator),
            charges=3 * torch.randn((b, n, 3), generator=self.generator),
            bonds=pairs + pairs.transpose(1, 2),
        )


def generator() -> Generator:
    settings = config({"2": 5, "6": 5, "9": 5})
    alphabets = {name: alphabet.symbols for name, alphabet in ALPHABETS.items()}
    from dataclasses import replace

    settings = replace(settings, alphabets=alphabets, sampler=SamplerConfig(steps=8))
    return Generator(Restless(), settings, precision="fp32", device="cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C7H10O2", ({"C": 7, "H": 10, "O": 2}, None)),
        ("CH3OH", ({"C": 1, "H": 4, "O": 1}, None)),
        ("C2H8N+", ({"C": 2, "H": 8, "N": 1}, 1)),
        ("SO4-2", ({"S": 1, "O": 4}, -2)),
        ("ClBr", ({"Cl": 1, "Br": 1}, None)),
    ],
)
def test_formulas_are_read(text: str, expected: tuple[dict[str, int], int | None]) -> None:
    assert parse_formula(text) == expected


@pytest.mark.parametrize("text", ["", "c7h10", "C7 H10", "7C", "C-H", "C0H4"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"formula": "C2H6S"}, "unknown symbol 'S': this alphabet has H, C, N, O"),
        ({"formula": "C2H5"}, "odd number of electrons"),
        ({"formula": "C2H6O", "charge": 1}, "odd number of electrons"),
        ({"formula": "C2H8N+", "charge": 0}, "contradict"),
        ({"formula": "C2H6O", "forbid": "O"}, "has O, which is not allowed"),
        ({"formula": "C2H6O", "require": ("N",)}, "has 0 N, but 1 are required"),
        ({"elements": "C,H", "require": ["N"]}, "N is required but not allowed: allowed are H, C"),
        ({"elements": ["C"], "forbid": ["C"]}, "no element is left"),
        ({"elements": ""}, "elements is empty"),
        ({"elements": "C,Xx"}, "unknown symbol 'Xx'"),
        ({"charge": 1.5}, "whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_words(wishes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chemistry(ALPHABETS, **wishes)


def test_a_charge_needs_atoms_that_can_carry_it() -> None:
    neutral = ALPHABETS | {"charges": Alphabet(("0", "1"))}
    with pytest.raises(ValueError, match="charges"):
        Chemistry(neutral, charge=-1)
    assert Chemistry(ALPHABETS, charge=3).least_atoms == 3


def test_a_thousand_samples_with_a_formula() -> None:
    state = generator().draw(1000, formula="C2H5NO", batch_size=500, steps=6)
    assert state.n_atoms.unique().tolist() == [9]
    counts = torch.nn.functional.one_hot(state.field("elements"), 4).sum(1)
    assert (counts == torch.tensor([5, 2, 1, 1])).all()
    assert ((state.field("charges") - 1).sum(1) == 0).all()


def test_a_thousand_samples_with_required_and_forbidden_elements_and_a_charge() -> None:
    state = generator().draw(1000, forbid=("O",), require="N,N,C", charge=-1, batch_size=500, steps=6)
    # two atoms cannot hold three, so that size is not drawn
    assert state.n_atoms.unique().tolist() == [6, 9]
    counts = (torch.nn.functional.one_hot(state.field("elements"), 4) * state.mask[..., None]).sum(1)
    assert (counts[:, 3] == 0).all() and (counts[:, 2] >= 2).all() and (counts[:, 1] >= 1).all()
    assert (((state.field("charges") - 1) * state.mask).sum(1) == -1).all()


def test_sizes_must_agree_with_the_constraints() -> None:
    gen = generator()
    with pytest.raises(ValueError, match="the formula has 9 atoms, not 8"):
        gen.draw(2, formula="C2H5NO", n_atoms=8)
    with pytest.raises(ValueError, match="2 atoms cannot meet the constraints, which need 3"):
        gen.draw(2, require="N,N,N", n_atoms=[6, 2])
    with pytest.raises(ValueError, match="need 12 atoms"):
        gen.draw(2, require=["N"] * 12)


def test_the_report_says_what_was_asked_for() -> None:
    report = generator().sample(3, formula="C2H8N+", steps=2, progress=False).report
    assert "constraints: formula C2H8N; net charge +1" in str(report)


def reference(tmp_path: Path, smiles: list[str]) -> Path:
    """A reference file with nothing but SMILES."""
    path = tmp_path / "reference.npz"
    packed = {f"{split}_smiles": pack(smiles) for split in ("train", "test")}
    np.savez(path, data=np.array("toy"), rdkit=np.array(rdBase.rdkitVersion), **packed)
    return path


def test_formulas_of_training_molecules_that_fit(tmp_path: Path) -> None:
    path = reference(tmp_path, ["C", "CO", "C[NH3+]", "CCN", "c1cc[nH]c1", "N", "CF"])
    found = fitting(path, ("H", "C", "N", "O"), allowed=("H", "C", "N"), require={"N": 1})
    assert sorted(map(tuple, found.tolist())) == [(3, 0, 1, 0), (5, 4, 1, 0), (6, 1, 1, 0), (7, 2, 1, 0)]
    assert len(fitting(path, ("H", "C"), allowed=("C",), require={})) == 0
    assert fitting(None, ("H", "C"), allowed=("C",), require={}).shape == (0, 2)


def test_constraints_on_elements_give_a_training_formula_of_the_size(tmp_path: Path) -> None:
    gen = generator()
    gen.path = reference(tmp_path, ["O", "CO", "CCO", "C=O", "CN", "C=N", "CC"]).with_name("model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = gen.draw(40, forbid="O", n_atoms=[5, 6, 7, 8] * 10)
    symbols = [
        ALPHABETS["elements"].decode(row[mask].tolist()) for row, mask in zip(state.elements, state.mask, strict=True)
    ]
    counts = ["".join(sorted(one)) for one in symbols]
    assert set(counts[2::4]) == {"CHHHHHN"} and set(counts[3::4]) == {"CCHHHHHH"}
    assert set(counts[0::4]) == {"CHHHN"} and not any("O" in one for one in counts)
    # the order is random
    assert len({tuple(one) for one in symbols[3::4]}) > 3
    # no training molecule of six atoms fits: the old way, still without oxygen
    assert len(set(counts[1::4])) > 1


def test_sizes_follow_the_formulas_that_fit(tmp_path: Path) -> None:
    gen = generator()
    gen.path = reference(tmp_path, ["CO", "C=O", "CCO", "CN=O", "N#N"]).with_name("model.safetensors")
    # of the sizes 2, 6 and 9 known to the model, only methanol's has a fitting molecule with oxygen and no nitrogen
    assert set(gen.draw(12, forbid="N", require="O").n_atoms.tolist()) == {6, 9}
    assert set(gen.draw(12, forbid="O").n_atoms.tolist()) == {2}
    # nothing fits: the old way
    assert len(set(gen.draw(12, elements="C").n_atoms.tolist())) == 3
