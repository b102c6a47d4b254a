"""`evaluate`: judge every structure in worker processes, count, compare, and do so with held-out molecules."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.data.reference import Reference
from moldiff.evaluation import chemnet, comparison, crystals, energies, rates, references
from moldiff.evaluation.analyse import failure
from moldiff.evaluation.definitions import DEFINITIONS
from moldiff.evaluation.inputs import Inputs, Structure, gather
from moldiff.evaluation.rates import Metric
from moldiff.evaluation.results import Evaluation, versions
from moldiff.evaluation.workers import Workers

__all__ = ["evaluate"]

PROTOCOLS = ("auto", "bonds", "edm", "edm-geom")
HYDROGENS = ("explicit", "implicit")
BUSTED = 200
"""Structures that PoseBusters tests unless told how many: 0.17 s each, on either side of the floor."""
COPY = 0.1
"""Angstrom: heavy-atom RMSD to a training geometry under which a molecule is a copy."""


def evaluate(
    mols: Any,
    *,
    reference: Any = "auto",
    protocol: str = "auto",
    hydrogens: str = "explicit",
    json: str | os.PathLike[str] | None = None,
    csv: str | os.PathLike[str] | None = None,
    xtb: int = 0,
    posebusters: int | bool = False,
    csp: Any = None,
    calculator: str | None = None,
    jobs: int = 2,
    progress: bool | None = None,
    time_limit: float = 30.0,
    seed: int = 0,
) -> Evaluation:
    """Judge molecules or crystals of any origin: every number with its definition, denominator, interval and floor.

    A structure that cannot be read, crashes or takes too long is a failure with a reason and stays in every
    denominator. The floor of a number is the same number for held-out real molecules, as many as there are structures
    (or as many as the reference has). Where fcd_torch is installed, the Frechet ChemNet distance is there, too.

    Args:
        mols: a file (SDF, XYZ, extended XYZ, SMILES, each also with .gz, or an .npz archive), a pattern or a list of
            them; or a list of `rdkit.Chem.Mol`, `ase.Atoms` and None, or what ``Generator.sample`` returned. Periodic
            structures (CIF, POSCAR, extended XYZ, ASE databases, an archive of crystals, `ase.Atoms` with a cell) are
            judged as crystals: see `moldiff.evaluation.crystals.evaluate_crystals`.
        reference: a shipped model ("qm9", "mp20"), an archive, a file of structures, or None for no comparison; "auto"
            is "qm9" for molecules and "mp20" for crystals.
        protocol: "bonds" judges bonds as given (strict), "edm" finds them by EDM's distance table (H, C, N, O, F),
            "edm-geom" by its rules for GEOM-Drugs (sixteen elements), "auto" takes bonds where there are any, else
            "edm".
        hydrogens: "explicit" judges exactly the atoms given; "implicit" lets RDKit fill in hydrogens and says "not
            applicable" to what needs them.
        json, csv: where to write the numbers, and one line a structure.
        xtb: relax so many valid molecules with GFN2-xTB (extra ``xtb``).
        posebusters: run PoseBusters' tests for molecules (extra ``posebusters``) on so many structures, drawn at random
            from all of them, so that those that are not valid are among its failures; True is 200.
        csp: crystals only: the true crystals, one for each, to measure structure prediction.
        calculator: crystals only: relax with this ASE calculator, a name of ASE's or "module:factory".
        jobs: worker processes; 0 works in this process, where a crash is a crash.
        progress: show bars; only on a terminal by default.
        time_limit: wall-clock seconds for one structure.
        seed: of the bootstrap and of what is drawn at random.

    Returns:
        `Evaluation`: ``str()`` is a table; ``metrics``, ``definitions``, ``rows``, ``meta``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an option out of range, an unknown reference or file type, or a file without a readable structure.
        ImportError: an extra is not installed.
    """
    start = time.perf_counter()
    tested = BUSTED if posebusters is True else int(posebusters)
    _check(protocol, hydrogens, xtb, tested, json, csv)
    if isinstance(mols, Iterator):
        mols = list(mols)
    if crystals.wanted(mols, reference):
        if xtb or posebusters or protocol != "auto" or hydrogens != "explicit":
            raise ValueError("xtb, posebusters, protocol and hydrogens are for molecules, and the input is crystals")
        return crystals.evaluate_crystals(
            mols,
            reference=reference,
            csp=csp,
            calculator=calculator,
            json=json,
            csv=csv,
            jobs=jobs,
            progress=progress,
            time_limit=time_limit,
            seed=seed,
        )
    if csp is not None or calculator is not None:
        raise ValueError("csp and calculator are for crystals, and the input is molecules")
    reference = "qm9" if isinstance(reference, str) and reference == "auto" else reference
    energies.require(xtb=xtb > 0, posebusters=tested > 0)
    inputs = gather(mols, hydrogens=hydrogens)
    if protocol == "auto":
        protocol = "bonds" if inputs.with_bonds or not inputs.structures else "edm"
    if protocol != "bonds" and hydrogens == "implicit":
        raise ValueError(f"protocol {protocol!r} needs all hydrogens: hydrogens='implicit' goes with bonds only")
    show = sys.stderr.isatty() if progress is None else progress
    with Workers(jobs, time_limit=time_limit, progress=show) as workers:
        known, notes = (None, []) if reference is None else references.find(reference, workers)
        run = _Run(workers, known, protocol, hydrogens, xtb, tested, seed)
        sample = run.judge(inputs.structures, "structures")
        flags = [structure.embedded for structure in inputs.structures if structure.payload is not None]
        embedded = any(flags) or not flags
        metrics, types = run.metrics(sample, embedded=embedded, intervals=True)
        held = run.held_out(len(inputs.structures))
        floor: dict[str, Metric] = {}
        floor_types: dict[str, dict[str, float]] = {}
        if held:
            floor, floor_types = run.metrics(run.judge(held, "floor"), embedded=embedded, intervals=False)
    for name, metric in metrics.items():
        metric["floor"] = floor.get(name, {}).get("value")
    meta = {
        "input": inputs.name,
        "structures": len(sample),
        "protocol": protocol,
        "hydrogens": hydrogens,
        "reference": None
        if known is None
        else {
            "name": known.data,
            "train_smiles": len(known.train),
            "profiled": 0 if known.profile is None else known.profile.structures,
            "floor_n": len(held),
        },
        "reasons": dict(Counter(result.row["reason"] for result in sample).most_common()),
        "notes": [*inputs.notes, *notes, *_notes(inputs, sample, known, held, protocol, hydrogens)],
        "types": types,
        "types_floor": floor_types,
        "seed": seed,
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    result = Evaluation(metrics, rows=[one.row for one in sample], meta=meta)
    if json is not None:
        result.to_json(json)
    if csv is not None:
        result.to_csv(csv)
    return result


@dataclass
class _Judged:
    """A structure's line, and where it is valid and in one piece, its measures and the molecule as bytes."""

    row: dict[str, Any]
    measured: dict[str, Any] | None = None
    mol: bytes | None = None


