"""Completion, conformers and perception, each against held-out structures and beside what RDKit does.

    python benchmarks/completion.py qm9 --tasks completion conformers ligands perception --limit 100

Tasks: completions of held-out QM9 molecules of which three or more heavy atoms are removed; conformers of held-out QM9
molecules; conformers of ligands (molecules/conformers.npz); bonds and charges of drug-like molecules
(molecules/dft8k.npz); the last two within the model's alphabet. Ligands are those no larger than any molecule trained
on, unless `--largest` says otherwise; molecules of dft8k are of all sizes, and listed by size.

Writes benchmarks/results/completion-<model>-<task>.json, one file a task, as soon as it is known. Conformers are
compared by heavy-atom RMSD over all symmetries with the mirror image allowed, since both engines start from the SMILES
without stereochemistry. Coverage is the share of the reference geometries within 0.5 angstrom of one of the conformers.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
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
from moldiff.generator.hydrogens import hydrogens_of
from moldiff.generator.parts import parts
from moldiff.molecules.bonds import perceive
from moldiff.molecules.convert import Arrays, canonical_smiles, to_mol
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.geometry import symmetric_rmsd
from moldiff.molecules.summary import rate
from moldiff.shipped import find_reference

TEST = 2
#: Conformers count as found within this RMSD, angstrom.
FOUND = 0.5
#: RMSD that counts where no conformer was made, angstrom.
MISSING = 99.0
TASKS = ("completion", "conformers", "ligands", "perception")


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


def cuts_aromatic(mol: Any, keep: list[int]) -> bool:
    """Whether an aromatic bond leads from the kept atoms to the others."""
    inside = set(keep)
    return any(
        bond.GetIsAromatic() and (bond.GetBeginAtomIdx() in inside) != (bond.GetEndAtomIdx() in inside)
        for bond in mol.GetBonds()
    )


def completion(generator: Generator, mols: list[Any], args: argparse.Namespace) -> dict[str, Any]:
    """V&C, connectedness, unchanged parts and novelty of completions; unconditional V&C at the same cost beside it."""
    rng = np.random.default_rng(args.seed)
    verdicts, kept, smiles, drops, own = [], 0, [], [], 0
    torn = []  # whether the cut goes through an aromatic ring, a structure each
    chosen = mols[: args.limit]
    largest = hydrogens_of(generator.path).largest
    for number, mol in enumerate(chosen):
        keep = random_part(mol, rng)
        (part,) = parts(mol, keep)
        aromatic = cuts_aromatic(mol, keep)
        removed = sum(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()) - len(keep)
        most = max(removed, min(removed + args.slack, largest - len(keep)))
        new = (max(removed - args.slack, 1), most)
        for item in stream(
            generator, mol, keep, n_new=new, n=args.completions, seed=args.seed + number, steps=args.steps
        ):
            k, got = len(part.arrays), item.arrays
            kept += bool(
                np.array_equal(got.numbers[:k], part.arrays.numbers)
                and np.array_equal(got.charges[:k], part.arrays.charges)
                and np.array_equal(got.bonds[:k, :k], part.arrays.bonds)
                and np.abs(got.positions[:k] - part.arrays.positions).max() <= 1e-3
            )
            verdicts.append(item.verdict)
            torn.append(aromatic)
            if item.mol is not None:
                smiles.append(canonical_smiles(item.mol))
                own += smiles[-1] == canonical_smiles(mol)
                drop = mmff_drop(item.mol)
                drops += [drop[0]] if drop is not None else []
    total = len(verdicts)
    free = generator.sample(total, seed=args.seed, steps=args.steps).report.rates["valid_connected"]
    result: dict[str, Any] = {
        "molecules": len(chosen),
        "slack": args.slack,
        "valid_connected": rate(sum(v.valid_connected for v in verdicts), total),
        "valid_connected_by_cut": {
            name: rate(
                sum(v.valid_connected for v, t in zip(verdicts, torn, strict=True) if t == wanted), torn.count(wanted)
            )
            for name, wanted in (("through an aromatic ring", True), ("elsewhere", False))
        },
        "connected": rate(sum(v.connected for v in verdicts), total),
        "part_unchanged": rate(kept, total),
        "unconditional_valid_connected": dict(free),
        "unique": rate(len(set(smiles)), len(smiles)),
        "same_as_held_out": rate(own, len(smiles)),
        "mmff_drop_median": median_interval(drops),
    }
    reference = find_reference(generator.path)
    if reference is not None:
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
    """Least heavy-atom RMSD of the conformers to a geometry; `MISSING` where there is none."""
    found = [MISSING]
    for conformer in mol.GetConformers():
        found.append(symmetric_rmsd(truth, Chem.Mol(mol, confId=conformer.GetId()), reflect=reflect))
    return min(found)


def both(truth: Any, generator: Generator, number: int, args: argparse.Namespace) -> tuple[Any, Any]:
    """Conformers by the model and by ETKDG + MMFF94, from the same SMILES without stereochemistry."""
    with rdBase.BlockLogs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = generator.conformers(canonical_smiles(truth), args.conformers, seed=args.seed + number, steps=args.steps)
        return made, etkdg(truth, args.conformers, args.seed + number)


def compare(rows: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Median best RMSD and coverage of both engines, over molecules with a row each."""
    table: dict[str, Any] = {"molecules": len(rows), "geometries": sum(len(row["moldiff"]) for row in rows)}
    for name in ("moldiff", "etkdg_mmff"):
        every = [value for row in rows for value in row[name]]
        table[f"rmsd_{name}"] = median_interval([float(np.mean(row[name])) for row in rows])
        table[f"coverage_{name}"] = rate(sum(value < FOUND for value in every), len(every))
    table["difference"] = median_interval([float(np.mean(r["moldiff"]) - np.mean(r["etkdg_mmff"])) for r in rows])
    drawn = sum(row["drawn"] for row in rows)
    table["fits_bonds"] = rate(drawn - sum(row["broken"] for row in rows), drawn)
    return {**table, "of_each": args.conformers, "coverage_angstrom": FOUND}


