from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.state import BOND_SYMBOLS, FIELDS, Alphabet, State, centred, centroid

ALPHABETS = {
    "elements": Alphabet(("H", "C", "N", "O")),
    "charges": Alphabet(("-1", "0", "1")),
    "bonds": Alphabet(BOND_SYMBOLS),
}


def make(sizes: list[int], seed: int = 0) -> State:
    """Random structures, hidden symbols among them."""
    generator = torch.Generator().manual_seed(seed)
    b, n = len(sizes), max(sizes)
    mask = torch.arange(n)[None] < torch.tensor(sizes)[:, None]
    bonds = torch.randint(0, 6, (b, n, n), generator=generator).triu(1)
    bonds = torch.where(mask[:, :, None] & mask[:, None], bonds, 0)
    return State(
        mask=mask,
        positions=torch.where(mask[..., None], torch.randn((b, n, 3), generator=generator), 0.0),
        elements=torch.where(mask, torch.randint(0, 5, (b, n), generator=generator), 0),
        charges=torch.where(mask, torch.randint(0, 4, (b, n), generator=generator), 0),
        bonds=bonds + bonds.transpose(1, 2),
    ).check(ALPHABETS)


def same(one: State, two: State) -> bool:
    return one.present == two.present and all(
        torch.equal(getattr(one, name), getattr(two, name)) for name in ("mask", *one.present)
    )


SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(SIZES, SIZES, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_concatenating_and_indexing_undo_each_other(first: list[int], second: list[int], extra: int) -> None:
    one, two = make(first), make(second, seed=1)
    both = State.concatenate([one, two.pad(two.size + extra)]).check(ALPHABETS)
    assert len(both) == len(first) + len(second)
    assert both.size == max(*first, max(second) + extra)
    assert both.n_atoms.tolist() == first + second
    rows = list(range(len(first), len(both)))
    back = both.index(rows)
    assert same(back, two.pad(both.size))
    assert same(both.index(slice(None, len(first))), one.pad(both.size))
    assert same(both.index(torch.tensor(rows)), back)


@given(SIZES, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_padding_adds_nothing(sizes: list[int], extra: int) -> None:
    state = make(sizes)
    padded = state.pad(state.size + extra).check(ALPHABETS)
    n = state.size
    assert torch.equal(padded.n_atoms, state.n_atoms)
    for name in state.present:
        entries = padded.entries(name)
        assert int(entries.sum()) == int(state.entries(name).sum())
        assert (padded.field(name)[~entries] == 0).all()
        cut = padded.field(name)[:, :n, :n] if name == "bonds" else padded.field(name)[:, :n]
        assert torch.equal(cut, state.field(name))
    assert same(state.pad(n), state)


def test_padding_refuses_to_cut() -> None:
    with pytest.raises(ValueError, match="cannot pad 4 atoms to 3: choose a size of at least 4"):
        make([4]).pad(3)


def test_nothing_or_different_fields_cannot_be_concatenated() -> None:
    with pytest.raises(ValueError, match="give at least one State"):
        State.concatenate([])
    with pytest.raises(ValueError, match="states with different fields"):
        State.concatenate([make([2]), make([2]).replace(charges=None)])


def test_masks_and_fields() -> None:
    state = make([3, 1])
    assert len(state) == 2 and state.size == 3 and state.device.type == "cpu"
    assert state.present == ("positions", "elements", "charges", "bonds") and set(state.present) <= set(FIELDS)
    assert state.pair_mask.sum((1, 2)).tolist() == [6, 0]
    assert not state.pair_mask.diagonal(dim1=1, dim2=2).any()
    assert state.entries("cell").tolist() == [True, True]
    for name in ("cell", "colour", "mask"):
        with pytest.raises(ValueError, match=f"no field '{name}': it has positions, elements"):
            state.field(name)


def test_crystal_fields_are_padded_and_joined_too() -> None:
    crystal = State(mask=torch.ones(1, 2).bool(), fractional=torch.rand(1, 2, 3), cell=torch.eye(3)[None])
    both = State.concatenate([crystal, crystal.pad(4)]).check()
    assert both.present == ("fractional", "cell") and both.cell.shape == (2, 3, 3) and both.size == 4


def test_copies_share_nothing_and_replace_leaves_the_old() -> None:
    state = make([3, 2])
    copy = state.clone()
    copy.positions[0, 0, 0] = 99.0
    assert state.positions[0, 0, 0] != 99.0
    changed = state.replace(charges=None)
    assert changed.charges is None and state.charges is not None
    with pytest.raises(AttributeError):
        state.mask = copy.mask  # type: ignore[misc]


def test_to_changes_floating_types_only() -> None:
    state = make([3, 2]).to(torch.float64)
    assert state.positions.dtype == torch.float64 and state.elements.dtype == torch.long
    assert state.mask.dtype == torch.bool
    assert same(state.to("cpu"), state)


def broken(**changes: torch.Tensor) -> State:
    return make([3, 2]).replace(**changes)


def test_check_names_the_field_and_the_value() -> None:
    state = make([3, 2])
    lopsided = state.bonds.clone()
    lopsided[0, 0, 1] = (lopsided[0, 0, 1] + 1) % 5
    looped, beyond = torch.eye(3).long().expand(2, 3, 3), torch.zeros(2, 3, 3).long()
    beyond[1, 0, 2] = beyond[1, 2, 0] = 1
    nan = state.positions.clone()
    nan[0, 1] = float("nan")
    cases = {
        "mask must be bool": broken(mask=state.mask.long()),
        r"mask must be bool \(B, N\), not torch.bool \(3,\)": broken(mask=state.mask[0]),
        r"positions must have the shape \(2, 3, 3\), not \(2, 3, 2\)": broken(positions=state.positions[..., :2]),
        r"charges must have the shape \(2, 3\), not \(2, 2\)": broken(charges=state.charges[:, :2]),
        "positions holds 3 values that are not finite": broken(positions=nan),
        r"elements must be torch.long, not torch.int32": broken(elements=state.elements.int()),
        r"elements holds 0\.\.9, allowed are 0\.\.4": broken(elements=torch.tensor([[0, 9, 1], [0, 1, 0]])),
        r"charges holds -1\.\.0": broken(charges=torch.tensor([[0, -1, 0], [0, 0, 0]])),
        "bonds are not symmetric": broken(bonds=lopsided),
        "bonds of absent atoms or of an atom with itself": broken(bonds=looped),
        "bonds of absent atoms": broken(bonds=beyond),
    }
    for message, state in cases.items():
        with pytest.raises(ValueError, match=message):
            state.check(ALPHABETS)


def test_alphabet_round_trip() -> None:
    alphabet = ALPHABETS["elements"]
    assert len(alphabet) == alphabet.hidden == 4
    assert alphabet.decode(alphabet.encode(["O", "H", "C"])) == ["O", "H", "C"]
    assert alphabet.decode([1, alphabet.hidden]) == ["C", "?"]
    assert alphabet.encode([]).dtype == torch.long
    assert alphabet == Alphabet(("H", "C", "N", "O")) and hash(alphabet) == hash(Alphabet(("H", "C", "N", "O")))


def test_bad_alphabets_and_symbols_are_refused() -> None:
    for symbols in ((), ("H", "H")):
        with pytest.raises(ValueError, match="one or more distinct symbols"):
            Alphabet(symbols)
    with pytest.raises(ValueError, match="unknown symbol 'Xe': this alphabet has H, C, N, O"):
        ALPHABETS["elements"].index("Xe")


@given(SIZES, st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_centring_puts_the_origin_at_the_given_atoms_or_at_all(sizes: list[int], seed: int) -> None:
    state = make(sizes, seed)
    chosen = torch.rand(state.mask.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    moved = torch.where(state.mask[..., None], state.positions + 5.0, 0.0)
    for given_atoms in (None, chosen & state.mask):
        found = centred(moved, state.mask, given_atoms)
        for b, n in enumerate(sizes):
            which = state.mask[b] if given_atoms is None or not given_atoms[b].any() else given_atoms[b]
            assert torch.allclose(found[b][which].mean(0), torch.zeros(3), atol=1e-5)
            assert torch.allclose(
                torch.cdist(found[b, :n], found[b, :n]), torch.cdist(moved[b, :n], moved[b, :n]), atol=1e-3
            )
        assert (found[~state.mask] == 0).all()
    assert torch.equal(centroid(moved, torch.zeros_like(state.mask)), torch.zeros(len(sizes), 1, 3))
