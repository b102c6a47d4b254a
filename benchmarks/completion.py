"""Completion, conformers and perception, each against held-out structures and beside what RDKit does.

    python benchmarks/completion.py qm9 --tasks completion conformers perception --limit 100

Writes benchmarks/results/completion-<model>-<task>.json, one file a task, as soon as it is known. Conformers of QM9 are
compared with the mirror image allowed, since both engines start from the SMILES without stereochemistry.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import median_interval, provenance, write_json
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem

import moldiff
from moldiff.data.archive import Archive
from moldiff.data.download import data_root
from moldiff.data.reference import Reference
from moldiff.generator import Generator
from moldiff.generator.complete import stream
from moldiff.generator.parts import parts
from moldiff.molecules.bonds import perceive
from moldiff.molecules.convert import Arrays, canonical_smiles, to_mol
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.geometry import symmetric_rmsd
from moldiff.molecules.summary import rate

TEST = 2
#: Conformers count as found within this RMSD, angstrom.
FOUND = 0.5


def held_out(archive: Archive, *, smallest: int, seed: int) -> list[Any]:
    """Test molecules with at least so many heavy atoms, in random order."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(archive.split == TEST))
    mols = []
    for row in rows.tolist():
        arrays = Arrays(*archive.record(row)[:4])
        if (arrays.numbers > 1).sum() >= smallest:
            mols.append(to_mol(arrays))
        if len(mols) == 1000:
            break
    return mols


def random_part(mol: Any, rng: np.random.Generator) -> list[int]:
    """Heavy atoms to keep: those nearest to a random one, at least three of the others left out."""
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    near = Chem.GetDistanceMatrix(mol)[heavy[int(rng.integers(len(heavy)))]][heavy]
    order = np.argsort(near + rng.random(len(heavy)))
    return [heavy[i] for i in order[: int(rng.integers(1, len(heavy) - 2))]]


def completion(generator: Generator, mols: list[Any], args: argparse.Namespace) -> dict[str, Any]:
    """V&C, connectedness, unchanged parts and novelty of completions; unconditional V&C at the same cost beside it."""
    rng = np.random.default_rng(args.seed)
    verdicts, kept, smiles, drops, own = [], 0, [], [], 0
    chosen = mols[: args.limit]
    for number, mol in enumerate(chosen):
        keep = random_part(mol, rng)
        (part,) = parts(mol, keep)
        removed = sum(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()) - len(keep)
        for item in stream(
            generator, mol, keep, n_new=removed, n=args.completions, seed=args.seed + number, steps=args.steps
        ):
            k, got = len(part.arrays), item.arrays
            kept += bool(
                np.array_equal(got.numbers[:k], part.arrays.numbers)
                and np.array_equal(got.charges[:k], part.arrays.charges)
                and np.array_equal(got.bonds[:k, :k], part.arrays.bonds)
                and np.abs(got.positions[:k] - part.arrays.positions).max() <= 1e-3
            )
            verdicts.append(item.verdict)
            if item.mol is not None:
                smiles.append(canonical_smiles(item.mol))
                own += smiles[-1] == canonical_smiles(mol)
                drop = mmff_drop(item.mol)
                drops += [drop[0]] if drop is not None else []
    total = len(verdicts)
    free = generator.sample(total, seed=args.seed, steps=args.steps).report.rates["valid_connected"]
    result: dict[str, Any] = {
        "molecules": len(chosen),
        "valid_connected": rate(sum(v.valid_connected for v in verdicts), total),
        "connected": rate(sum(v.connected for v in verdicts), total),
        "part_unchanged": rate(kept, total),
        "unconditional_valid_connected": dict(free),
        "unique": rate(len(set(smiles)), len(smiles)),
        "same_as_held_out": rate(own, len(smiles)),
        "mmff_drop_median": median_interval(drops),
    }
    reference = None if generator.path is None else generator.path.parent / "reference.npz"
    if reference is not None and reference.is_file():
        train = Reference.load(reference).train
        result["novel"] = rate(sum(text not in train for text in set(smiles)), len(set(smiles)))
    return result