def conformers(generator: Generator, truths: list[list[Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Best-of-n RMSD to reference geometries, one or several a molecule, beside ETKDG + MMFF."""
    rows = []
    for number, group in enumerate(truths[: args.limit]):
        made, other = both(group[0], generator, number, args)
        row: dict[str, Any] = {"smiles": canonical_smiles(group[0]), "atoms": group[0].GetNumAtoms()}
        row |= {key: made.GetIntProp(key) for key in ("made", "drawn", "broken")}
        row |= {"moldiff": [best(mol, made) for mol in group], "etkdg_mmff": [best(mol, other) for mol in group]}
        rows.append(row)
    largest = max(map(int, generator.config.sizes))
    table = {
        name: compare(part, args)
        for name, part in {
            "all": rows,
            "up_to_trained": [row for row in rows if row["atoms"] <= largest],
            "larger": [row for row in rows if row["atoms"] > largest],
        }.items()
        if part
    }
    return {"largest_trained_on": largest, "by_atoms": table, "rows": rows}


def foreign(path: Path, generator: Generator, *, largest: int | None = None) -> dict[str, list[Any]]:
    """Molecules of a file within the model's alphabet, with the bonds of the file, by canonical SMILES."""
    elements = set(generator.config.alphabets["elements"])
    charges = {int(charge) for charge in generator.config.alphabets["charges"]}
    table = Chem.GetPeriodicTable()
    known = {number for number in range(1, 100) if table.GetElementSymbol(number) in elements}
    found: dict[str, list[Any]] = {}
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    for i in range(len(data["smiles"])):
        atoms, bonds = slice(*data["ptr"][i : i + 2]), slice(*data["bptr"][i : i + 2])
        numbers, charge = data["z"][atoms].astype(int), data["formal_charge"][atoms]
        if not set(numbers.tolist()) <= known or not set(charge.tolist()) <= charges:
            continue
        if largest is not None and len(numbers) > largest:
            continue
        orders = np.zeros((len(numbers), len(numbers)), int)
        first, second = data["bonds"][bonds].T.astype(int)
        orders[first, second] = orders[second, first] = data["bond_order"][bonds]
        try:
            mol = to_mol(Arrays(numbers, data["pos"][atoms], charge, orders))
        except ValueError:
            continue
        found.setdefault(canonical_smiles(mol), []).append(mol)
    return found


def shuffled(groups: dict[str, list[Any]], seed: int) -> list[list[Any]]:
    """The groups in random order; those of fragments and radicals are left out, as the model has not seen such."""
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    every = list(groups.values())
    return [every[i] for i in order if len(Chem.GetMolFrags(every[i][0])) == 1]


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
    chosen = mols[: args.limit]
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
    outcomes, examples, reasons = [], [], Counter[str]()
    for row, mol in enumerate(chosen):
        answer = answers[row]
        ours = isinstance(answer, Chem.Mol) and same(answer, mol)
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        other = perceive(numbers, mol.GetConformer().GetPositions(), charge=int(charges[row]), max_iterations=100_000)
        theirs = other.arrays is not None and same(to_mol(other.arrays), mol)
        reasons["ok" if ours else "another answer" if isinstance(answer, Chem.Mol) else answer.reason] += 1
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
        "reasons": dict(reasons.most_common()),
        "rows": [dict(zip(("atoms", "heavy", "moldiff", "rdkit"), map(int, row), strict=True)) for row in outcomes],
        "missed": examples,
    }


def without_infinity(value: Any) -> Any:
    """Nested values with None for what JSON does not know."""
    if isinstance(value, dict):
        return {name: without_infinity(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_infinity(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    """Run the tasks asked for and write a file each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--name", help="in the names of the results; the model by default")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--limit", type=int, default=100, help="molecules a task")
    parser.add_argument("--completions", type=int, default=10, help="of each molecule")
    parser.add_argument("--slack", type=int, default=1, help="new heavy atoms more or fewer")
    parser.add_argument("--conformers", type=int, default=10, help="of each molecule")
    parser.add_argument("--samples", type=int, default=5, help="votes of perception")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest", type=int, help="atoms of the largest ligand; by default the largest trained on")
    parser.add_argument("--data", type=Path, default=data_root(), help="folder with qm9/ and molecules/")
    parser.add_argument("--archive", type=Path, help="of the held-out molecules; qm9/qm9.npz in that folder by default")
    args = parser.parse_args()
    archive = args.archive or args.data / "qm9" / "qm9.npz"
    generator = moldiff.load(args.model)
    for task in args.tasks:
        start = time.perf_counter()
        if task in ("perception", "ligands"):
            file = {"perception": "dft8k.npz", "ligands": "conformers.npz"}[task]
            # conformers of larger molecules do not fit their bonds; perception goes by patches
            limit = None if task == "perception" else args.largest or max(map(int, generator.config.sizes))
            groups = shuffled(foreign(args.data / "molecules" / file, generator, largest=limit), args.seed)
            if task == "perception":
                result = perception(generator, [group[0] for group in groups], args)
            else:
                result = conformers(generator, groups, args)
        else:
            mols = held_out(Archive.load(archive), smallest=5, seed=args.seed)
            if task == "completion":
                result = completion(generator, mols, args)
            else:
                result = conformers(generator, [[mol] for mol in mols], args)
        settings = {
            name: getattr(args, name) for name in ("completions", "conformers", "samples", "steps", "limit", "largest")
        }
        content = {
            "meta": provenance(args.seed),
            "model": {"name": generator.name, "facts": generator.config.facts},
            "settings": settings,
            "seconds": round(time.perf_counter() - start, 1),
            **without_infinity(result),
        }
        print({name: value for name, value in result.items() if name not in ("rows", "missed")})
        print(write_json(f"completion-{args.name or Path(args.model).name}-{task}", content))


if __name__ == "__main__":
    main()
