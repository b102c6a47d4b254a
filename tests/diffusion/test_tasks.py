"""Tasks: their shares, what each gives, and parts of molecules as a chemist would keep them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moldiff.config import DiffusionConfig
from moldiff.diffusion.joint import JointProcess
from moldiff.diffusion.tasks import (
    GIVEN_FIELDS,
    MOLECULE_TASKS,
    draw_clocks,
    draw_part,
    draw_tasks,
    given_atoms,
    given_fields,
)
from moldiff.state import Alphabet, State

HYDROGEN = 0
CONFIG = DiffusionConfig()
FIELDS = ("positions", "elements", "charges", "bonds")
#: name -> (elements, bonds); elements are indices into H, C, N, O.
MOLECULES: dict[str, tuple[list[int], list[tuple[int, int]]]] = {
    "propanol": (
        [1, 1, 1, 3, *[0] * 8],
        [(0, 1), (1, 2), (2, 3), (0, 4), (0, 5), (0, 6), (1, 7), (1, 8), (2, 9), (2, 10), (3, 11)],
    ),
    "benzene": ([1] * 6 + [0] * 6, [(i, (i + 1) % 6) for i in range(6)] + [(i, i + 6) for i in range(6)]),
    "ethane": ([1, 1, *[0] * 6], [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7)]),
    "methane": ([1, 0, 0, 0, 0], [(0, i) for i in range(1, 5)]),
    "carbon dioxide": ([3, 1, 3], [(0, 1), (1, 2)]),
    "hydrogen": ([0, 0], [(0, 1)]),
    "neon": ([1], []),
}


def batch(name: str, count: int) -> State:
    """`count` copies of a molecule, padded by two."""
    elements, links = MOLECULES[name]
    n = len(elements)
    bonds = torch.zeros((n, n), dtype=torch.long)
    for i, j in links:
        bonds[i, j] = bonds[j, i] = 1
    generator = torch.Generator().manual_seed(0)
    state = State(
        mask=torch.ones((count, n), dtype=torch.bool),
        positions=torch.randn((1, n, 3), generator=generator).expand(count, n, 3).clone(),
        elements=torch.tensor(elements).expand(count, n).clone(),
        charges=torch.zeros((count, n), dtype=torch.long),
        bonds=bonds.expand(count, n, n).clone(),
    )
    return state.pad(n + 2).check()


def pieces(links: Tensor, atoms: Tensor) -> int:
    """Number of connected pieces of a set of atoms (N,) under links (N, N)."""
    left, count = {int(i) for i in atoms.nonzero()}, 0
    while left:
        count += 1
        front = {left.pop()}
        while front:
            front = {j for j in left if any(links[i, j] for i in front)}
            left -= front
    return count


@pytest.mark.parametrize("name", list(MOLECULES))
def test_parts_are_connected_or_complements_and_never_everything(name: str) -> None:
    state = batch(name, 300)
    parts = draw_part(state, hydrogen=HYDROGEN, generator=torch.Generator().manual_seed(0))
    assert parts.shape == state.mask.shape and not (parts & ~state.mask).any()
    assert not (parts == state.mask).all(1).any()  # something is left to do
    heavy = state.mask & (state.elements != HYDROGEN) if name != "hydrogen" else state.mask
    links = state.bonds[0] > 0
    for part in parts.unique(dim=0):
        inner, outer = part & heavy[0], heavy[0] & ~part
        if int(heavy[0].sum()) > 1:
            assert inner.any() and outer.any()
            assert 1 in (pieces(links, inner), pieces(links, outer))
    if name == "neon":
        assert not parts.any()
    if name == "methane":
        assert (parts == (state.elements == 1)).all()


@pytest.mark.parametrize("name", ["propanol", "benzene", "ethane"])
def test_hydrogens_follow_their_heavy_atoms(name: str) -> None:
    state = batch(name, 600)
    parts = draw_part(state, hydrogen=HYDROGEN, generator=torch.Generator().manual_seed(0))
    links = state.bonds[0] > 0
    heavy = state.mask[0] & (state.elements[0] != HYDROGEN)
    with_hydrogens = []
    for part in parts:
        host = part & heavy
        attached = host & (links & (heavy & ~part)[None]).any(1)
        at_attachment = []
        for h in (state.mask[0] & ~heavy).nonzero().flatten():
            owner = int(links[h].nonzero())
            if attached[owner]:
                at_attachment.append(bool(part[h]))
            else:
                assert bool(part[h]) == bool(host[owner])
        assert len(set(at_attachment)) <= 1  # all or none in one structure
        with_hydrogens += at_attachment[:1]
    assert sum(with_hydrogens) / len(with_hydrogens) == pytest.approx(0.5, abs=0.1)


def test_every_size_and_every_centre_of_a_part_occurs() -> None:
    state = batch("propanol", 3000)
    parts = draw_part(state, hydrogen=HYDROGEN, generator=torch.Generator().manual_seed(0))[:, :4]
    share = torch.bincount(parts.sum(1), minlength=5) / 3000
    assert torch.allclose(share, torch.tensor([0, 1, 1, 1, 0]) / 3, atol=0.05)
    # every subset of the chain C-C-C-O that is connected, or whose complement is: not C1 C3 and not C2 O
    found = {tuple(part.tolist()) for part in parts}
    every = set(itertools.product((False, True), repeat=4)) - {(False,) * 4, (True,) * 4}
    assert found == every - {(True, False, True, False), (False, True, False, True)}


def test_without_hydrogen_in_the_alphabet_every_atom_counts_as_heavy() -> None:
    state = batch("propanol", 200)
    parts = draw_part(state, hydrogen=None, generator=torch.Generator().manual_seed(0))
    assert not (parts == state.mask).all(1).any() and parts.any(1).all()
    links = state.bonds[0] > 0
    for part in parts[:50]:
        assert 1 in (pieces(links, part), pieces(links, state.mask[0] & ~part))


def test_tasks_are_drawn_with_their_shares() -> None:
    assert sum(MOLECULE_TASKS.values()) == pytest.approx(1.0)
    assert set(MOLECULE_TASKS) == set(GIVEN_FIELDS)
    task = draw_tasks(50000, MOLECULE_TASKS, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(task, minlength=5) / 50000
    assert torch.allclose(share, torch.tensor(list(MOLECULE_TASKS.values())), atol=0.008)
    # shares need not sum to one, and a task of share 0 is never drawn
    task = draw_tasks(10000, {"generate": 3, "conformer": 0, "perception": 1}, generator=torch.Generator())
    assert torch.bincount(task, minlength=3).tolist()[1] == 0
    assert float((task == 2).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_training_batches_hold_the_tasks_in_their_shares() -> None:
    state = batch("propanol", 20000)
    clocks = draw_clocks(state, CONFIG, hydrogen=HYDROGEN, generator=torch.Generator().manual_seed(0))
    some = {name: clocks.is_given(name, state).flatten(1).any(1) for name in FIELDS}
    whole = {
        name: (clocks.is_given(name, state).flatten(1).sum(1) == state.entries(name).flatten(1).sum(1))
        for name in FIELDS
    }
    found = {
        "generate": ~some["positions"] & ~some["elements"],
        "conformer": whole["elements"] & ~some["positions"],
        "perception": whole["elements"] & whole["positions"],
        "completion": some["positions"] & ~whole["positions"],
        "decoration": whole["positions"] & ~some["elements"],
    }
    assert torch.stack(list(found.values())).sum(0).eq(1).all()  # exactly one task a structure
    for name, rows in found.items():
        assert float(rows.float().mean()) == pytest.approx(MOLECULE_TASKS[name], abs=0.012), name


@pytest.mark.parametrize("task", list(GIVEN_FIELDS))
def test_each_task_gives_its_fields_and_sets_their_clocks_to_zero(task: str) -> None:
    state = batch("propanol", 5000)
    bell = replace(CONFIG, clock_small=0.0)
    clocks = draw_clocks(state, bell, hydrogen=HYDROGEN, shares={task: 1.0}, generator=torch.Generator().manual_seed(0))
    for name in FIELDS:
        time, given = clocks.time(name, state), clocks.is_given(name, state)
        assert ((time >= 0) & (time <= 1)).all()
        if name in GIVEN_FIELDS[task]:
            assert (time == 0).all() and torch.equal(given, state.entries(name))
        elif task != "completion":
            assert not given.any()
    window = CONFIG.bonds
    if task in ("generate", "conformer", "completion"):
        t = clocks.time("positions", state)
        assert float(t.mean()) == pytest.approx(CONFIG.clock_mean, abs=0.01)
        assert float(t.std()) == pytest.approx(CONFIG.clock_deviation, rel=0.05)
        if task != "conformer":
            jitter = torch.stack([clocks.time(name, state) - t for name in FIELDS[1:]])
            assert torch.allclose(jitter.std(1), torch.full((3,), CONFIG.clock_jitter), rtol=0.06)
            assert (torch.corrcoef(jitter) - torch.eye(3)).abs().max() < 0.06  # each field on its own
    else:  # positions stand at data, symbols anywhere in their window
        t = clocks.time("bonds", state)
        assert window.begin <= float(t.min()) < window.begin + 0.01 and window.end - 0.01 < float(t.max()) <= window.end
        assert float(t.std()) == pytest.approx((window.end - window.begin) / 12**0.5, rel=0.05)
    if task == "completion":
        atoms = clocks.is_given("positions", state)
        assert atoms.any(1).all() and not (atoms == state.mask).all(1).any()
        for name, mask in given_atoms(state, atoms).items():
            assert torch.equal(clocks.is_given(name, state), mask)


def test_a_share_of_the_clocks_is_of_small_noise() -> None:
    state, edge = batch("propanol", 5000), CONFIG.clock_mean - CONFIG.clock_deviation
    config = replace(CONFIG, clock_small=0.3)
    clocks = draw_clocks(state, config, shares={"generate": 1.0}, generator=torch.Generator().manual_seed(0))
    t = clocks.time("positions", state)
    # the normal distribution has 16 % below one deviation from its mean, of which hardly anything below three
    assert float((t < edge).float().mean()) == pytest.approx(0.3 + 0.7 * 0.1587, abs=0.02)
    assert float((t < edge / 3).float().mean()) == pytest.approx(0.3 / 3 + 0.7 * 0.00135, abs=0.015)


def test_same_generator_same_clocks() -> None:
    state = batch("ethane", 50)
    one, two = (draw_clocks(state, CONFIG, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    for name in FIELDS:
        assert torch.equal(one.time(name, state), two.time(name, state))
        assert torch.equal(one.is_given(name, state), two.is_given(name, state))


def test_masks_of_given_atoms_and_fields() -> None:
    state = batch("carbon dioxide", 1)
    atoms = torch.tensor([[True, True, False, False, False]])
    masks = given_atoms(state, atoms)
    assert masks["positions"] is atoms
    expected = torch.zeros((1, 5, 5), dtype=torch.bool)
    expected[0, 0, 1] = expected[0, 1, 0] = True
    assert torch.equal(masks["bonds"], expected)
    fields = given_fields(state, ("elements", "bonds"))
    assert set(fields) == {"elements", "bonds"} and torch.equal(fields["bonds"], state.pair_mask)


def test_corruption_under_the_drawn_clocks_leaves_what_is_given(generator: torch.Generator) -> None:
    alphabets = {
        "elements": Alphabet(tuple("HCNO")),
        "charges": Alphabet(("0",)),
        "bonds": Alphabet(("none", "single")),
    }
    state = batch("propanol", 400)
    clocks = draw_clocks(state, CONFIG, hydrogen=HYDROGEN, generator=generator)
    noisy = JointProcess.for_molecules(CONFIG, alphabets).corrupt(state, clocks, generator=generator).check(alphabets)
    for name in FIELDS:
        keep = clocks.is_given(name, state) | ~state.entries(name)
        assert torch.equal(noisy.field(name)[keep], state.field(name)[keep])
        assert not torch.equal(noisy.field(name), state.field(name))


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown tasks \['docking'\]: choose from generate, conformer"):
        draw_clocks(batch("ethane", 2), CONFIG, shares={"docking": 1.0}, generator=torch.Generator())
