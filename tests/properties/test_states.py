"""What holds for every State and every Alphabet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ALPHABETS, seeds, states

from moldiff.state import Alphabet, State, centred

symbols = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=20, unique=True)


def same(one: State, other: State) -> bool:
    """Whether all fields are there and equal."""
    if one.present != other.present or not torch.equal(one.mask, other.mask):
        return False
    return all(torch.equal(one.field(name), other.field(name)) for name in one.present)


@given(symbols, st.data())
def test_alphabets_go_there_and_back(names: list[str], data: st.DataObject) -> None:
    alphabet = Alphabet(tuple(names))
    chosen = data.draw(st.lists(st.sampled_from(names), max_size=10))
    assert alphabet.decode(alphabet.encode(chosen)) == chosen
    assert alphabet.decode([alphabet.hidden]) == ["?"]
    with pytest.raises(ValueError, match="unknown symbol"):
        alphabet.index("".join(names) + "x")
    with pytest.raises(ValueError, match="distinct"):
        Alphabet((*names, names[0]))


@given(states)
def test_a_state_is_consistent(state: State) -> None:
    state.check(ALPHABETS)
    assert state.n_atoms.tolist() == state.mask.sum(1).tolist()
    assert same(state, state.clone())
    assert same(state, state.to(torch.float64).to(torch.float32))
    for name in state.present:
        entries = state.entries(name)
        assert entries.shape == state.field(name).shape[: entries.ndim]


@given(states, st.integers(0, 3))
def test_padding_changes_nothing_but_the_size(state: State, extra: int) -> None:
    wide = state.pad(state.size + extra)
    wide.check(ALPHABETS)
    assert wide.n_atoms.tolist() == state.n_atoms.tolist()
    for name in state.present:
        value = wide.field(name)
        if name != "cell":
            value = value[:, : state.size]
        if name == "bonds":
            value = value[:, :, : state.size]
        assert torch.equal(value, state.field(name))
    if extra:
        with pytest.raises(ValueError, match="choose a size of at least"):
            wide.pad(state.size)


@given(states, seeds)
def test_rows_come_apart_and_together(state: State, seed: int) -> None:
    parts = [state.index([row]) for row in range(len(state))]
    assert same(State.concatenate(parts), state)
    order = torch.randperm(len(state), generator=torch.Generator().manual_seed(seed))
    assert same(state.index(order).index(order.argsort()), state)
    assert same(state.index(slice(0, 1)), parts[0])


@given(states)
def test_centring_moves_the_origin_only(state: State) -> None:
    if state.positions is None:
        return
    moved = centred(state.positions, state.mask)
    assert torch.allclose(moved.sum(1), torch.zeros(len(state), 3), atol=1e-4)
    assert torch.equal(moved[~state.mask], torch.zeros_like(moved[~state.mask]))
    apart = torch.cdist(state.positions, state.positions)
    both = state.mask[:, :, None] & state.mask[:, None]
    assert torch.allclose(torch.cdist(moved, moved)[both], apart[both], atol=1e-3)