def etkdg(mol: Any, n: int, seed: int) -> Any:
    """Conformers by ETKDG and MMFF94 of a molecule without stereochemistry."""
    flat = Chem.Mol(mol)
    flat.RemoveAllConformers()
    Chem.RemoveStereochemistry(flat)
    flat = Chem.AddHs(Chem.MolFromSmiles(Chem.MolToSmiles(Chem.RemoveHs(flat))))
    AllChem.EmbedMultipleConfs(flat, n, randomSeed=seed)
    if flat.GetNumConformers() and AllChem.MMFFHasAllMoleculeParams(flat):
        AllChem.MMFFOptimizeMoleculeConfs(flat, maxIters=1000)
    return flat


def best(truth: Any, mol: Any, *, reflect: bool = True) -> float:
    """Least heavy-atom RMSD of the conformers to a geometry; infinite where there is none."""
    found = [float("inf")]
    for conformer in mol.GetConformers():
        found.append(symmetric_rmsd(truth, Chem.Mol(mol, confId=conformer.GetId()), reflect=reflect))
    return min(found)


def conformers(generator: Generator, mols: list[Any], args: argparse.Namespace) -> dict[str, Any]:
    """Best-of-n RMSD to held-out geometries beside ETKDG + MMFF, from the same SMILES without stereochemistry."""
    ours, theirs, rows = [], [], []
    for number, truth in enumerate(mols[: args.limit]):
        smiles = canonical_smiles(truth)
        with rdBase.BlockLogs(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = generator.conformers(smiles, args.conformers, seed=args.seed + number, steps=args.steps)
            other = etkdg(truth, args.conformers, args.seed + number)
        ours.append(best(truth, made))
        theirs.append(best(truth, other))
        rows.append({"smiles": smiles, "moldiff": ours[-1], "etkdg_mmff": theirs[-1], "made": made.GetNumConformers()})
    return {
        "molecules": len(rows),
        "of_each": args.conformers,
        "rmsd_moldiff": median_interval(ours),
        "rmsd_etkdg_mmff": median_interval(theirs),
        "coverage_moldiff": rate(sum(value < FOUND for value in ours), len(ours)),
        "coverage_etkdg_mmff": rate(sum(value < FOUND for value in theirs), len(theirs)),
        "coverage_angstrom": FOUND,
        "rows": [{name: None if value == float("inf") else value for name, value in row.items()} for row in rows],
    }


def foreign(path: Path, generator: Generator) -> list[Any]:
    """The neutral molecules of `dft8k.npz` whose elements the model knows, with the bonds of their files."""
    symbols = set(generator.config.alphabets["elements"])
    table = Chem.GetPeriodicTable()
    known = {number for number in range(1, 100) if table.GetElementSymbol(number) in symbols}
    mols = []
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    for i in range(len(data["smiles"])):
        atoms, bonds = slice(*data["ptr"][i : i + 2]), slice(*data["bptr"][i : i + 2])
        numbers = data["z"][atoms].astype(int)
        if not set(numbers.tolist()) <= known:
            continue
        orders = np.zeros((len(numbers), len(numbers)), int)
        first, second = data["bonds"][bonds].T.astype(int)
        orders[first, second] = orders[second, first] = data["bond_order"][bonds]
        try:
            mols.append(to_mol(Arrays(numbers, data["pos"][atoms], data["formal_charge"][atoms], orders)))
        except ValueError:
            continue
    return mols


def same(found: Any, truth: Any) -> bool:
    """Whether two molecules are equal but for stereochemistry, up to resonance."""
    if canonical_smiles(found) == canonical_smiles(truth):
        return True
    wanted = canonical_smiles(found)
    forms = Chem.ResonanceMolSupplier(Chem.RemoveHs(truth), maxStructs=100)
    for form in forms:
        if form is None:
            continue
        Chem.SanitizeMol(form)
        if canonical_smiles(form) == wanted:
            return True
    return False


def perception(generator: Generator, mols: list[Any], args: argparse.Namespace) -> dict[str, Any]:
    """Molecules found again from elements and coordinates, beside RDKit's DetermineBonds."""
    rng = np.random.default_rng(args.seed)
    chosen = [mols[i] for i in rng.permutation(len(mols))[: args.limit].tolist()]
    charges = np.array([Chem.GetFormalCharge(mol) for mol in chosen])
    answers: dict[int, Any] = {}
    for charge in np.unique(charges).tolist():
        rows = np.flatnonzero(charges == charge).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = generator.perceive(
                [chosen[row] for row in rows], charge=charge, samples=args.samples, seed=args.seed, steps=args.steps
            )
        answers.update(zip(rows, found, strict=True))
    outcomes, examples = [], []
    for row, mol in enumerate(chosen):
        answer = answers[row]
        ours = isinstance(answer, Chem.Mol) and same(answer, mol)
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        other = perceive(numbers, mol.GetConformer().GetPositions(), charge=int(charges[row]), max_iterations=100_000)
        theirs = other.arrays is not None and same(to_mol(other.arrays), mol)
        outcomes.append((len(numbers), int((numbers > 1).sum()), ours, theirs))
        if not ours and len(examples) < 30:
            text = canonical_smiles(answer) if isinstance(answer, Chem.Mol) else f"{answer.reason}: {answer.message}"
            examples.append({"truth": canonical_smiles(mol), "moldiff": text, "rdkit": theirs, "atoms": len(numbers)})
    largest = max(map(int, generator.config.sizes))
    ranges = {"all": (0, 10**6), "up_to_20": (0, 20), "up_to_trained": (0, largest), "larger": (largest + 1, 10**6)}
    table = {}
    for name, (low, high) in ranges.items():
        inside = [outcome for outcome in outcomes if low <= outcome[0] <= high]
        if not inside:
            continue
        table[name] = {
            "moldiff": rate(sum(outcome[2] for outcome in inside), len(inside)),
            "rdkit": rate(sum(outcome[3] for outcome in inside), len(inside)),
        }
    return {
        "molecules": len(chosen),
        "largest_trained_on": largest,
        "by_atoms": table,
        "rows": [dict(zip(("atoms", "heavy", "moldiff", "rdkit"), map(int, row), strict=True)) for row in outcomes],
        "missed": examples,
    }


def main() -> None:
    """Run the tasks asked for and write a file each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--name", help="in the names of the results; the model by default")
    parser.add_argument("--tasks", nargs="+", default=["completion", "conformers", "perception"])
    parser.add_argument("--limit", type=int, default=100, help="molecules a task")
    parser.add_argument("--completions", type=int, default=10, help="of each molecule")
    parser.add_argument("--conformers", type=int, default=10, help="of each molecule")
    parser.add_argument("--samples", type=int, default=5, help="votes of perception")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=data_root(), help="folder with qm9/ and molecules/")
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    for task in args.tasks:
        start = time.perf_counter()
        if task == "perception":
            result = perception(generator, foreign(args.data / "molecules" / "dft8k.npz", generator), args)
        else:
            mols = held_out(Archive.load(args.data / "qm9" / "qm9.npz"), smallest=5, seed=args.seed)
            result = {"completion": completion, "conformers": conformers}[task](generator, mols, args)
        settings = {name: getattr(args, name) for name in ("completions", "conformers", "samples", "steps", "limit")}
        content = {
            "meta": provenance(args.seed),
            "model": {"name": generator.name, "facts": generator.config.facts},
            "settings": settings,
            "seconds": round(time.perf_counter() - start, 1),
            **result,
        }
        print({name: value for name, value in result.items() if name not in ("rows", "missed")})
        print(write_json(f"completion-{args.name or Path(args.model).name}-{task}", content))


if __name__ == "__main__":
    main()
