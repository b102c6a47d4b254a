from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moldiff.data.archive import Archive, Record
from moldiff.data.batching import (
    PERIODIC_TABLE,
    Batches,
    fit_deviation,
    group_sizes,
    mix,
    molecule_alphabets,
    narrow,
    to_state,
    widen,
)
from moldiff.state import BOND_SYMBOLS, Alphabet


def record(numbers: Sequence[int], links: dict[tuple[int, int], int], **extra: object) -> Record:
    """A molecule from its bonds; `aromatic` names pairs, `charges` atoms."""
    n = len(numbers)
    bonds, aromatic, charges = np.zeros((n, n), np.int64), np.zeros((n, n), bool), np.zeros(n, np.int64)
    for (i, j), order in links.items():
        bonds[i, j] = bonds[j, i] = order
    for i, j in extra.get("aromatic", ()):  # type: ignore[attr-defined]
        aromatic[i, j] = aromatic[j, i] = True
    for i, q in extra.get("charges", {}).items():  # type: ignore[attr-defined]
        charges[i] = q
    positions = np.random.default_rng(n).normal(size=(n, 3)) + 3.0
    return Record(np.array(numbers), positions, charges, bonds, aromatic)


RING = {(i, (i + 1) % 6): 1 + i % 2 for i in range(6)}
RECORDS = [
    record([8, 1, 1], {(0, 1): 1, (0, 2): 1}),
    record([6] * 6, RING, aromatic=list(RING)),
    record([6, 7], {(0, 1): 3}, charges={0: -1}),
    record([7, 1, 1, 1, 1], {(0, i): 1 for i in range(1, 5)}, charges={0: 1}),
    record([6, 8, 1, 1], {(0, 1): 2, (0, 2): 1, (0, 3): 1}),
]


def build(records: Sequence[Record], properties: object = None, names: Sequence[str] = ()) -> Archive:
    return Archive.build(
        records,
        smiles=[str(i) for i in range(len(records))],
        properties=properties,
        property_names=names,
        property_units=["eV"] * len(names),
    )


def many(count: int, sizes: Sequence[int] = (3, 4, 5)) -> Archive:
    """Chains whose only property is their number, so that a drawn row can be recognised."""
    records = [record([6] * n, {(i, i + 1): 1 for i in range(n - 1)}) for n in (sizes * count)[:count]]
    return build(records, np.arange(count, dtype=np.float32)[:, None], ["number"])


def test_periodic_table() -> None:
    assert len(PERIODIC_TABLE) == 119
    assert [PERIODIC_TABLE[z] for z in (1, 6, 9, 17, 26, 53, 79, 118)] == ["H", "C", "F", "Cl", "Fe", "I", "Au", "Og"]


def test_alphabets_of_an_archive() -> None:
    alphabets = molecule_alphabets(build(RECORDS))
    assert alphabets["elements"].symbols == ("H", "C", "N", "O")
    assert alphabets["charges"].symbols == ("-1", "0", "1")
    assert alphabets["bonds"].symbols == BOND_SYMBOLS
    neutral = molecule_alphabets(build(RECORDS[:2]))
    assert neutral["charges"].symbols == ("0",)
    # zero and everything between is there, though no atom has it
    assert molecule_alphabets(build([record([8], {}, charges={0: -2})]))["charges"].symbols == ("-2", "-1", "0")


@pytest.mark.parametrize("aromatic", [True, False])
def test_states_hold_what_the_archive_holds(aromatic: bool) -> None:
    archive = build(RECORDS)
    alphabets = molecule_alphabets(archive)
    rows = np.array([3, 1, 0, 2, 1])
    state = to_state(archive, rows, alphabets, aromatic=aromatic).check(alphabets)
    assert state.mask.sum(1).tolist() == [5, 6, 3, 2, 6] and state.size == 6
    for b, row in enumerate(rows):
        truth = archive.record(int(row))
        n = len(truth.numbers)
        assert alphabets["elements"].decode(state.elements[b, :n]) == [PERIODIC_TABLE[z] for z in truth.numbers]
        assert [int(q) for q in alphabets["charges"].decode(state.charges[b, :n])] == truth.charges.tolist()
        bonds = np.where(truth.aromatic & aromatic, BOND_SYMBOLS.index("aromatic"), truth.bonds)
        assert state.bonds[b, :n, :n].tolist() == bonds.tolist()
        expected = truth.positions - truth.positions.mean(0)
        assert np.allclose(state.positions[b, :n], expected, atol=1e-5)
        for name in ("positions", "elements", "charges"):
            assert (state.field(name)[b, n:] == 0).all()
    assert bool((state.bonds == 4).any()) == aromatic


