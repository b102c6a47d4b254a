"""Lengths, angles, torsions by type, and comparison of geometries."""

import itertools
import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolAlign, rdMolTransforms

from moldiff.molecules import geometry
from moldiff.molecules.convert import Arrays, from_mol


def embedded(smiles: str, seed: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed)
    return mol


def water() -> Arrays:
    bonds = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    return Arrays(np.array([8, 1, 1]), np.array([[0, 0, 0], [0.96, 0, 0], [0, 1.0, 0]]), np.zeros(3), bonds)


def test_water_by_hand():
    assert {name: found.tolist() for name, found in geometry.lengths(water()).items()} == {"H-O": [0.96, 1.0]}
    ((name, found),) = geometry.angles(water()).items()
    assert name == "H-O-H"
    assert found == pytest.approx([90])
    assert geometry.torsions(water()) == {}


def test_every_coordinate_agrees_with_rdkit_and_occurs_once():
    mol = embedded("CC(=O)Nc1cc(C#N)cc(C2CC2)c1")
    conformer = mol.GetConformer()
    arrays = from_mol(mol)
    functions = {
        "length": rdMolTransforms.GetBondLength,
        "angle": rdMolTransforms.GetAngleDeg,
        "torsion": rdMolTransforms.GetDihedralDeg,
    }
    bonded = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
    for (kind, function), width in zip(functions.items(), (2, 3, 4), strict=True):
        atoms, codes = geometry.terms(arrays, kind)
        expected = {
            min(path, path[::-1])
            for path in itertools.permutations(range(len(arrays)), 2)
            if kind == "length" and frozenset(path) in bonded
        }
        if kind != "length":
            neighbours = {i: [j for j in range(len(arrays)) if frozenset((i, j)) in bonded] for i in range(len(arrays))}
            paths = [(i,) for i in range(len(arrays))]
            for _ in range(width - 1):
                paths = [(*path, j) for path in paths for j in neighbours[path[-1]] if j not in path]
            expected = {min(path, path[::-1]) for path in paths}
        listed = [min(tuple(path), tuple(path[::-1])) for path in atoms.tolist()]
        assert sorted(listed) == sorted(expected)
        measured = geometry.values(arrays.positions, atoms)
        reference = [function(conformer, *path) for path in atoms.tolist()]
        difference = (measured - reference + 180) % 360 - 180
        assert np.abs(difference).max() < 1e-6
        for path, code in zip(atoms.tolist(), codes.tolist(), strict=True):
            name = geometry.type_name(code)
            assert geometry.type_code(name) == code
            symbols = [mol.GetAtomWithIdx(i).GetSymbol() for i in path]
            drawn = symbols[0] + "".join(
                " -=#:"[arrays.bonds[i, j]] + s for i, j, s in zip(path[:-1], path[1:], symbols[1:], strict=True)
            )
            assert geometry.type_code(drawn) == code


def test_names_read_alphabetically_from_either_end():
    for given, canonical in [
        ("O=C", "C=O"),
        ("H-C-C", "C-C-H"),
        ("C=C-C", "C-C=C"),
        ("O-C:C", "C:C-O"),
        ("Cl-C", "C-Cl"),
        ("H-C-C-C", "C-C-C-H"),
        ("C=C-C-C", "C-C-C=C"),
    ]:
        assert geometry.type_name(geometry.type_code(given)) == canonical
    assert geometry.type_code("C-C") != geometry.type_code("C-C-C")
    for wrong in ("C", "C-", "X-C", "C-C-C-C-C", "c-C"):
        with pytest.raises(ValueError, match="type"):
            geometry.type_code(wrong)


def test_aromatic_bonds_are_a_type_of_their_own():
    assert set(geometry.lengths(from_mol(embedded("c1ccncc1")))) == {"C:C", "C:N", "C-H"}


def test_three_membered_ring_has_no_torsion_inside():
    bonds = np.ones((3, 3), dtype=int) - np.eye(3, dtype=int)
    ring = Arrays(np.full(3, 6), np.eye(3), np.zeros(3), bonds)
    assert geometry.torsions(ring) == {}
    assert geometry.angles(ring)["C-C-C"] == pytest.approx([60, 60, 60])


def test_single_atom_and_overcrowded_atom():
    alone = Arrays(np.array([2]), np.zeros((1, 3)), np.zeros(1), np.zeros((1, 1)))
    assert {kind: len(codes) for kind, (codes, _) in geometry.internals(alone).items()} == {
        "length": 0,
        "angle": 0,
        "torsion": 0,
    }
    bonds = np.zeros((14, 14), dtype=int)
    bonds[0, 1:] = bonds[1:, 0] = 1
    star = Arrays(np.full(14, 6), np.zeros((14, 3)), np.zeros(14), bonds)
    with pytest.raises(ValueError, match="13 bonds"):
        geometry.internals(star)
    with pytest.raises(ValueError, match="kind"):
        geometry.terms(alone, "dihedral")