@dataclass
class _Run:
    """The options of one evaluation, so that samples and floor go through the same steps."""

    workers: Workers
    reference: Reference | None
    protocol: str
    hydrogens: str
    xtb: int
    posebusters: int
    seed: int
    known: np.ndarray | None = None
    training: chemnet.Gaussian | None = None

    def judge(self, structures: Sequence[Structure], label: str) -> list[_Judged]:
        """Every structure on its own, in worker processes."""
        judged: list[_Judged | None] = [None] * len(structures)
        for embedded in (True, False):
            places = [i for i, s in enumerate(structures) if s.payload is not None and s.embedded is embedded]
            if not places:
                continue
            outcomes = self.workers.run(
                "moldiff.evaluation.analyse:analyse",
                [structures[i].payload for i in places],
                label=label,
                options={"protocol": self.protocol, "hydrogens": self.hydrogens, "embedded": embedded},
            )
            for i, (status, result) in zip(places, outcomes, strict=True):
                if status == "ok":
                    judged[i] = _Judged(**result)
                else:
                    judged[i] = _Judged(failure(status, str(result)))
        for i, structure in enumerate(structures):
            one = judged[i] or _Judged(failure(structure.reason, structure.message))
            one.row = {"index": i, "source": structure.source, **one.row}
            judged[i] = one
        return [one for one in judged if one is not None]

    def held_out(self, count: int) -> list[Structure]:
        """As many held-out molecules, or as many as there are."""
        archive = None if self.reference is None else self.reference.held_out
        if archive is None:
            return []
        records = [archive.record(i) for i in range(min(count, len(archive)))]
        return [Structure("", ("arrays", (r.numbers, r.positions, r.charges, r.bonds))) for r in records]

    def metrics(
        self, judged: Sequence[_Judged], *, embedded: bool, intervals: bool
    ) -> tuple[dict[str, Metric], dict[str, dict[str, float]]]:
        """All numbers of a set, ``embedded`` or without coordinates, and the geometry's distances by type."""
        rows, total = [one.row for one in judged], len(judged)
        reference = self.reference
        training = None if reference is None else reference.train
        if self.protocol != "bonds":
            edm = None if reference is None or self.protocol != "edm" else reference.train_edm
            table = rates.rates(rows, edm, protocol="edm") | rates.determine_bonds(rows, training)
        else:
            table = rates.rates(rows, training, protocol="bonds")
        good = [one for one in judged if one.measured is not None]
        if embedded:
            table |= energies.mmff(rows, total, seed=self.seed)
        measured = [one.measured for one in good if one.measured is not None]
        types: dict[str, dict[str, float]] = {}
        if reference is not None and reference.profile is not None:
            found, types = comparison.compare(
                measured, reference.profile, total, embedded=embedded, seed=self.seed, intervals=intervals
            )
            table |= found
        table |= self._similar(good, measured, total, intervals)
        if reference is not None:
            table |= self._memorised(good)
        binaries = [one.mol for one in good if one.mol is not None]
        if self.xtb:
            table |= energies.relaxed(self.workers, binaries, self.xtb, rows=[one.row for one in good], seed=self.seed)
        if self.posebusters:
            mols = [None if one.measured is None else one.mol for one in judged]
            table |= energies.busted(self.workers, mols, self.posebusters, rows=rows, seed=self.seed)
        if self.hydrogens == "implicit":
            needy = [name for name in DEFINITIONS if name in table and DEFINITIONS[name].hydrogens]
            table |= {name: comparison.metric(math.nan, (math.nan, math.nan), 0, total) for name in needy}
        return table, types

    def _similar(
        self, good: Sequence[_Judged], measured: Sequence[Mapping[str, Any]], total: int, intervals: bool
    ) -> dict[str, Metric]:
        if not measured:
            return {}
        packed = np.stack([m["fingerprint"] for m in measured])
        known = np.zeros((0, packed.shape[1]), np.uint8)
        profile = None if self.reference is None else self.reference.profile
        if profile is not None:
            known = self.known = self._fingerprints(profile.smiles) if self.known is None else self.known
        table = comparison.similar(packed, known, total, seed=self.seed)
        name = "smiles" if self.protocol == "bonds" else "determine_bonds_smiles"
        if profile is not None and chemnet.installed():
            show = self.workers.progress
            if self.training is None:
                self.training = chemnet.known(profile.smiles, progress=show)
            values = chemnet.activations([one.row[name] for one in good], progress=show)
            table |= chemnet.frechet(values, self.training, total, seed=self.seed, intervals=intervals)
        return table

    def _fingerprints(self, smiles: Sequence[str]) -> np.ndarray:
        outcomes = self.workers.run("moldiff.evaluation.analyse:fingerprint_of", smiles, label="fingerprints")
        found = [outcome.result for outcome in outcomes if outcome.status == "ok"]
        return np.stack(found) if found else np.zeros((0, 128), np.uint8)

    def _memorised(self, good: Sequence[_Judged]) -> dict[str, Metric]:
        """How many are in training, and how near to a training geometry those are."""
        name = "smiles" if self.protocol == "bonds" else "determine_bonds_smiles"
        if self.reference is None:
            return {}
        seen = [one for one in good if one.row[name] in self.reference.train]
        table = {"in_training": rates.rate(len(seen), len(good))}
        embedded = [one for one in seen if one.measured is not None and one.measured["internals"] is not None]
        if not embedded:
            return table
        geometries = self.reference.geometries({one.row[name] for one in embedded})
        tasks = [(one.mol, geometries[one.row[name]]) for one in embedded if one.row[name] in geometries]
        rows = [one.row for one in embedded if one.row[name] in geometries]
        if not tasks:
            return table
        outcomes = self.workers.run("moldiff.evaluation.analyse:training_rmsd", tasks, label="memorisation")
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome.status == "ok":
                row["training_rmsd"] = outcome.result
        found = np.array([outcome.result for outcome in outcomes if outcome.status == "ok"], dtype=np.float64)
        table["memorised_rmsd"] = comparison.median(found, len(seen), seed=self.seed)
        table["copied"] = rates.rate(int((found < COPY).sum()), len(good))
        return table


