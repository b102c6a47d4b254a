"""One setting of the sampler changed at a time, on the same weights, sizes and seeds.

    python benchmarks/sampler.py runs/qm9 -n 400 --seed 1000

Writes benchmarks/results/sampler.json: V&C, stability, unique, MMFF94 energy drop, rings and aromatic share of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

from common import median_interval, provenance, write_json

import moldiff
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.summary import rate, summary

SETTINGS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "no churn": {"churn": 0.0},
    "churn 0.2": {"churn": 0.2},
    "churn 0.8": {"churn": 0.8},
    "no re-masking": {"remask": 0.0},
    "re-masking 10": {"remask": 10.0},
    "re-masking 50": {"remask": 50.0},
    "temperature 0.9": {"temperature": 0.9},
    "confidence 0.5": {"confidence": 0.5},
    "confidence 2": {"confidence": 2.0},
    "grid density 1": {"density": 1.0},
    "grid density 2": {"density": 2.0},
}


def main() -> None:
    """Sample with each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    shipped = dataclasses.replace(generator.sampler, steps=args.steps)
    results: dict[str, Any] = {}
    for name in args.settings:
        generator.sampler = dataclasses.replace(shipped, **SETTINGS[name])
        start = time.perf_counter()
        verdicts = [item.verdict for item in generator.stream(args.n, seed=args.seed)]
        seconds = time.perf_counter() - start
        found = [mmff_drop(v.mol) for v in verdicts if v.valid_connected and v.mol is not None]
        rates = summary(verdicts)
        chosen = {k: rates[k] for k in ("valid_connected", "molecule_stable", "atom_stable", "unique")}
        drop = median_interval([value[0] for value in found if value is not None])
        # validity must not be bought with diversity: what the valid molecules are made of
        mols = [v.mol for v in verdicts if v.valid_connected and v.mol is not None]
        rings = sum(mol.GetRingInfo().NumRings() for mol in mols) / max(len(mols), 1)
        aromatic = rate(sum(any(atom.GetIsAromatic() for atom in mol.GetAtoms()) for mol in mols), len(mols))
        results[name] = {
            "sampler": dataclasses.asdict(generator.sampler),
            **chosen,
            "mmff_drop": drop,
            "rings": rings,
            "aromatic": aromatic,
        }
        both = rates["valid_connected"]
        print(
            f"{name:18} V&C {100 * both['value']:.1f} ({100 * both['low']:.1f}-{100 * both['high']:.1f}) %, MMFF94 "
            f"drop {drop['value']:.2f} ({drop['low']:.2f}-{drop['high']:.2f}) kcal/mol, {seconds:.0f} s",
            flush=True,
        )
        content = {"meta": provenance(args.seed), "n": args.n, "facts": generator.config.facts, "results": results}
        write_json("sampler", content)


if __name__ == "__main__":
    main()
