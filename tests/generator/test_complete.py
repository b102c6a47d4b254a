from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.denoiser import Prediction
from moldiff.generator import Generator
from moldiff.generator import complete as completion
from moldiff.generator.hydrogens import Hydrogens
from moldiff.generator.parts import parts
from moldiff.molecules.convert import Arrays, canonical_smiles, from_mol

from .oracles import Answer, config, made


def known(heavy: int, orders: int, hydrogens: int) -> Hydrogens:
    """So many hydrogens on what is cut off at one bond."""
    return Hydrogens({(heavy, orders, 1, 0, 1): np.full(50, hydrogens)}, {}, 20)


def noise(seed: int = 0, *, hydrogen: float = 0.0) -> Any:
    """A network that answers at random, `hydrogen` in favour of that element."""
    generator = torch.Generator().manual_seed(seed)

    def answer(state: Any, *_: Any) -> Any:
        b, n = state.mask.shape
        bonds = torch.randn(b, n, n, 5, generator=generator)
        return Prediction(
            positions=torch.randn(b, n, 3, generator=generator),
            elements=torch.randn(b, n, 4, generator=generator) + hydrogen * torch.tensor([1.0, 0, 0, 0]),
            charges=torch.randn(b, n, 3, generator=generator),
            bonds=bonds + bonds.transpose(1, 2),
        )

    return answer


def reordered(mol: Any, first: list[int]) -> Arrays:
    """The molecule with some atoms first, then the other heavy ones, then hydrogens."""
    arrays = from_mol(mol)
    rest = [i for i in np.argsort(arrays.numbers == 1, kind="stable").tolist() if i not in first]
    order = np.array(first + rest)
    return Arrays(
        arrays.numbers[order], arrays.positions[order], arrays.charges[order], arrays.bonds[np.ix_(order, order)]
    )


def test_the_missing_part_of_a_molecule_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mol = made("OCc1ccco1")
    translated = Chem.Mol(mol)
    conformer = translated.GetConformer()
    conformer.SetPositions(np.array(conformer.GetPositions()) + np.array([10.0, -20.0, 30.0]))
    part = parts(translated, "c1ccco1")[0]
    assert part.open == 1
    truth = reordered(translated, list(part.sources))
    generator = Generator(Answer(truth, given=len(part.sources)), config(truth), device="cpu", precision="fp32")
    monkeypatch.setattr(completion, "hydrogens_of", lambda _: known(2, 1, 3))
    found = generator.complete(translated, "c1ccco1", n_new=2, n=5)
    assert len(found) == 5 and found.report.made == 5 and not found.failed
    for other in found:
        assert canonical_smiles(other) == canonical_smiles(mol)
        # the kept atoms are bit-identical, and the new ones stand where the molecule's own stood
        there = np.array(other.GetConformer().GetPositions())
        assert np.array_equal(there[: len(part.sources)], part.arrays.positions)
        np.testing.assert_allclose(there, truth.positions, atol=2e-3)
        assert [a.GetIntProp("kept") for a in other.GetAtoms() if a.HasProp("kept")] == list(part.sources)
        assert other.GetProp("kept").split() == [str(i) for i in range(len(part.sources))]


@pytest.mark.parametrize("keep", ["c1ccco1", None, "CO", "[CH2]"])
def test_given_parts_and_counts_hold_whatever_the_network_says(keep: str | None) -> None:
    mol = made("OCc1ccco1")
    # a network without hydrogen would be held at the highest number of heavy atoms each time
    network = noise(hydrogen=3.0)
    generator = Generator(network, config(from_mol(mol), largest=29), device="cpu", precision="fp32")
    generator.sampler = type(generator.sampler)(steps=5, remask=25.0)
    items = list(completion.stream(generator, mol, keep, n_new=(1, 3), n=12, seed=3, batch_size=5))
    assert sorted(item.number for item in items) == list(range(12))
    variants = parts(mol, keep)
    heavy = Counter()
    for item in items:
        some = [
            part
            for part in variants
            if np.array_equal(item.arrays.positions[: len(part.arrays)], part.arrays.positions)
        ]
        assert some
        part, k = some[0], len(some[0].arrays)
        assert np.array_equal(item.arrays.numbers[:k], part.arrays.numbers)
        assert np.array_equal(item.arrays.charges[:k], part.arrays.charges)
        assert np.array_equal(item.arrays.bonds[:k, :k], part.arrays.bonds)
        heavy[int((item.arrays.numbers[k:] > 1).sum())] += 1
    assert set(heavy) <= {1, 2, 3} and len(heavy) > 1


