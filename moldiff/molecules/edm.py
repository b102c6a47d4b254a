"""Molecules without bonds: the distance-table protocol of EDM (Hoogeboom et al. 2022).

Bonds are read from a table of typical lengths in picometre: a pair nearer than the single-bond length + 10 is bonded,
nearer than the double-bond length + 5 doubly, nearer than the triple-bond length + 3 triply. An atom is **stable** when
its orders add up to the valence of its element (H 1, C 4, N 3, O 2, F 1; no charges exist here), a molecule when all
its atoms are. A molecule is **valid** when RDKit sanitises the whole graph; implicit hydrogens may fill open valences,
so this is a lenient rule. Then the SMILES of its largest fragment, explicit hydrogens written, stands for it in
**unique** (distinct of valid) and **novel** (unseen of distinct), against training SMILES that were made through the
same table.

Two tables, as in the authors' program: "qm9" knows H, C, N, O and F. "geom" knows sixteen elements; a pair without an
entry is not bonded, and for validity and SMILES every bond is drawn single, for stability with its order.

These numbers measure distances as much as chemistry (QM9 itself does not reach 100 %): never put them in one table with
those of `moldiff.molecules.validity`.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from moldiff.molecules.summary import atom_rate, rate

TABLES: tuple[str, str] = ("qm9", "geom")
"""Names of the tables."""

REASONS: tuple[str, ...] = ("ok", "empty", "nonfinite", "element", "valence", "kekulize", "sanitize")
"""Reason codes: "ok" is valid (in however many pieces); no atoms, positions not finite, an element that the table does
not know, too many bonds on an atom, no Kekule form, anything else RDKit refuses."""

# Typical single, double and triple bonds in picometre; each pair stands once.
_SINGLE = """
H-H 74 H-C 109 H-N 101 H-O 96 H-F 92 H-B 119 H-Si 148 H-P 144 H-As 152 H-S 134 H-Cl 127 H-Br 141 H-I 161
C-C 154 C-N 147 C-O 143 C-F 135 C-Si 185 C-P 184 C-S 182 C-Cl 177 C-Br 194 C-I 214
N-N 145 N-O 140 N-F 136 N-Cl 175 N-Br 214 N-S 168 N-I 222 N-P 177
O-O 148 O-F 142 O-Br 172 O-S 151 O-P 163 O-Si 163 O-Cl 164 O-I 194
F-F 142 F-S 158 F-Si 160 F-Cl 166 F-Br 178 F-P 156 F-I 187
B-Cl 175 Si-Si 233 Si-S 200 Si-Cl 202 Si-Br 215 Si-I 243
Cl-Cl 199 Cl-P 203 Cl-S 207 Cl-Br 214 S-S 204 S-Br 225 S-P 210 S-I 234 Br-Br 228 Br-P 222 P-P 221 I-I 266
"""
_DOUBLE = "C-C 134 C-N 129 C-O 120 C-S 160 N-N 125 N-O 121 O-O 121 O-P 150 P-S 186"
_TRIPLE = "C-C 120 C-N 116 C-O 113 N-N 110"
_MARGINS = (10, 5, 3)
_VALENCES: dict[str, dict[str, tuple[int, ...]]] = {
    "qm9": {"H": (1,), "C": (4,), "N": (3,), "O": (2,), "F": (1,)},
    "geom": {
        **{"H": (1,), "B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "Al": (3,), "Si": (4,), "P": (3, 5)},
        **{"S": (4,), "Cl": (1,), "As": (3,), "Br": (1,), "I": (1,), "Hg": (1, 2), "Bi": (3, 5)},
    },
}
_TYPES = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
_NUMBERS = 119


@dataclass(frozen=True)
class EdmVerdict:
    """What `edm_check` found.

    Attributes:
        valid: RDKit sanitises the whole graph.
        smiles: of the largest fragment, hydrogens written out; None when not valid.
        fragments: number of pieces; 0 when that was not asked because the structure failed earlier.
        atoms: number of atoms.
        atoms_stable: how many of them are stable.
        reason: one of `REASONS`.
        message: the cause in words, empty when the reason is "ok".
    """

    valid: bool
    smiles: str | None
    fragments: int
    atoms: int
    atoms_stable: int
    reason: str
    message: str = ""

    @property
    def molecule_stable(self) -> bool:
        """Every atom is stable, and there is one."""
        return self.atoms > 0 and self.atoms_stable == self.atoms


def edm_bonds(numbers: np.ndarray, positions: np.ndarray, *, table: str = "qm9") -> np.ndarray:
    """Bond orders from distances.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3) angstrom; a distance that is not finite is no bond.
        table: one of `TABLES`.

    Returns:
        (n, n) int64, symmetric, 0-3.

    Raises:
        ValueError: an unknown table, shapes that do not belong together, or an element that the table does not know.
    """
    numbers, positions = _checked(numbers, positions, table)
    thresholds, allowed = _tables(table)
    unknown = sorted({int(z) for z in numbers.tolist() if not (0 < z < _NUMBERS and allowed[z].any())})
    if unknown:
        raise ValueError(f"the table {table!r} does not know atomic numbers {unknown}; known: {_known(table)}")
    return _orders(numbers, positions, thresholds)


def edm_check(numbers: np.ndarray, positions: np.ndarray, *, table: str = "qm9") -> EdmVerdict:
    """Judge one structure by EDM's protocol; see the module for the definitions.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3) angstrom.
        table: one of `TABLES`.

    Returns:
        the verdict; a bad structure never raises.

    Raises:
        ValueError: an unknown table or shapes that do not belong together.
    """
    numbers, positions = _checked(numbers, positions, table)
    thresholds, allowed = _tables(table)
    n = len(numbers)
    if n == 0:
        return EdmVerdict(False, None, 0, 0, 0, "empty", "no atoms")
    if not np.isfinite(positions).all():
        return EdmVerdict(False, None, 0, n, 0, "nonfinite", "positions are not finite")
    unknown = sorted({z for z in numbers.tolist() if not (0 < z < _NUMBERS and allowed[z].any())})
    if unknown:
        message = f"atomic numbers {unknown} are not in the table; known: {_known(table)}"
        return EdmVerdict(False, None, 0, n, 0, "element", message)
    orders = _orders(numbers, positions, thresholds)
    sums = orders.sum(1)
    stable = int(allowed[numbers, np.minimum(sums, allowed.shape[1] - 1)].sum())
    mol = _build(numbers, orders, single=table == "geom")
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
    except Chem.AtomValenceException as error:
        return EdmVerdict(False, None, 0, n, stable, "valence", str(error))
    except (Chem.KekulizeException, Chem.AtomKekulizeException) as error:
        return EdmVerdict(False, None, 0, n, stable, "kekulize", str(error))
    except (ValueError, RuntimeError) as error:
        return EdmVerdict(False, None, 0, n, stable, "sanitize", str(error))
    pieces = Chem.GetMolFrags(mol)
    largest = mol
    if len(pieces) > 1:
        largest = max(Chem.GetMolFrags(mol, asMols=True), key=lambda piece: piece.GetNumAtoms())
    return EdmVerdict(True, Chem.MolToSmiles(largest), len(pieces), n, stable, "ok")


def edm_summary(
    verdicts: Sequence[EdmVerdict], training_smiles: Collection[str] | None = None
) -> dict[str, dict[str, float]]:
    """The rates of a set under EDM's protocol. Failures count as failures.

    * ``edm_valid``, ``edm_molecule_stable``: of all molecules; ``edm_atom_stable``: of all atoms.
    * ``edm_unique``: distinct of valid; ``edm_novel``: not in the training set, of distinct.
    * ``edm_vu``, ``edm_vun``: distinct, and distinct and novel, of all molecules.

    Intervals as in `moldiff.molecules.summary.summary`.

    Args:
        verdicts: one for every structure.
        training_smiles: SMILES of the training set **made by `edm_check` with the same table**; without them
            ``edm_novel`` and ``edm_vun`` are left out.

    Returns:
        for each name ``{"value", "low", "high", "n", "of"}``.
    """
    total = len(verdicts)
    valid = [v.smiles for v in verdicts if v.valid]
    distinct = set(valid)
    table = {
        "edm_valid": rate(len(valid), total),
        "edm_molecule_stable": rate(sum(v.molecule_stable for v in verdicts), total),
        "edm_atom_stable": atom_rate([v.atoms_stable for v in verdicts], [v.atoms for v in verdicts]),
        "edm_unique": rate(len(distinct), len(valid)),
        "edm_vu": rate(len(distinct), total),
    }
    if training_smiles is not None:
        unseen = len(distinct - set(training_smiles))
        table["edm_novel"] = rate(unseen, len(distinct))
        table["edm_vun"] = rate(unseen, total)
    return table


def _checked(numbers: np.ndarray, positions: np.ndarray, table: str) -> tuple[np.ndarray, np.ndarray]:
    if table not in TABLES:
        raise ValueError(f"table = {table!r}; choose one of {', '.join(TABLES)}")
    numbers, positions = np.asarray(numbers, dtype=np.int64), np.asarray(positions, dtype=np.float64)
    if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
        raise ValueError(f"numbers has shape {numbers.shape} and positions {positions.shape}; (n,) and (n, 3) belong")
    return numbers, positions


def _known(table: str) -> str:
    return ", ".join(_VALENCES[table])


@functools.cache
def _tables(table: str) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds (3, 119, 119) in angstrom, -1 for no entry, and allowed valences (119, 8) as flags."""
    periodic = Chem.GetPeriodicTable()
    thresholds = np.full((3, _NUMBERS, _NUMBERS), -1.0)
    for level, (text, margin) in enumerate(zip((_SINGLE, _DOUBLE, _TRIPLE), _MARGINS, strict=True)):
        words = text.split()
        for pair, length in zip(words[::2], words[1::2], strict=True):
            i, j = (periodic.GetAtomicNumber(symbol) for symbol in pair.split("-"))
            thresholds[level, i, j] = thresholds[level, j, i] = (int(length) + margin) / 100
    allowed = np.zeros((_NUMBERS, 8), dtype=bool)
    for symbol, sums in _VALENCES[table].items():
        allowed[periodic.GetAtomicNumber(symbol), list(sums)] = True
    return thresholds, allowed


def _orders(numbers: np.ndarray, positions: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinitely far is far
        square = ((positions[:, None] - positions[None]) ** 2).sum(-1)
    np.fill_diagonal(square, np.inf)
    distance = np.sqrt(square)
    near = distance < thresholds[:, numbers[:, None], numbers[None]]
    # Each level asks for the one before it, as the nested conditions of the original do.
    near[1] &= near[0]
    near[2] &= near[1]
    return near.sum(0, dtype=np.int64)


def _build(numbers: np.ndarray, orders: np.ndarray, *, single: bool) -> Chem.RWMol:
    mol = Chem.RWMol()
    for number in numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    first, second = np.nonzero(np.triu(orders))
    for i, j, order in zip(first.tolist(), second.tolist(), orders[first, second].tolist(), strict=True):
        mol.AddBond(i, j, _TYPES[1 if single else order])
    return mol
