"""GFN2-xTB relaxation."""

import math
import sys

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.molecules import relaxation
from moldiff.molecules.convert import Arrays, from_mol
from moldiff.molecules.geometry import changes, rmsd


def embedded(smiles: str) -> Arrays:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    return from_mol(mol)


def at(arrays: Arrays, positions: np.ndarray) -> Arrays:
    return Arrays(arrays.numbers, positions, arrays.charges, arrays.bonds)


def hydrogen(distance: float, *, bonded: bool = True) -> Arrays:
    bonds = np.array([[0, 1], [1, 0]]) * bonded
    return Arrays(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, distance]]), np.zeros(2), bonds)


def energy(arrays: Arrays) -> float:
    """kcal/mol, by tblite's own interface, which works in atomic units."""
    from tblite.interface import Calculator

    charge = float(arrays.charges.sum())
    calculator = Calculator("GFN2-xTB", arrays.numbers, arrays.positions / 0.529177210903, charge=charge)
    calculator.set("verbosity", 0)
    return float(calculator.singlepoint().get("energy")) * 627.5094740631


class TestWithTblite:
    @pytest.fixture(autouse=True)
    def _needed(self):
        pytest.importorskip("tblite")

    def test_drop_is_the_difference_of_single_points(self):
        start = embedded("CC(=O)N")
        start = at(start, start.positions + np.random.default_rng(0).normal(0, 0.04, start.positions.shape))
        found = relaxation.relax(start)
        assert (found.ok, found.reason, found.graph_changed) == (True, "ok", False)
        assert found.drop == pytest.approx(energy(start) - energy(at(start, found.positions)), abs=1e-3)
        assert found.drop > 5
        assert found.rmsd == pytest.approx(rmsd(start.positions, found.positions))
        assert found.rmsd_heavy < found.rmsd
        expected = changes(start, found.positions)
        assert (found.length_change, found.angle_change) == (expected.lengths, expected.angles)
        assert found.torsion_change == expected.torsions
        assert found.evaluations <= 20

    def test_minimum_stays(self):
        once = relaxation.relax(embedded("CCO"))
        again = relaxation.relax(at(embedded("CCO"), once.positions))
        assert again.evaluations == 1
        assert again.drop == pytest.approx(0, abs=1e-3)
        assert again.rmsd == pytest.approx(0, abs=1e-6)

    def test_forces_at_the_end_are_small(self):
        start = embedded("OCC=O")
        tight = relaxation.relax(start, fmax=0.001)
        assert tight.ok
        assert tight.drop >= relaxation.relax(start).drop - 1e-3

    def test_dihydrogen_by_hand(self):
        found = relaxation.relax(hydrogen(0.9), fmax=0.001)
        distance = np.linalg.norm(found.positions[1] - found.positions[0])
        assert distance == pytest.approx(0.776, abs=0.003)  # the bond length of GFN2-xTB
        assert found.length_change == pytest.approx(0.9 - distance, abs=1e-6)
        assert found.rmsd == pytest.approx((0.9 - distance) / 2, abs=1e-6)
        assert math.isnan(found.angle_change) and math.isnan(found.torsion_change)

    def test_bond_that_forms_changes_the_graph(self):
        found = relaxation.relax(hydrogen(1.0, bonded=False))
        assert (found.ok, found.graph_changed) == (True, True)
        assert relaxation.relax(hydrogen(1.0)).graph_changed is False

    def test_bond_that_breaks_changes_the_graph(self):
        methane = embedded("C")
        bonds = methane.bonds.copy()
        bonds[1, 2] = bonds[2, 1] = 1  # two of its hydrogens drawn as bonded
        found = relaxation.relax(Arrays(methane.numbers, methane.positions, methane.charges, bonds))
        assert (found.ok, found.graph_changed) == (True, True)

    def test_proton_that_moves_changes_the_graph(self):
        found = relaxation.relax(embedded("[NH3+]CC(=O)[O-]"))  # in a vacuum glycine is no zwitterion
        assert (found.ok, found.graph_changed) == (True, True)

    def test_charge_is_the_sum_of_formal_charges(self):
        ion = embedded("C[NH3+]")
        assert relaxation.relax(ion).ok
        neutral = Arrays(ion.numbers, ion.positions, np.zeros(len(ion)), ion.bonds)
        assert relaxation.relax(neutral).reason == "open_shell"

    def test_limits(self):
        start = embedded("CCO")
        start = at(start, start.positions + np.random.default_rng(0).normal(0, 0.05, start.positions.shape))
        few = relaxation.relax(start, steps=2)
        assert (few.ok, few.reason, few.steps, few.evaluations) == (False, "steps", 2, 3)
        assert few.drop > 0
        late = relaxation.relax(start, seconds=0)
        assert (late.ok, late.reason) == (False, "time")

    @pytest.mark.parametrize(
        ("numbers", "positions", "reasons"),
        [
            ([], np.zeros((0, 3)), {"empty"}),
            ([8, 1, 1], [[0, 0, math.nan], [0, 0, 1], [0, 1, 0]], {"nonfinite"}),
            ([92], [[0, 0, 0]], {"element"}),
            ([0, 0], [[0, 0, 0], [0, 0, 1]], {"element"}),
            ([1], [[0, 0, 0]], {"open_shell"}),
            ([6, 6], [[0, 0, 0], [0, 0, 0]], {"scf", "nonfinite"}),
            ([2], [[0, 0, 0]], {"ok"}),
            ([2, 2], [[0, 0, 0], [0, 0, 1e6]], {"ok"}),
        ],
    )
    def test_bad_structures_are_answers(self, numbers, positions, reasons):
        n = len(numbers)
        bare = Arrays(np.array(numbers), np.array(positions), np.zeros(n), np.zeros((n, n)))
        found = relaxation.relax(bare, steps=50)
        assert found.reason in reasons
        assert found.reason in relaxation.REASONS
        assert found.ok == (found.reason == "ok")

    def test_wrong_limits(self):
        with pytest.raises(ValueError, match="positive"):
            relaxation.relax(hydrogen(0.8), fmax=0)


def test_hessian_is_that_of_the_force_field():
    arrays = embedded("CC=O")
    mol = relaxation.to_mol(arrays)
    field = relaxation._field(mol)
    start, step = arrays.positions.ravel(), 2e-3
    n = len(start)
    numerical = np.zeros((n, n))
    unit = np.eye(n) * step
    for i in range(n):
        for j in range(n):
            numerical[i, j] = sum(
                a * b * field.CalcEnergy((start + a * unit[i] + b * unit[j]).tolist()) for a in (1, -1) for b in (1, -1)
            ) / (4 * step**2 * 23.0605)
    curvature = np.linalg.eigvalsh(relaxation._hessian(arrays))
    assert curvature.min() == pytest.approx(1)
    assert curvature[-8:] == pytest.approx(np.linalg.eigvalsh(numerical)[-8:], rel=0.01)


def test_absence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(ImportError, match=r"moldiff\[xtb\]"):
        relaxation.relax(hydrogen(0.8))
