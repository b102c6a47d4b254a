"""Do samples have the properties that were asked for? Targets against GFN2-xTB on the generated geometries.

    python benchmarks/conditional.py qm9 --n 100 --properties gap dipole --weights 0 1 2
    python benchmarks/conditional.py qm9 --n 1000 --weights 0 1 1.5 2 3 --gradients 0 20 --tail-weights 2
    python benchmarks/conditional.py qm9 --n 100 --weights 1 --gradients 20 --particles 4

Draws n pairs (target, atom count) from the test split, generates a structure for each, and calculates the property at
the generated geometry: by tblite for gap, HOMO, LUMO, dipole, polarisability and energy, at the total of the generated
charges and whatever the bonds are; by RDKit for descriptors, which need a valid graph. The mean absolute error is over
all n: what cannot be calculated counts with the random baseline's error. That baseline is the mean |difference| of two
different targets. Beside it stand: a training molecule of the right atom count drawn at random; the training molecule
of the right atom count with the nearest label (which is a look-up, and never novel); unguided samples of the right atom
counts; the labels calculated again at the test geometries; and the model's own property head on test molecules.

Labels here are GFN2-xTB and the judge is the same calculation. Published shares of the random baseline are of B3LYP
labels judged by a network: they are not comparable.

The tail: targets of test molecules beyond the 99th percentile of the training set. Shares there are of the error of the
right atom count alone, and `reached` is how many lie beyond that percentile.

With --particles, so many structures compete for each place by closeness to the target as the property head sees it
(``reward="target"``), valid and connected ones first. Evaluations are counted where they are made, a backward pass as
two.

Writes benchmarks/results/conditional-<name>.json after every setting; settings that are in the file for the same
weights, n, seed and steps are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, finite, provenance, write_json
from rdkit import rdBase

import moldiff
from moldiff.allocator import keep_large_blocks
from moldiff.config import to_dict
from moldiff.data.archive import Archive
from moldiff.data.batching import mix
from moldiff.data.download import data_root
from moldiff.data.reference import Reference
from moldiff.denoiser import Clocks, Condition, Denoiser, Prediction
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.evaluation.workers import Workers
from moldiff.generator import Generator
from moldiff.generator.drawing import near_sizes
from moldiff.generator.export import to_arrays
from moldiff.generator.generator import blank_state
from moldiff.generator.given import settings
from moldiff.guidance.gradient import BACKWARD
from moldiff.molecules.convert import Arrays, canonical_smiles, to_mol
from moldiff.molecules.descriptors import DESCRIPTORS
from moldiff.molecules.similarity import fingerprints, internal_diversity
from moldiff.molecules.summary import rate
from moldiff.molecules.validity import check
from moldiff.shipped import find_reference
from moldiff.state import State

TRAIN, TEST = 0, 2
PERCENTILE = 99
#: Seconds that one calculation may take.
LIMIT = 30.0


def mean_interval(errors: np.ndarray, *, seed: int = 0, draws: int = 1000) -> dict[str, float]:
    """Mean with a 95 % bootstrap interval over structures."""
    if not len(errors):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    rng = np.random.default_rng(seed)
    means = errors[rng.integers(0, len(errors), (draws, len(errors)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(errors.mean()), "low": float(low), "high": float(high), "n": len(errors)}


def column(archive: Archive, name: str) -> np.ndarray:
    """The labels of a property, one a molecule."""
    return archive.properties[:, archive.property_names.tolist().index(name)].astype(np.float64)


def generate(
    generator: Generator, sizes: np.ndarray, asked: dict[str, np.ndarray], args: argparse.Namespace, **wishes: Any
) -> tuple[list[Arrays], float]:
    """A structure of each size with each target, in order, and the network evaluations that each cost."""
    keep_large_blocks()
    cost = Cost()
    config = generator.config
    sampler = settings(generator, args.steps)
    process = JointProcess.for_molecules(config.diffusion, generator.alphabets, sampler=sampler)
    means = {p.name: p.mean for p in config.properties if p.name in asked}
    plan = generator.guide(target=means, **wishes) if means else generator.guide()
    values = np.stack([asked.get(p.name, np.zeros(len(sizes))) for p in config.properties], 1)
    shown = torch.tensor([p.name in asked for p in config.properties])
    found: list[Any] = [None] * len(sizes)
    for number, part in enumerate(near_sizes(torch.tensor(sizes), args.batch_size)):
        rows = part.numpy()
        told = torch.tensor(values[rows]).float().to(generator.device), shown.expand(len(rows), -1).to(generator.device)
        with generator.execution.running():
            done = plan.draw(
                cost.counted(denoiser(generator.network, process)),
                process,
                state=blank_state(torch.tensor(sizes[rows])).to(generator.device),
                generator=torch.Generator(generator.device).manual_seed(mix(args.seed, number)),
                config=sampler,
                condition=Condition(*told) if means else None,
            )
        for row, arrays in zip(rows.tolist(), to_arrays(done.to("cpu"), generator.alphabets), strict=True):
            found[row] = arrays
    return found, round(cost.structures / len(sizes), 2)


class Cost:
    """Counts the structures that a network is given, one with gradients as three: a backward pass costs two."""

    def __init__(self) -> None:
        self.structures = 0

    def counted(self, plain: Denoiser) -> Denoiser:
        """The same denoiser, counted."""

        def call(
            state: State, clocks: Clocks, condition: Condition | None = None, previous: Prediction | None = None
        ) -> Prediction:
            self.structures += len(state) * (1 + BACKWARD * torch.is_grad_enabled())
            return plain(state, clocks, condition, previous)

        return call


def labels(structures: list[Arrays], names: list[str], args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Calculated properties of structures, NaN where there is none."""
    table = {name: np.full(len(structures), np.nan) for name in names}
    calculated = [name for name in names if name not in DESCRIPTORS]
    if calculated:
        with Workers(args.jobs, time_limit=LIMIT) as workers:
            outcomes = workers.run(
                "moldiff.molecules.singlepoint:single_point",
                structures,
                label="GFN2-xTB",
                options={"polarizability": "polarizability" in names},
            )
        for row, outcome in enumerate(outcomes):
            for name in calculated:
                table[name][row] = getattr(outcome.result, name) if outcome.status == "ok" else np.nan
    for name in set(names) & set(DESCRIPTORS):
        for row, arrays in enumerate(structures):
            verdict = check(arrays)
            if verdict.valid_connected:
                table[name][row] = DESCRIPTORS[name](verdict.mol)
    return table


