"""`evaluate` for crystals: judge each in workers, compare the set with training and test, or with the truth."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moldiff.crystals import distributions, fingerprints, matching, symmetry
from moldiff.crystals.matching import Crystal
from moldiff.evaluation import crystal_csp, crystal_energies
from moldiff.evaluation.comparison import metric
from moldiff.evaluation.crystal_analyse import failure
from moldiff.evaluation.crystal_definitions import PROTOCOL
from moldiff.evaluation.crystal_inputs import are_crystals, gather_crystals
from moldiff.evaluation.crystal_reference import CrystalReference, find_crystals, is_shipped, of_crystals
from moldiff.evaluation.crystal_reference import fingerprints as make_fingerprints
from moldiff.evaluation.inputs import Structure
from moldiff.evaluation.rates import Metric, rate
from moldiff.evaluation.results import Evaluation, versions
from moldiff.evaluation.workers import Workers

__all__ = ["evaluate_crystals", "wanted"]

STANDARD = "mp20"
DRAWN = 1000
"""Valid structures whose density and number of elements are compared, at most, as in the literature."""
TOLERANCES = {"": matching.STRICT, "_loose": matching.LOOSE}


def evaluate_crystals(
    crystals: Any,
    *,
    reference: Any = "auto",
    csp: Any = None,
    calculator: str | None = None,
    json: str | os.PathLike[str] | None = None,
    csv: str | os.PathLike[str] | None = None,
    jobs: int = 2,
    progress: bool | None = None,
    time_limit: float = 30.0,
    pair_limit: float = 10.0,
    seed: int = 0,
) -> Evaluation:
    """Judge crystals of any origin; `moldiff.evaluate` comes here when its input is periodic.

    Args:
        crystals: see `moldiff.evaluation.crystal_inputs.gather_crystals`.
        reference: see `moldiff.evaluation.crystal_reference.find_crystals`; None compares with nothing, "auto" with
            "mp20" if it is shipped.
        csp: the true crystals, one for each structure in the same order (anything ``crystals`` may be): structure
            prediction is measured instead of coverage. A reference must then be asked for by name.
        calculator: relax every structure that is valid as such with this ASE calculator (`moldiff.crystals.relax`).
        json, csv: where to write the numbers, and one line a structure.
        jobs: worker processes; 0 works in this process, without protection.
        progress: show bars; only on a terminal by default.
        time_limit, pair_limit: wall-clock seconds for one structure, and for one comparison.
        seed: of the bootstrap and of what is drawn at random.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown reference, file type or calculator, or other than one true crystal for each structure.
        ImportError: pymatgen, spglib or smact is missing.
    """
    start = time.perf_counter()
    _require()
    if calculator is not None:
        crystal_energies.check(calculator)
    inputs = gather_crystals(crystals)
    truth = None if csp is None else gather_crystals(csp).structures
    if truth is not None and len(truth) != len(inputs.structures):
        raise ValueError(
            f"{len(inputs.structures)} structures for {len(truth)} true crystals: give one for each, in the same order"
        )
    show = sys.stderr.isatty() if progress is None else progress
    with Workers(jobs, time_limit=time_limit, progress=show) as workers:
        if isinstance(reference, str) and reference == "auto":
            reference = STANDARD if csp is None and is_shipped(STANDARD) else None
        known = None if reference is None else find_crystals(reference, workers)
        prints = importlib.util.find_spec("matminer") is not None and (truth is None or known is not None)
        run = _Run(workers, known, prints, pair_limit, seed)
        compare = truth is None or known is not None
        sample = run.judge(inputs.structures, "structures", compare=compare)
        table = run.rates(sample)
        if compare:
            table |= run.distinct(sample) | run.resembling(sample, intervals=True)
        floor = {} if known is None else run.floor(known, len(sample.rows))
        if truth is not None:
            payloads = [None if one.payload is None else one.payload[1] for one in truth]
            table |= crystal_csp.predicted(workers, sample.crystals, payloads, sample.rows, limit=pair_limit, seed=seed)
        if calculator is not None:
            table |= crystal_energies.energies(workers, sample.crystals, sample.rows, calculator, seed=seed)
    for name, one in table.items():
        one["floor"] = floor.get(name, {}).get("value")
    meta = {
        "input": inputs.name,
        "structures": len(sample.rows),
        "protocol": PROTOCOL,
        "reference": None if known is None else _described(known, len(sample.rows)),
        "reasons": dict(Counter(row["reason"] for row in sample.rows).most_common()),
        "notes": [*inputs.notes, *([] if known is None else known.notes), *_notes(sample, prints, compare)],
        "space_groups": symmetry.histogram(row["spacegroup"] for row in sample.rows),
        "calculator": calculator,
        "seed": seed,
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    result = Evaluation(table, rows=sample.rows, meta=meta)
    if json is not None:
        result.to_json(json)
    if csv is not None:
        result.to_csv(csv)
    return result


@dataclass
class _Sample:
    """A set of crystals that were judged: lines, the crystals, fingerprints (NaN where none) and reduced cells."""

    rows: list[dict[str, Any]]
    crystals: list[Crystal | None]
    prints: NDArray[np.float64]
    small: list[Crystal | None] = field(default_factory=list)


@dataclass
class _Run:
    """The options of one evaluation, so that samples and floor go through the same steps."""

    workers: Workers
    reference: CrystalReference | None
    prints: bool
    pair_limit: float
    seed: int

    def judge(
        self,
        structures: Sequence[Structure],
        label: str,
        *,
        compare: bool = True,
        prints: NDArray[np.float64] | None = None,
    ) -> _Sample:
        """Every crystal on its own; ``prints`` are fingerprints known already, ``compare`` asks for reduced cells."""
        crystals = [None if one.payload is None else one.payload[1] for one in structures]
        rows = [failure(one.reason, one.message) for one in structures]
        for place, (status, result) in self._each("judge", crystals, label):
            rows[place] = result if status == "ok" else failure(status, str(result))
        for place, (row, one) in enumerate(zip(rows, structures, strict=True)):
            rows[place] = {"index": place, "source": one.source, **row}
        measurable = [
            c if math.isfinite(r.get("density", math.nan)) else None for c, r in zip(crystals, rows, strict=True)
        ]
        if prints is None:
            prints = np.full((len(rows), fingerprints.STRUCTURE_SIZE), math.nan)
            if self.prints:
                places = [i for i, c in enumerate(measurable) if c is not None]
                found = make_fingerprints([c for c in measurable if c is not None], self.workers, label="fingerprints")
                prints[places] = found
        sample = _Sample(rows, crystals, prints)
        for row, one in zip(rows, prints, strict=True):
            row["fingerprint"] = bool(np.isfinite(one).all())
            row["valid"] = row["structure_valid"] and row["composition_valid"]
            if self.prints and row["valid"] and not row["fingerprint"]:
                row |= {"valid": False, "reason": "fingerprint", "message": "CrystalNN finds no fingerprint in time"}
        sample.small = [None] * len(rows)
        if compare:
            for place, (status, result) in self._each("reduced", measurable, "reduced cells"):
                sample.small[place] = result if status == "ok" else None
        return sample

    def _each(self, function: str, crystals: Sequence[Crystal | None], label: str) -> list[tuple[int, Any]]:
        places = [place for place, crystal in enumerate(crystals) if crystal is not None]
        items = [crystals[place] for place in places]
        outcomes = self.workers.run(f"moldiff.evaluation.crystal_analyse:{function}", items, label=label)
        return list(zip(places, outcomes, strict=True))

    def rates(self, sample: _Sample) -> dict[str, Metric]:
        """What each crystal tells alone."""
        total = len(sample.rows)
        names = ("valid", "structure_valid", "structure_valid_images", "composition_valid")
        table = {name: rate(sum(row[name] for row in sample.rows), total) for name in names}
        return table | {"p1_share": rate(sum(row["spacegroup"] == 1 for row in sample.rows), total)}

    def distinct(self, sample: _Sample) -> dict[str, Metric]:
        """Unique among the valid, novel among the unique, and how many of all are training crystals."""
        rows, total = sample.rows, len(sample.rows)
        table: dict[str, Metric] = {}
        valid = [place for place, row in enumerate(rows) if row["valid"]]
        there = [crystal for crystal in sample.small if crystal is not None]
        known = [] if self.reference is None else self.reference.training_like(there)
        names, training = [name for name, _ in known], self._reduced([crystal for _, crystal in known])
        for suffix, tolerances in TOLERANCES.items():
            ask = self._ask(tolerances)
            leaders = matching.distinct([sample.small[place] for place in valid], ask)
            firsts = {place for number, place in enumerate(valid) if leaders[number] == number}
            for place in valid:
                rows[place][f"unique{suffix}"] = place in firsts
            table[f"unique{suffix}"] = rate(len(firsts), len(valid))
            if self.reference is None:
                continue
            # memorising is asked of all structures, but only once: by the headline's tolerances
            probes = [c if not suffix or p in firsts else None for p, c in enumerate(sample.small)]
            found = matching.seen(probes, training, ask)
            novel = [place for place in firsts if found[place] is None]
            for place in firsts:
                rows[place][f"novel{suffix}"] = found[place] is None
            table[f"novel{suffix}"] = rate(len(novel), len(firsts))
            if not suffix:
                table["vun"] = rate(len(novel), total)
                copies = [(p, c) for p, c in enumerate(found) if c is not None and c != matching.UNKNOWN]
                for place, copy in copies:
                    rows[place]["training_match"] = names[copy]
                table["memorised"] = rate(len(copies), total)
        return table

    def _reduced(self, crystals: Sequence[Crystal]) -> list[Crystal | None]:
        found: list[Crystal | None] = [None] * len(crystals)
        for place, (status, result) in self._each("reduced", crystals, "training crystals"):
            found[place] = result if status == "ok" else None
        return found

    def _ask(self, tolerances: Sequence[float]) -> matching.Ask:
        def ask(pairs: Sequence[tuple[Crystal, Crystal]]) -> list[bool | None]:
            outcomes = self.workers.run(
                "moldiff.evaluation.crystal_analyse:match",
                pairs,
                label="comparisons",
                time_limit=self.pair_limit,
                options={"tolerances": tuple(tolerances)},
            )
            return [bool(one.result) if one.status == "ok" else None for one in outcomes]

        return ask

    def resembling(self, sample: _Sample, *, intervals: bool) -> dict[str, Metric]:
        """Coverage, density and number of elements, against the test set."""
        reference, total = self.reference, len(sample.rows)
        if reference is None or not len(reference.test):
            return {}
        table: dict[str, Metric] = {}
        fine: NDArray[np.bool_] = np.asarray(np.isfinite(reference.test_fingerprints).all(axis=1))
        if self.prints and fine.any():
            tested = [crystal for crystal, kept in zip(reference.covered(), fine.tolist(), strict=True) if kept]
            places = [i for i, (c, p) in enumerate(zip(sample.crystals, sample.prints, strict=True))
                      if c is not None and np.isfinite(p).all()]  # fmt: skip
            covered = distributions.coverage(
                sample.prints[places],
                _compositions([sample.crystals[i] for i in places]),
                reference.test_fingerprints[fine],
                _compositions(tested),
            )
            for row in sample.rows:
                row["covered"] = False
            for place, yes in zip(places, covered.precise.tolist(), strict=True):
                sample.rows[place]["covered"] = yes
            table["cov_recall"] = rate(int(covered.recalled.sum()), len(tested))
            table["cov_precision"] = rate(int(covered.precise.sum()), total)
        valid = np.flatnonzero([row["valid"] for row in sample.rows])
        drawn = np.random.default_rng(self.seed).permutation(valid)[:DRAWN].tolist()
        atoms = np.concatenate([[0], np.cumsum(reference.test.n_atoms.astype(np.int64))])
        kinds = [reference.test.atomic_numbers[atoms[i] : atoms[i + 1]] for i in range(len(reference.test))]
        truth: dict[str, list[float]] = {
            "density": [distributions.density(z, c) for z, c in zip(kinds, reference.test.lattice, strict=True)],
            "elements": [float(len(np.unique(z))) for z in kinds],
        }
        for name, values in truth.items():
            own = [sample.rows[i][name] for i in drawn]
            interval = distributions.bootstrap(own, values, seed=self.seed) if intervals else (math.nan, math.nan)
            table[f"w1_{name}"] = metric(distributions.wasserstein(own, values), interval, len(own), total)
        return table

    def floor(self, reference: CrystalReference, count: int) -> dict[str, Metric]:
        """As many training crystals against the test set; what training has no say in, test crystals against it."""
        train, test = (
            [Structure("", ("crystal", crystal)) for crystal in reference.sample(split, count)]
            for split in ("train", "test")
        )
        table: dict[str, Metric] = {}
        if train:
            sample = self.judge(train, "floor", compare=False, prints=reference.train_fingerprints[: len(train)])
            table |= self.rates(sample) | self.resembling(sample, intervals=False)
        if test:
            unknown = np.zeros((len(test), fingerprints.STRUCTURE_SIZE))
            table |= self.distinct(self.judge(test, "floor", prints=unknown))
        return table


def wanted(what: Any, reference: Any) -> bool:
    """Whether an input is to be judged as crystals: by its content, and where it has none by the reference."""
    periodic = are_crystals(what)
    return of_crystals(reference) if periodic is None else periodic


def _compositions(crystals: Sequence[Crystal | None]) -> NDArray[np.float64]:
    found = [fingerprints.composition_fingerprint(crystal[0]) for crystal in crystals if crystal is not None]
    return np.array(found).reshape(len(found), fingerprints.COMPOSITION_SIZE)


def _described(reference: CrystalReference, count: int) -> dict[str, Any]:
    return {
        "name": reference.data,
        "source": reference.source,
        "train": len(reference.train),
        "test": len(reference.test),
        "covered": len(reference.test_rows),
        "floor_n": min(count, len(reference.train_rows)),
    }


def _notes(sample: _Sample, prints: bool, compared: bool) -> list[str]:
    if not compared:
        return ["structure prediction: valid does not ask for a fingerprint"]
    notes = []
    if not prints:
        notes.append("matminer is not installed: valid does not ask for a fingerprint, and there is no coverage")
    lost = sum(row["structure_valid"] and small is None for row, small in zip(sample.rows, sample.small, strict=True))
    if lost:
        notes.append(f"{lost} valid structures could not be reduced for comparison and count as not unique")
    return notes


def _require() -> None:
    for module in ("pymatgen", "spglib", "smact"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"{module} is not installed; install the extra: pip install 'moldiff[crystal]'")