def _check(
    protocol: str,
    hydrogens: str,
    xtb: int,
    posebusters: int,
    json: str | os.PathLike[str] | None,
    csv: str | os.PathLike[str] | None,
) -> None:
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol={protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    if hydrogens not in HYDROGENS:
        raise ValueError(f"hydrogens={hydrogens!r} is unknown; choose one of {', '.join(HYDROGENS)}")
    if xtb < 0:
        raise ValueError(f"xtb = {xtb}; give the number of molecules to relax, or 0")
    if posebusters < 0:
        raise ValueError(f"posebusters = {posebusters}; give the number of structures to test, True for 200, or 0")
    for path in (json, csv):
        if path is not None and not Path(path).expanduser().absolute().parent.is_dir():
            raise ValueError(f"cannot write {os.fspath(path)}: its folder does not exist; create it first")


def _notes(
    inputs: Inputs,
    judged: Sequence[_Judged],
    reference: Reference | None,
    held: Sequence[Structure],
    protocol: str,
    hydrogens: str,
) -> list[str]:
    """What a reader must know to read the table rightly."""
    notes = []
    if protocol == "bonds" and hydrogens == "explicit" and judged:
        radicals = sum(one.row["radical"] for one in judged)
        if radicals > len(judged) / 2:
            notes.append(
                "most structures lack hydrogens; if they are implied: --hydrogens implicit, hydrogens='implicit'"
            )
    if inputs.structures and not any(structure.embedded for structure in inputs.structures if structure.payload):
        notes.append("there are no coordinates: nothing is said about geometry or energy")
    if reference is not None and held and len(held) < len(judged):
        notes.append(f"the floor is of {len(held)} test molecules, fewer than the {len(judged)} structures")
    if reference is not None and reference.profile is None:
        notes.append(f"the reference {reference.data} has no distributions: it serves for novelty only")
    if reference is not None and protocol == "edm-geom":
        notes.append("novelty under EDM's rules for GEOM-Drugs is not computed; DetermineBonds has its own")
    if reference is not None and protocol == "edm" and reference.train_edm is None:
        notes.append("novelty under the EDM protocol is unknown: the reference was made by another RDKit or has none")
    if inputs.with_bonds and protocol != "bonds":
        notes.append("the bonds of the input were not used")
    return notes