def test_archives_without_aromatic_flags_stay_kekulised() -> None:
    archive = build(RECORDS)
    archive.aromatic = None
    state = to_state(archive, np.array([1]), molecule_alphabets(archive), aromatic=True)
    assert sorted(state.bonds[0, 0].tolist()) == [0, 0, 0, 0, 1, 2]


def test_what_the_alphabets_lack_is_named() -> None:
    alphabets = molecule_alphabets(build(RECORDS))
    with pytest.raises(ValueError, match="unknown symbol 'Br': this alphabet has H, C, N, O"):
        to_state(build([record([35, 1], {(0, 1): 1})]), np.array([0]), alphabets)
    with pytest.raises(ValueError, match="unknown symbol '2': this alphabet has -1, 0, 1"):
        to_state(build([record([8], {}, charges={0: 2})]), np.array([0]), alphabets)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_groups_hold_every_row_once_and_are_large_enough(counts: list[int], smallest: int) -> None:
    sizes = np.array(counts)
    groups = group_sizes(sizes, smallest)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
    for group in groups[:-1]:
        assert len(group) >= smallest
    for before, after in pairwise(groups):
        assert sizes[before].max() < sizes[after].min()  # sizes are never split between groups
    common = [size for size in set(counts) if counts.count(size) >= smallest]
    for group in groups:
        # no common size is padded by one that is not needed
        assert len(set(sizes[group].tolist()) & set(common)) <= 1 or len(groups[-1]) == len(group)


def test_rare_sizes_are_merged_with_their_neighbours() -> None:
    counts = np.array([5] * 10 + [6] * 3 + [7] * 10 + [8] * 2 + [12])
    groups = [sorted(set(counts[group].tolist())) for group in group_sizes(counts, 8)]
    assert groups == [[5], [6, 7], [8, 12]]  # the largest would pad the 7s by five: it stays apart
    assert [sorted(set(counts[g].tolist())) for g in group_sizes(counts[:-2], 8)] == [[5], [6, 7, 8]]
    assert [len(g) for g in group_sizes(counts, 1000)] == [26]


def test_batches_are_a_function_of_seed_step_and_rank() -> None:
    archive = many(90)
    alphabets = molecule_alphabets(archive)
    batches, again, other = (Batches(archive, alphabets, batch=8, seed=seed) for seed in (1, 1, 2))
    numbers = []
    for step in (7, 0, 3, 7, 100):
        first = batches.draw(step)
        state = first.state.check(alphabets)
        assert state.mask.all() and state.size == batches.size(step) and len(state) == 8  # exact sizes: no padding
        assert torch.equal(first.properties, again.draw(step).properties)
        assert torch.equal(state.positions, again.draw(step).state.positions)
        assert len(set(first.properties.flatten().tolist())) == 8  # no row twice
        ranks = [batches.draw(step, rank=rank) for rank in range(3)]
        assert {r.state.size for r in ranks} == {state.size}
        assert not torch.equal(ranks[0].properties, ranks[1].properties)
        assert not torch.equal(ranks[1].properties, ranks[2].properties)
        numbers.append(first.properties.flatten().tolist())
        # a row brings its own molecule along
        for row, number in enumerate(first.properties.flatten().long().tolist()):
            expected = torch.from_numpy(archive.record(number).positions).float()
            assert torch.allclose(state.positions[row], expected - expected.mean(0), atol=1e-5)
    assert numbers[0] == numbers[3] and len({tuple(n) for n in numbers}) == 4
    assert any(not torch.equal(batches.draw(i).properties, other.draw(i).properties) for i in range(3))


def test_every_molecule_is_drawn_equally_often() -> None:
    archive = many(60, sizes=(3, 3, 3, 4))  # 45 of three atoms, 15 of four
    batches = Batches(archive, molecule_alphabets(archive), batch=5)
    drawn = Counter(int(i) for step in range(1500) for i in batches.draw(step).properties.flatten())
    assert len(drawn) == 60
    times = np.array([drawn[i] for i in range(60)]) * 60 / 7500
    assert abs(times.mean() - 1) < 1e-9 and times.min() > 0.6 and times.max() < 1.4