def test_changes_by_hand():
    moved = water().positions.copy()
    moved[1, 0] = 1.06  # one bond 0.1 longer, the other and the angle as before
    change = geometry.changes(water(), moved)
    assert change.lengths == pytest.approx(0.05)
    assert change.angles == pytest.approx(0, abs=1e-9)
    assert math.isnan(change.torsions)


def test_change_of_a_torsion_goes_the_shorter_way():
    def chain(angle: float) -> np.ndarray:
        phi = math.radians(angle)
        return np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1], [math.cos(phi), math.sin(phi), 1]], dtype=float)

    bonds = np.diag([1, 1, 1], 1) + np.diag([1, 1, 1], -1)
    arrays = Arrays(np.full(4, 6), chain(175), np.zeros(4), bonds)
    assert geometry.changes(arrays, chain(-175)).torsions == pytest.approx(10)
    assert geometry.torsions(arrays)["C-C-C-C"] == pytest.approx([175])


def test_torsion_through_a_straight_angle_is_left_out():
    arrays = from_mol(embedded("CC#CC"))
    assert not math.isnan(geometry.changes(arrays, arrays.positions).lengths)
    bonds = np.diag([1, 3, 1], 1) + np.diag([1, 3, 1], -1)
    straight = Arrays(np.full(4, 6), np.arange(12).reshape(4, 3)[:, [0, 0, 0]] * [1.0, 0, 0], np.zeros(4), bonds)
    assert math.isnan(geometry.changes(straight, straight.positions).torsions)


def test_rmsd_ignores_motion_but_not_reflection():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(7, 3))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    assert geometry.rmsd(first, first @ rotation + 3) == pytest.approx(0, abs=1e-7)
    assert geometry.rmsd(first, -first) > 0.1
    # two atoms at distance 2 against distance 3: each is off by half an angstrom
    assert geometry.rmsd(np.array([[0, 0, 0], [2, 0, 0]]), np.array([[0, 0, 0], [0, 3, 0]])) == pytest.approx(0.5)


def test_rmsd_is_rdkits():
    first, second = embedded("CCCO", 1), embedded("CCCO", 2)
    expected = rdMolAlign.AlignMol(Chem.Mol(first), second)
    a, b = from_mol(first), from_mol(second)
    assert geometry.rmsd(a.positions, b.positions) == pytest.approx(expected, abs=1e-6)
    heavy = [(i, i) for i in range(4)]
    expected = rdMolAlign.AlignMol(Chem.Mol(first), second, atomMap=heavy)
    assert geometry.rmsd(a.positions, b.positions, numbers=a.numbers, heavy=True) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="numbers"):
        geometry.rmsd(a.positions, b.positions, heavy=True)
    with pytest.raises(ValueError, match="shapes"):
        geometry.rmsd(a.positions, b.positions[:2])


def test_symmetric_rmsd_finds_the_order_of_atoms_and_the_mirror_image():
    mol = embedded("CC(F)CC(C)(C)O")
    order = np.random.default_rng(1).permutation(mol.GetNumAtoms()).tolist()
    shuffled = Chem.RenumberAtoms(mol, order)
    assert geometry.symmetric_rmsd(mol, shuffled) == pytest.approx(0, abs=1e-6)
    mirror = Chem.Mol(shuffled)
    mirror.GetConformer().SetPositions(-np.array(shuffled.GetConformer().GetPositions()))
    assert geometry.symmetric_rmsd(mol, mirror) > 0.1
    assert geometry.symmetric_rmsd(mol, mirror, reflect=True) == pytest.approx(0, abs=1e-6)
    other = embedded("CC(F)CC(C)(C)O", 5)
    expected = rdMolAlign.GetBestRMS(Chem.RemoveHs(mol), Chem.RemoveHs(other), symmetrizeConjugatedTerminalGroups=False)
    assert geometry.symmetric_rmsd(mol, other) == pytest.approx(expected, abs=1e-5)
    assert geometry.symmetric_rmsd(embedded("CCO"), embedded("CCO"), heavy=False) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="graphs"):
        geometry.symmetric_rmsd(embedded("CCCO"), embedded("CCOC"))


def test_bond_orders_of_heavy_atoms():
    found = geometry.bond_orders(embedded("C#CC=Cc1ccoc1"))
    assert {order: found.count(order) for order in found} == {"triple": 1, "single": 2, "double": 1, "aromatic": 5}
    assert geometry.bond_orders(embedded("C")) == []


def test_ring_sizes():
    assert geometry.ring_sizes(embedded("C1CC1C1CCCC1")) == [3, 5]
    assert geometry.ring_sizes(embedded("CCO")) == []
