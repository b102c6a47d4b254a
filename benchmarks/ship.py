"""Put a run's weights into the package, with their reference file, their card and their headline numbers.

    python benchmarks/ship.py runs/qm9 --name qm9 --data qm9 --quality benchmarks/results/molecules-qm9-50.json
    python benchmarks/ship.py runs/mp20 --name mp20 --data mp20 \\
        --quality benchmarks/results/crystals-mp20-denovo-50.json benchmarks/results/crystals-mp20-csp-50.json
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import moldiff
from moldiff.config import to_dict
from moldiff.data.crystal_archive import CrystalArchive
from moldiff.data.reference import Reference
from moldiff.data.sizes import SizeTable
from moldiff.evaluation.crystal_reference import CrystalReference
from moldiff.generator import crystal_plan, given
from moldiff.shipped import FOLDER, REFERENCE, WEIGHTS
from moldiff.training.run import open_archive

#: Where MP-20 comes from.
SOURCE = "MP-20 (Xie et al. 2022) from the Materials Project, CC BY 4.0"

CARD = """# {name}

Molecules of the kind of {data}: {elements}; {smallest} to {largest} atoms, hydrogens included. Trained by the project
with the code in this repository; weights under the licence of the code (MIT).

**Data.** {count} training molecules of QM9 (Ramakrishnan et al. 2014, CC0) without fluorine, B3LYP/6-31G(2df,p)
geometries, bonds and charges perceived by RDKit. See `datasets/qm9`.

**Run.** {parameters:.2f} million parameters, {passes} molecule passes, {hours} hours in all on {hardware}; the last run
made {steps} steps in batches of {batch}, seed {seed}. Averaged weights, float16.{more}

**Conditions.** {properties}. Energies, dipole and polarisability are GFN2-xTB values at the B3LYP geometries, not B3LYP
values.

**Measured** on {drawn} samples, {sampler_steps} steps, nothing filtered (commit {commit}; 95 % intervals; the last
column is the same on as many test molecules). Definitions: `moldiff/evaluation/definitions.py`.

| | value | interval | count | test molecules |
|---|---|---|---|---|
{rows}

**Limits.** It knows no other elements, no charges beyond -1 to 1 and nothing larger than {largest} atoms. Samples are
candidates: valid and locally relaxed does not mean stable, synthesisable or safe.
"""

CRYSTAL_CARD = """# {name}

Crystals of the kind of {data}: {elements}; {smallest} to {largest} atoms a primitive cell. Trained by the project with
the code in this repository; weights under the licence of the code (MIT).

**Data.** {count} training crystals of MP-20 (Xie et al. 2022; Materials Project, CC BY 4.0, Jain et al. 2013), Niggli
cells. See `datasets/mp20`.

**Run.** {parameters:.2f} million parameters, {passes} crystal passes, {hours} hours in all on {hardware}; the last run
made {steps} steps in batches of {batch}, seed {seed}. Averaged weights, float16.{more}

**Conditions.** {properties}: values of the Materials Project (PBE or PBE+U); space groups by spglib, 0.1 angstrom.

**Measured** on {drawn} samples from nothing and {predicted} compositions of the test set, {sampler_steps} steps,
nothing filtered (commit {commit}; 95 % intervals; the last column is the same on real crystals). Definitions:
`moldiff/evaluation/definitions.py`.

| | value | interval | count | real crystals |
|---|---|---|---|---|
{rows}

**Limits.** Nothing is relaxed and no energy is computed: valid does not mean stable. Nothing larger than {largest}
atoms, no disorder, no molecules. The cell is one of many settings of a crystal.
"""

CRYSTAL_ROWS = {
    "structure_valid": "structure valid",
    "composition_valid": "composition valid",
    "unique": "unique",
    "novel": "novel",
    "cov_precision": "COV-P",
    "w1_density": "W1 density, g/cm3",
    "w1_elements": "W1 number of elements",
    "p1_share": "space group P1",
    "match_rate": "structure prediction, match rate",
    "match_rmse": "structure prediction, RMSE of matches",
}
#: Facts that not every run has, and how the card puts them.
MORE = {"narrowed": "Narrowed", "teacher": "Taught by weights called", "distilled": "Distilled", "mean": "Added up:"}
#: Rows that are no shares.
PLAIN = ("mmff_drop", "w1_density", "w1_elements", "match_rmse")

ROWS = {
    "valid_connected": "valid and connected",
    "valid_connected_published": "the same as published codes count it",
    "molecule_stable": "molecule stable",
    "atom_stable": "atom stable",
    "unique": "unique, of valid",
    "novel": "novel, of unique",
    "mmff_drop": "MMFF94 energy drop, median, kcal/mol",
}


def row(name: str, metric: dict[str, Any]) -> str:
    """One line of the card's table."""
    label = (ROWS | CRYSTAL_ROWS)[name]
    known = metric["low"] is not None
    if metric["value"] is None:
        return f"| {label} | | | {metric['n']} of {metric['of']} | |"
    if name in PLAIN:
        interval = f"{metric['low']:.3g} - {metric['high']:.3g}" if known else ""
        floor = "" if metric["floor"] is None else f"{metric['floor']:.3g}"
        return f"| {label} | {metric['value']:.3g} | {interval} | {metric['n']} of {metric['of']} | {floor} |"
    interval = f"{100 * metric['low']:.1f} - {100 * metric['high']:.1f} %" if known else ""
    floor = "" if metric["floor"] is None else f"{100 * metric['floor']:.1f} %"
    return f"| {label} | {100 * metric['value']:.1f} % | {interval} | {metric['n']} of {metric['of']} | {floor} |"