def test_fewer_steps_are_colder_as_they_are_without_a_given_part(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def finish(*arguments: Any, sampler: Any, **others: Any) -> Any:
        found.append(sampler)
        return iter(())

    monkeypatch.setattr(completion, "finish", finish)
    mol = made("CCO")
    generator = Generator(noise(), config(from_mol(mol), largest=29), device="cpu", precision="fp32")
    generator.sampler = type(generator.sampler)(steps=50, temperature=0.7)
    for steps in (None, 50, 20):
        completion.stream(generator, mol, n_new=2, n=3, steps=steps)
    assert found[0] == found[1] and found[0].temperature == completion.TEMPERATURE
    assert (
        found[2].steps == 20
        and found[2].temperature == generator.sampler.in_steps(20).temperature < found[0].temperature
    )


def test_the_same_seed_gives_the_same_completions() -> None:
    mol = made("CCO")
    drawn = []
    for seed in (1, 1, 2):
        generator = Generator(noise(), config(from_mol(mol), largest=29), device="cpu", precision="fp32")
        items = completion.stream(generator, mol, n_new=2, n=3, seed=seed, steps=3)
        drawn.append([item.arrays.numbers.tolist() for item in items])
    assert drawn[0] == drawn[1] != drawn[2]


def test_hydrogens_stay_but_at_attachment_atoms() -> None:
    mol = made("CCO")  # C 0, C 1, O 2, H 3-5 on 0, H 6-7 on 1, H 8 on 2
    (cut,) = parts(mol, [0, 1])
    assert cut.sources == (0, 1, 3, 4, 5) and (cut.orders, cut.cuts, cut.free) == (1, 1, 2)
    (with_one,) = parts(mol, [0, 1, 6])
    assert with_one.sources == (0, 1, 3, 4, 5, 6) and with_one.open == 2
    grown = parts(mol)
    assert [part.sources for part in grown] == [(0, 1, 2, 6, 7, 8), (0, 1, 2, 3, 4, 5, 8), (0, 1, 2, 3, 4, 5, 6, 7)]
    assert [part.open for part in grown] == [3, 2, 1]
    (chosen,) = parts(mol, attach=[2])
    assert chosen.sources == grown[2].sources


def test_attachment_points_of_a_pattern_and_of_the_molecule() -> None:
    mol = made("Cc1ccccc1")
    (by_pattern,) = parts(mol, Chem.MolFromSmiles("[*]c1ccccc1"))
    assert by_pattern.open == 1 and Counter(by_pattern.arrays.numbers.tolist()) == {6: 6, 1: 5}
    assert (by_pattern.arrays.bonds[:6, :6] == 4).sum() == 12
    dummy = Chem.RWMol(mol)
    dummy.ReplaceAtom(0, Chem.Atom(0))
    for hydrogen in sorted(a.GetIdx() for a in dummy.GetAtomWithIdx(0).GetNeighbors() if a.GetAtomicNum() == 1)[::-1]:
        dummy.RemoveAtom(hydrogen)
    (by_dummy,) = parts(dummy.GetMol())
    assert by_dummy.open == 1
    np.testing.assert_array_equal(by_dummy.arrays.numbers, by_pattern.arrays.numbers)
    np.testing.assert_array_equal(by_dummy.arrays.bonds, by_pattern.arrays.bonds)
    linker = parts(made("OCCCN"), [0, 1, 3, 4])[0]  # two ends of a chain
    assert (linker.orders, linker.cuts, linker.free, linker.pieces) == (2, 2, 4, 2)


def test_missing_hydrogens_are_added() -> None:
    mol = Chem.RemoveHs(made("Cc1ccccc1"))
    (part,) = parts(mol, list(range(1, 7)))
    assert Counter(part.arrays.numbers.tolist()) == {6: 6, 1: 5}


def test_bad_requests_say_what_to_do() -> None:
    mol = made("OCc1ccco1")
    generator = Generator(noise(), config(from_mol(mol), largest=20), device="cpu", precision="fp32")
    for arguments, text in (
        ({"keep": "c1ccccc1"}, "matches nothing"),
        ({"keep": Chem.MolFromSmiles("[*]c1ccccc1")}, "matches nothing"),
        ({"keep": "C("}, "no SMARTS"),
        ({"keep": [99]}, "0 to 12"),
        ({"keep": []}, "give indices"),
        ({"keep": range(13)}, "valence"),
        ({"n_new": 0}, "at least 1"),
        ({"n_new": (3, 2)}, "lowest"),
        ({"n_new": 19}, "more than the 20"),
        ({"attach": [12]}, "attach"),
        ({"n": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=text):
            generator.complete(mol, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no conformer"):
        generator.complete(Chem.MolFromSmiles("CCO"))
    with pytest.raises(ValueError, match="element Br is unknown"):
        generator.complete(made("CCBr"), [2])
    with pytest.warns(UserWarning, match="matches 2 times"):
        generator.complete(made("CCO"), "C", n_new=1, n=1, steps=1)


def test_hydrogens_are_counted_as_in_cut_molecules() -> None:
    chains = Hydrogens.of(["CCCCCC"] * 200)
    assert chains.largest == 6
    for (n, orders, cuts, aromatic, kept), hydrogens in chains.table.items():
        # one end of an alkane, both ends, or a linker: one hydrogen more than two an atom for each end
        assert orders == cuts and not aromatic and set(hydrogens.tolist()) == {2 * n + cuts - 2 * (kept - 1)}
    rng = np.random.default_rng(0)

    def draw(n: int, **bonds: int) -> set[int]:
        return {chains.draw([n], **{"free": 0, "most": 99, **bonds}, rng=rng)[1] for _ in range(50)}

    assert draw(2, orders=1, cuts=1) == {5}
    assert draw(2, orders=1, cuts=1, free=2) == {7}
    # nothing is cut, and a methyl group grows: one of its three hydrogens makes room
    assert draw(2, orders=0, cuts=0, free=3) == {5 + 2}
    assert draw(3, orders=2, cuts=2) == {8} and draw(3, orders=2, cuts=2, kept=2) == {6}
    # a triple bond to what was cut off takes two hydrogens from it, which no alkane shows: all cuts count
    assert draw(2, orders=3, cuts=1) == {3, 5}
    # longer than any cut: pieces add up, and each bond between them takes two hydrogens
    assert draw(9, orders=1, cuts=1) <= {19, 21, 23}
    with pytest.raises(ValueError, match="do not fit"):
        chains.draw([2], orders=1, cuts=1, free=2, most=4, rng=rng)
    assert Hydrogens().draw([3], orders=1, cuts=1, free=0, most=30, rng=rng)[0] == 3


def test_cuts_through_double_bonds_leave_fewer_hydrogens() -> None:
    ketones = Hydrogens.of(["CC(C)=O"] * 100)
    assert set(ketones.table[1, 2, 1, 0, 1].tolist()) == {0}  # the oxygen
    assert set(ketones.table[1, 1, 1, 0, 1].tolist()) == {3}  # a methyl group
    assert set(ketones.table[3, 2, 1, 0, 1].tolist()) == {6}  # all but the oxygen


def test_what_closes_an_aromatic_ring_is_counted_apart() -> None:
    rings = Hydrogens.of(["c1ccccc1", "C1CCCCC1"] * 200)
    closing, chain = (
        np.concatenate([v for k, v in rings.table.items() if k[0] == 3 and k[3] == torn]) for torn in (2, 0)
    )
    assert set(closing.tolist()) == {3} and set(chain.tolist()) == {6}
    drawn = {
        rings.draw([3], orders=2, cuts=2, aromatic=0, free=0, most=9, rng=np.random.default_rng(s))[1] for s in range(9)
    }
    assert drawn == {6}