def test_small_archives_are_drawn_whole() -> None:
    archive = many(3)
    batch = Batches(archive, molecule_alphabets(archive), batch=64).draw(0)
    assert sorted(batch.properties.flatten().tolist()) == [0.0, 1.0, 2.0]
    assert batch.state.check().n_atoms.sort().values.tolist() == [3, 4, 5]


def test_unknown_properties_stay_unknown() -> None:
    archive = build(RECORDS[:2], np.array([[1.0, np.nan], [np.nan, 2.0]]), ["gap", "mu"])
    batch = Batches(archive, molecule_alphabets(archive), batch=2).draw(0)
    assert batch.properties.dtype == torch.float32
    assert torch.isnan(batch.properties).sum() == 2 and sorted(batch.properties.nansum(1).tolist()) == [1.0, 2.0]


def test_empty_archives_and_batches_are_refused() -> None:
    alphabets = {"elements": Alphabet(("C",)), "charges": Alphabet(("0",)), "bonds": Alphabet(BOND_SYMBOLS)}
    with pytest.raises(ValueError, match="the training split is empty"):
        Batches(build([]), alphabets, batch=4)
    with pytest.raises(ValueError, match="at least one structure, not 0"):
        Batches(many(3), alphabets, batch=0)


def power_law(scale: float, power: float, sizes: Sequence[int], *, seed: int = 0) -> Archive:
    """Molecules whose deviation a coordinate is exactly scale * n ** power, somewhere in space."""
    rng, records = np.random.default_rng(seed), []
    for n in sizes:
        x = rng.normal(size=(n, 3))
        x -= x.mean(0)
        if n > 1:
            x *= scale * n**power / np.sqrt((x**2).mean())
        plain = record([6] * n, {})
        records.append(plain._replace(positions=x + rng.normal(size=3)))
    return build(records)


def test_deviation_of_a_power_law_is_found() -> None:
    scale, power = fit_deviation(power_law(0.43, 0.405, [3, 3, 5, 8, 8, 8, 13, 21, 1]))
    assert scale == pytest.approx(0.43, rel=1e-4) and power == pytest.approx(0.405, rel=1e-4)


def test_deviation_of_one_size_or_of_atoms_alone() -> None:
    scale, power = fit_deviation(power_law(0.43, 0.405, [6, 6, 6]))
    assert power == 0.0 and scale == pytest.approx(0.43 * 6**0.405, rel=1e-4)
    assert fit_deviation(build([record([6], {}), record([8], {})])) == (1.0, 0.0)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_seeds_fit_a_generator(seed: int, step: int) -> None:
    value = mix(seed, step)
    assert 0 <= value < 2**63 and value == mix(seed, step)
    torch.Generator().manual_seed(value)


def test_nearby_numbers_give_unrelated_seeds() -> None:
    values = {mix(seed, step, rank) for seed in range(20) for step in range(50) for rank in range(4)}
    assert len(values) == 4000
    assert mix(1, 2) != mix(2, 1) and mix(1) != mix(1, 0) and mix() != mix(0)
    bits = np.array([[(mix(7, step) >> k) & 1 for k in range(63)] for step in range(2000)])
    assert np.abs(bits.mean(0) - 0.5).max() < 0.06  # every bit is a fair coin
    flips = np.array([bin(mix(7, step) ^ mix(7, step + 1)).count("1") for step in range(500)])
    assert flips.mean() == pytest.approx(31.5, abs=1.0)  # one more step turns over half of the bits
    assert np.abs(np.corrcoef(bits[:, :20].T) - np.eye(20)).max() < 0.12


def test_narrow_states_come_back() -> None:
    archive = build(RECORDS)
    state = to_state(archive, np.arange(5), molecule_alphabets(archive))
    small = narrow(state)
    assert small.bonds.dtype == torch.int8 and small.positions.dtype == torch.float32
    back = widen(small)
    for name in state.present:
        assert torch.equal(back.field(name), state.field(name)) and back.field(name).dtype == state.field(name).dtype


@pytest.mark.data
def test_deviation_of_qm9(data_root: Path) -> None:
    archive = Archive.load(data_root / "qm9" / "qm9.npz").subset("train").select(np.s_[::20])
    scale, power = fit_deviation(archive)
    for n in (13, 18, 23):  # where nearly all molecules are; the few of 3-9 atoms deviate from the power law
        state = to_state(archive, np.flatnonzero(archive.n_atoms == n), molecule_alphabets(archive))
        assert float(state.positions.std()) == pytest.approx(scale * n**power, rel=0.03)