def main() -> None:
    """Copy, build, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="qm9")
    parser.add_argument("--data", default="qm9")
    parser.add_argument("--quality", type=Path, nargs="+", required=True, help="results that judge these weights")
    args = parser.parse_args()
    folder = FOLDER / args.name
    folder.mkdir(parents=True, exist_ok=True)
    if args.run.resolve() != folder.resolve():
        shutil.copyfile(args.run / WEIGHTS, folder / WEIGHTS)
    archive, _ = open_archive(args.data)
    crystals = isinstance(archive, CrystalArchive)
    if not (folder / REFERENCE).exists():
        if isinstance(archive, CrystalArchive):
            CrystalReference.build(folder / REFERENCE, archive, data=args.name, source=SOURCE)
        else:
            Reference.build(folder / REFERENCE, archive, data=args.name)
    if SizeTable.load(folder / REFERENCE) is None:
        # how many atoms go with a property, for sampling towards targets
        SizeTable.of(archive).add_to(folder / REFERENCE)
    generator = moldiff.load(folder)
    config = generator.config
    metrics: dict[str, Any] = {}
    for path in args.quality:
        quality = json.loads(path.read_text())
        if quality["model"]["facts"] != config.facts:
            raise ValueError(f"{path} judges other weights: {quality['model']['facts']} instead of {config.facts}")
        sampler = (crystal_plan if crystals else given).settings(generator, quality["steps"])
        ours = to_dict(sampler)
        other = {k: v for k, v in quality.get("sampler", ours).items() if v != ours.get(k)}
        if other:
            raise ValueError(f"{path} was sampled with {other}, these weights carry {ours}: run it again")
        # of two kinds of results the first one counts where both have a number
        metrics = quality["evaluation"]["metrics"] | metrics
    steps, names = quality["steps"], CRYSTAL_ROWS if crystals else ROWS
    rows = {name: metrics[name] for name in names if name in metrics}
    if crystals:
        headline = ", ".join(
            f"{label} {100 * metrics[name]['value']:.1f} %"
            for name, label in (("structure_valid", "structure valid"), ("composition_valid", "composition valid"))
        )
        headline += f", match rate {100 * metrics['match_rate']['value']:.1f} %, {steps} steps"
    else:
        both, novel = metrics["valid_connected"], metrics["novel"]
        headline = (
            f"valid and connected {100 * both['value']:.1f} % ({both['n']} of {both['of']}), "
            f"novel {100 * novel['value']:.0f} %, {steps} steps"
        )
    content = {"headline": headline, "steps": steps, "metrics": rows}
    (folder / "metrics.json").write_text(json.dumps(content, indent=1) + "\n")
    sizes = [int(size) for size in config.sizes]
    facts = config.facts
    (folder / "card.md").write_text(
        (CRYSTAL_CARD if crystals else CARD).format(
            name=args.name,
            data=config.data,
            elements=", ".join(config.alphabets["elements"]),
            smallest=min(sizes),
            largest=max(sizes),
            count=f"{sum(config.sizes.values()):,}",
            parameters=sum(p.numel() for p in generator.network.parameters()) / 1e6,
            passes=f"{int(facts['passes']):,}",
            steps=f"{int(facts['steps']):,}",
            hours=facts["hours"],
            hardware=facts["hardware"],
            batch=facts["batch"],
            seed=facts["seed"],
            more="".join(f" {text} {facts[name]}." for name, text in MORE.items() if name in facts),
            properties=", ".join(f"{p.name} ({p.unit})" if p.unit else p.name for p in config.properties),
            drawn=metrics["valid"]["of"],
            predicted=metrics.get("match_rate", {}).get("of", 0),
            sampler_steps=steps,
            commit=quality["meta"]["commit"][:12],
            rows="\n".join(row(name, metric) for name, metric in rows.items()),
        )
    )
    print(f"shipped {args.name}: {headline}")


if __name__ == "__main__":
    main()
