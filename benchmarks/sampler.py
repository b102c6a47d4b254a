"""One setting of the sampler changed at a time, on the same weights, sizes and seeds.

    python benchmarks/sampler.py runs/qm9 -n 400 --seed 1000
    python benchmarks/sampler.py qm9 -n 250 --steps 5 10 20 50 100 250 --settings "as shipped" --out curve

Writes benchmarks/results/sampler.json, or another name, as it goes: V&C, stability, unique, MMFF94 energy drop, rings,
aromatic share and share of hydrogen of each setting at each number of steps. Settings change one thing of the shipped
ones, but for the three with "order" in their names, which are those of before. With fewer steps than the model's own
churn, temperature and the steps that draw anew are less, as in every sample of so few (`SamplerConfig.in_steps`), but
for "settings of 50 steps". What comes to the same sampler as something before it is not drawn again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

from common import median_interval, provenance, write_json

import moldiff
from moldiff.config import SamplerConfig
from moldiff.molecules.energy import mmff_drop
from moldiff.molecules.summary import rate, summary
from moldiff.molecules.validity import Verdict

OLD = {"density": 2.0, "last": 0.0, "temperature": 1.0, "redraw": 0, "closed_shell": False}
STEADY = "settings of 50 steps"
SETTINGS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    STEADY: {},
    "first order, churn 0.4": {**OLD, "order": 1, "churn": 0.4},
    "first order": {**OLD, "order": 1, "churn": 0.0},
    "second order": {**OLD, "order": 2, "churn": 0.0},
    "no churn": {"churn": 0.0},
    "churn 0.4": {"churn": 0.4},
    "churn 0.8": {"churn": 0.8},
    "no re-masking": {"remask": 0.0},
    "re-masking 10": {"remask": 10.0},
    "re-masking 50": {"remask": 50.0},
    "temperature 1": {"temperature": 1.0},
    "temperature 0.9": {"temperature": 0.9},
    "temperature 0.8": {"temperature": 0.8},
    "confidence 0.3": {"confidence": 0.3},
    "grid density 2": {"density": 2.0},
    "grid density 2.7": {"density": 2.7},
    "whole clock": {"last": 0.0},
    "bonds not drawn anew": {"redraw": 0},
    "any number of electrons": {"closed_shell": False},
    "neither": {"redraw": 0, "closed_shell": False},
}


def samplers(shipped: SamplerConfig, names: Sequence[str], steps: Sequence[int]) -> dict[SamplerConfig, str]:
    """Each different sampler of these settings and numbers of steps, with the first setting that it comes from."""
    found: dict[SamplerConfig, str] = {}
    for name, count in itertools.product(names, steps):
        changed = dataclasses.replace(shipped, **SETTINGS[name])
        found.setdefault(dataclasses.replace(changed, steps=count) if name == STEADY else changed.in_steps(count), name)
    return found


def judged(verdicts: list[Verdict]) -> dict[str, Any]:
    """What is compared of the structures drawn with one setting."""
    mols = [v.mol for v in verdicts if v.valid_connected and v.mol is not None]
    found = [mmff_drop(mol) for mol in mols]
    rates = summary(verdicts)
    # validity must not be bought with diversity: what the valid molecules are made of
    atoms = sum(mol.GetNumAtoms() for mol in mols)
    hydrogens = sum(atom.GetAtomicNum() == 1 for mol in mols for atom in mol.GetAtoms())
    return {
        **{name: rates[name] for name in ("valid_connected", "molecule_stable", "atom_stable", "unique")},
        "mmff_drop": median_interval([value[0] for value in found if value is not None]),
        "rings": sum(mol.GetRingInfo().NumRings() for mol in mols) / max(len(mols), 1),
        "aromatic": rate(sum(any(atom.GetIsAromatic() for atom in mol.GetAtoms()) for mol in mols), len(mols)),
        "hydrogen": hydrogens / max(atoms, 1),
    }


def main() -> None:
    """Sample with each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--out", default="sampler")
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    results: list[dict[str, Any]] = []
    for config, name in samplers(generator.sampler, args.settings, args.steps).items():
        generator.sampler = config
        start = time.perf_counter()
        verdicts = [item.verdict for item in generator.stream(args.n, seed=args.seed)]
        result = {"setting": name, "steps": config.steps, "sampler": dataclasses.asdict(config), **judged(verdicts)}
        results.append(result)
        both, drop = result["valid_connected"], result["mmff_drop"]
        share = f"{100 * both['value']:.1f} ({100 * both['low']:.1f}-{100 * both['high']:.1f}) %"
        strain = f"{drop['value']:.2f} ({drop['low']:.2f}-{drop['high']:.2f}) kcal/mol"
        print(
            f"{name:24} {config.steps:4} steps: V&C {share}, MMFF94 drop {strain}, "
            f"aromatic {100 * result['aromatic']['value']:.1f} %, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        content = {"meta": provenance(args.seed), "n": args.n, "facts": generator.config.facts, "results": results}
        write_json(args.out, content)


if __name__ == "__main__":
    main()
