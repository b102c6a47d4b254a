from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.data.batching import blank_crystals
from moldiff.generator.compositions import Ingredients, parse_composition, system
from moldiff.state import Alphabet

KNOWN = Alphabet(("H", "Li", "O", "Na", "P", "Cl", "Fe"))
SIZES = {"2": 5, "4": 10, "7": 1, "8": 2, "14": 1, "20": 1}


def ingredients(**wishes: object) -> Ingredients:
    return Ingredients(KNOWN, largest=20, **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("LiFePO4", {"Li": 1, "Fe": 1, "P": 1, "O": 4}),
        ("Ca3(PO4)2", {"Ca": 3, "P": 2, "O": 8}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("Na Cl", {"Na": 1, "Cl": 1}),
        ("C", {"C": 1}),
        ("Co", {"Co": 1}),
    ],
)
def test_compositions_are_read(text: str, counts: dict[str, int]) -> None:
    assert parse_composition(text) == counts


@pytest.mark.parametrize(
    "text", ["", "nacl", "Na-Cl", "Na0", "Na(", "Na)2", "Na()2", "(Na)0", "2Na", "NaCl+", "Xx2", "Na1.5"]
)
def test_what_is_no_composition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a composition|is no element"):
        parse_composition(text)


def test_system_in_any_form() -> None:
    assert system("Li-Fe-P-O") == system("Li, Fe,P O") == system(["Li", "Fe", "P", "O", "Li"]) == ["Li", "Fe", "P", "O"]


def test_atom_counts_of_a_composition() -> None:
    assert ingredients(composition="LiFePO4").counts() == [7, 14]
    assert ingredients(composition="LiFePO4", formula_units=2).counts() == [14]
    assert ingredients(composition="LiFePO4", formula_units=(1, 5)).counts() == [7, 14]
    assert ingredients(composition="Na2Cl2", formula_units=(1, 2)).counts() == [4, 8]
    assert ingredients(composition="Na2Cl2").counts()[:3] == [2, 4, 6]
    weights = ingredients(composition="LiFePO4").weights(SIZES)
    assert weights.tolist() == [0, 0, 1, 0, 1, 0]
    with pytest.raises(ValueError, match="no crystal in training has 6 atoms: say n_atoms"):
        ingredients(composition="NaCl", formula_units=3).weights(SIZES)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([2, 4, 8, 20]), min_size=1, max_size=5), st.integers(0, 1000))
def test_given_elements_have_the_composition(sizes: list[int], seed: int) -> None:
    state, given_ = ingredients(composition="NaCl").give(
        blank_crystals(sizes), generator=torch.Generator().manual_seed(seed)
    )
    assert torch.equal(given_["elements"], state.mask)
    for row, n in enumerate(sizes):
        symbols = KNOWN.decode(state.elements[row, :n])
        assert symbols.count("Na") == symbols.count("Cl") == n // 2


def test_constraints_in_words_and_masks() -> None:
    chosen = ingredients(chemical_system="Li-O")
    assert chosen.constraints().allowed["elements"].tolist() == [s in ("Li", "O") for s in KNOWN.symbols]
    assert "elements" in chosen.constraints().coupled
    assert chosen.weights(SIZES).tolist() == list(SIZES.values())
    assert ingredients(chemical_system="Li-O-Fe").weights(SIZES).tolist()[0] == 0
    assert str(ingredients(forbid="O")) == "without O"
    assert not ingredients().constraints()
    assert ingredients(composition="NaCl").constraints().coupled == {}


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"composition": "LiFePO4", "formula_units": 3}, "3 formula units of LiFePO4 have 21 atoms, more than the 20"),
        ({"composition": "UO2"}, "element 'U' is unknown to this model: it knows H, Li"),
        ({"elements": "Xx"}, "element 'Xx' is unknown"),
        ({"formula_units": 2}, "needs a composition"),
        ({"composition": "NaCl", "formula_units": (2, 1)}, "formula_units"),
        ({"composition": "NaCl", "formula_units": 0}, "formula_units 0"),
        ({"composition": "NaCl", "forbid": "Cl"}, "Cl is asked for but not allowed"),
        ({"composition": "NaCl", "chemical_system": "Na-O"}, "not of the chemical system Na-O"),
        ({"chemical_system": "Na-O", "elements": "Na,Fe"}, "elements has Fe, which the chemical system"),
        ({"chemical_system": "-"}, "chemical_system is empty"),
        ({"elements": "Na", "forbid": "Na"}, "no element is left"),
        ({"require": ["O"] * 21}, "21 atoms are required"),
    ],
)
def test_contradictions_are_told(wishes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ingredients(**wishes)


def test_atom_counts_of_the_user_are_checked() -> None:
    with pytest.raises(ValueError, match="21 atoms are more than the 20"):
        ingredients().sizes(21)
    with pytest.raises(ValueError, match="8 atoms are no whole number of the formula units asked for: 7, 14"):
        ingredients(composition="LiFePO4").sizes(8)
    with pytest.raises(ValueError, match="n_atoms must be at least 1, not 0"):
        ingredients().sizes(0)
    with pytest.raises(ValueError, match="1 atoms cannot hold the 2"):
        ingredients(chemical_system="Li-O").sizes([4, 1])