def quality(structures: list[Arrays], training: frozenset[str] | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Which structures are valid and connected, and V&C, uniqueness, novelty and diversity."""
    verdicts = [check(arrays) for arrays in structures]
    good = np.array([v.valid_connected for v in verdicts])
    mols = [v.mol for v in verdicts if v.valid_connected]
    smiles = [canonical_smiles(mol) for mol in mols]
    distinct = set(smiles)
    table: dict[str, Any] = {
        "valid_connected": rate(int(good.sum()), len(good)),
        "unique": rate(len(distinct), len(smiles)),
        "diversity": internal_diversity(fingerprints(mols)) if len(mols) > 1 else None,
    }
    if training is not None:
        table["novel"] = rate(sum(text not in training for text in distinct), len(distinct))
    return good, table


def errors(found: np.ndarray, wanted: np.ndarray, good: np.ndarray, penalty: float) -> dict[str, Any]:
    """Mean absolute errors over all and over the valid, and their shares of the penalty."""
    known = np.isfinite(found)
    error = np.where(known, np.abs(found - wanted), penalty)
    valid = good & known
    table: dict[str, Any] = {"mae": mean_interval(error), "share": float(error.mean() / penalty)}
    table["mae_valid"] = mean_interval(error[valid])
    table["share_valid"] = float(error[valid].mean() / penalty) if valid.any() else None
    table["not_calculated"] = int((~known).sum())
    return table


def random_error(targets: np.ndarray) -> float:
    """Mean |difference| of two different targets: what shuffling them gives."""
    n = len(targets)
    return float(np.abs(targets[:, None] - targets[None]).sum() / (n * (n - 1)))


def baselines(archive: Archive, values: np.ndarray, wanted: np.ndarray, sizes: np.ndarray) -> dict[str, float]:
    """Errors of a training molecule of the right atom count: any of them, and the one with the nearest label."""
    rows = (archive.split == TRAIN) & np.isfinite(values)
    here, counts = values[rows], np.asarray(archive.n_atoms)[rows]
    same = {int(size): here[counts == size] for size in np.unique(sizes)}
    some = [
        np.abs(same[int(s)] - t) if len(same[int(s)]) else np.abs(here - t) for t, s in zip(wanted, sizes, strict=True)
    ]
    return {
        "right_atom_count": float(np.mean([error.mean() for error in some])),
        "nearest_training_molecule": float(np.mean([error.min() for error in some])),
    }


def predictor(generator: Generator, archive: Archive, args: argparse.Namespace) -> dict[str, Any]:
    """Errors of the property head on test molecules, in units and as a share of the mean absolute deviation."""
    rows = np.random.default_rng(mix(args.seed, 7)).permutation(np.flatnonzero(archive.split == TEST))[: args.predict]
    start = time.perf_counter()
    found = generator.predict([to_mol(Arrays(*archive.record(int(row))[:4])) for row in rows])
    seconds = time.perf_counter() - start
    table: dict[str, Any] = {"molecules": len(rows), "seconds": round(seconds, 1)}
    for p in generator.properties:
        truth = column(archive, p.name)[rows]
        deviation = float(np.abs(truth - truth.mean()).mean())
        mae = mean_interval(np.abs(found[p.name] - truth))
        table[p.name] = {"unit": p.unit, "level": p.level, "mae": mae, "share_of_deviation": mae["value"] / deviation}
    return table


class Study:
    """The pairs of a run, and what is measured on them for each property."""

    def __init__(self, generator: Generator, archive: Archive, args: argparse.Namespace) -> None:
        self.generator, self.archive, self.args = generator, archive, args
        reference = find_reference(generator.path)
        self.training = None if reference is None else Reference.load(reference).train
        self.test = np.flatnonzero(archive.split == TEST)
        self.rows = np.random.default_rng(mix(args.seed, 11)).permutation(self.test)[: args.n]
        self.sizes = self.atoms(self.rows)
        self.wanted = {name: column(archive, name)[self.rows] for name in args.properties}
        self.penalty = {name: random_error(values) for name, values in self.wanted.items()}
        self._free: tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]] | None = None

    def atoms(self, rows: np.ndarray) -> np.ndarray:
        """Atom counts of molecules."""
        return np.asarray(self.archive.n_atoms)[rows].astype(np.int64)

    def about(self, name: str) -> dict[str, Any]:
        """Unit, level of theory and baselines of a property."""
        p = next(p for p in self.generator.properties if p.name == name)
        held_out = [Arrays(*self.archive.record(int(row))[:4]) for row in self.rows]
        again = labels(held_out, [name], self.args)[name]
        base = baselines(self.archive, column(self.archive, name), self.wanted[name], self.sizes)
        return {
            "unit": p.unit,
            "level": p.level,
            "random": self.penalty[name],
            **{key: {"mae": mae, "share": mae / self.penalty[name]} for key, mae in base.items()},
            "label_calculated_again": errors(again, self.wanted[name], np.isfinite(again), self.penalty[name]),
        }

    def measure(self, name: str, weight: float, gradient: float, particles: int) -> dict[str, Any]:
        """Samples with targets, or unguided ones, which are made once for all properties."""
        wanted, penalty = self.wanted[name], self.penalty[name]
        if weight == 0 and gradient == 0 and particles == 1:
            found, good, table = self.unguided()
            return {**errors(found[name], wanted, good, penalty), **table}
        wishes = guided(weight, gradient, particles)
        values, good, table = self.sample(self.sizes, {name: wanted}, [name], **wishes)
        return {**errors(values[name], wanted, good, penalty), **table}

    def tail(self, name: str, weight: float, gradient: float, particles: int) -> dict[str, Any]:
        """Targets beyond the 99th percentile of the training set."""
        values = column(self.archive, name)
        border = float(np.nanpercentile(values[self.archive.split == TRAIN], PERCENTILE))
        far = self.test[values[self.test] > border]
        if not len(far):
            raise ValueError(f"no test molecule has a {name} beyond {border:g}, the {PERCENTILE}th percentile")
        n = self.args.n
        chosen = np.random.default_rng(mix(self.args.seed, 13)).choice(far, n, replace=n > len(far))
        wanted, sizes = values[chosen], self.atoms(chosen)
        base = baselines(self.archive, values, wanted, sizes)
        found, good, table = self.sample(sizes, {name: wanted}, [name], **guided(weight, gradient, particles))
        return {
            **errors(found[name], wanted, good, base["right_atom_count"]),
            **table,
            "border": border,
            "molecules_beyond": len(far),
            "reached": rate(int((found[name][good] > border).sum()), len(good)),
            "baselines": base,
        }

    def unguided(self) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
        """Samples of the right atom counts without targets."""
        if self._free is None:
            self._free = self.sample(self.sizes, {}, list(self.args.properties))
        return self._free

    def sample(
        self, sizes: np.ndarray, asked: dict[str, np.ndarray], names: list[str], **wishes: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
        """Calculated properties of samples, which of these are valid and connected, and what else there is to say."""
        start = time.perf_counter()
        structures, evaluations = generate(self.generator, sizes, asked, self.args, **wishes)
        seconds = round(time.perf_counter() - start, 1)
        good, table = quality(structures, self.training)
        return labels(structures, names, self.args), good, {**table, "evaluations": evaluations, "seconds": seconds}


class Results:
    """The file of results, which is written after each setting and read when a run goes on."""

    def __init__(self, name: str, generator: Generator, args: argparse.Namespace) -> None:
        self.name = f"conditional-{name}"
        sampler = settings(generator, args.steps)
        key = {"n": args.n, "seed": args.seed, "steps": sampler.steps, "data": args.data.name}
        self.content: dict[str, Any] = {
            "meta": provenance(args.seed),
            "model": {"name": generator.name, "facts": generator.config.facts},
            "settings": {**key, "batch_size": args.batch_size, "sampler": to_dict(sampler)},
            "seconds": 0.0,
        }
        path = RESULTS / f"{self.name}.json"
        if path.exists() and not args.fresh:
            old = json.loads(path.read_text())
            same = all(old["settings"].get(k) == self.content["settings"][k] for k in (*key, "sampler"))
            if same and old["model"] == self.content["model"]:
                self.content = {**old, "meta": self.content["meta"]}

    def run(self, place: tuple[str, ...], make: Callable[[], dict[str, Any]]) -> None:
        """Put what `make()` returns into a place, unless there is something."""
        table = self.content
        for key in place[:-1]:
            table = table.setdefault(key, {})
        if place[-1] in table:
            return
        start = time.perf_counter()
        table[place[-1]] = finite(make())
        self.content["seconds"] = round(self.content["seconds"] + time.perf_counter() - start, 1)
        write_json(self.name, self.content)
        print("/".join(place), json.dumps(brief(table[place[-1]])), flush=True)


def brief(entry: dict[str, Any]) -> dict[str, Any]:
    """The main numbers of an entry, for the terminal."""
    names = ("mae", "share", "share_valid", "reached", "valid_connected", "novel", "diversity", "seconds")
    values = {name: entry[name] for name in names if name in entry}
    short = {k: v["value"] if isinstance(v, dict) else v for k, v in values.items()} or entry
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in short.items()}


def guided(weight: float, gradient: float, particles: int) -> dict[str, Any]:
    """The wishes of a setting."""
    wishes: dict[str, Any] = {"guidance": weight, "gradient": gradient}
    return wishes | {"reward": "target", "particles": particles} if particles > 1 else wishes


def setting(weight: float, gradient: float, particles: int) -> str:
    """The name of a setting in the file."""
    name = f"guidance {weight:g}" + (f", gradient {gradient:g}" if gradient else "")
    return name + (f", {particles} particles" if particles > 1 else "")


def main() -> None:
    """Run what was asked for, setting by setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--name", help="in the name of the result; the model by default")
    parser.add_argument("--n", type=int, default=100, help="pairs (target, atom count)")
    parser.add_argument("--properties", nargs="+", default=["gap", "polarizability", "dipole"])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--gradients", type=float, nargs="+", default=[0.0])
    parser.add_argument("--particles", type=int, nargs="+", default=[1], help="that compete by closeness to the target")
    parser.add_argument(
        "--tail-weights", type=float, nargs="*", default=[], help="for targets beyond the 99th percentile"
    )
    parser.add_argument("--predict", type=int, default=300, help="test molecules for the property head; 0 for none")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes of the calculations")
    parser.add_argument("--fresh", action="store_true", help="do not go on from the file that is there")
    parser.add_argument(
        "--data", type=Path, default=None, help="the archive; qm9/qm9.npz of the data folder by default"
    )
    args = parser.parse_args()
    rdBase.DisableLog("rdApp.*")
    args.data = args.data or data_root() / "qm9" / "qm9.npz"
    archive, generator = Archive.load(args.data), moldiff.load(args.model)
    results = Results(args.name or Path(args.model).name, generator, args)
    if args.predict:
        results.run(("predictor",), lambda: predictor(generator, archive, args))
    study = Study(generator, archive, args)
    for name in args.properties:
        results.run(("properties", name, "about"), partial(study.about, name))
        for particles, gradient in itertools.product(args.particles, args.gradients):
            for weight in args.weights:
                place = ("properties", name, setting(weight, gradient, particles))
                results.run(place, partial(study.measure, name, weight, gradient, particles))
            for weight in args.tail_weights:
                place = ("properties", name, "tail", setting(weight, gradient, particles))
                results.run(place, partial(study.tail, name, weight, gradient, particles))
    print(RESULTS / f"{results.name}.json")


if __name__ == "__main__":
    main()
