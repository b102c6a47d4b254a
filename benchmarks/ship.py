"""Put a run's weights into the package, with their reference file, their card and their headline numbers.

python benchmarks/ship.py runs/qm9 --name qm9 --data qm9 --quality benchmarks/results/molecules-qm9-50.json
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import moldiff
from moldiff.data.reference import Reference
from moldiff.training.run import open_archive

PRETRAINED = Path(moldiff.__file__).parent / "pretrained"

CARD = """# {name}

Molecules of the kind of {data}: {elements}; {smallest} to {largest} atoms, hydrogens included. Trained by the project
with the code in this repository; weights under the licence of the code (MIT).

**Data.** {count} training molecules of QM9 (Ramakrishnan et al. 2014, CC0) without fluorine, B3LYP/6-31G(2df,p)
geometries, bonds and charges perceived by RDKit. See `datasets/qm9`.

**Run.** {parameters:.2f} million parameters, {passes} molecule passes, {hours} hours in all on {hardware}; the last run
made {steps} steps in batches of {batch}, seed {seed}. Averaged weights, float16.

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
    known = metric["low"] is not None
    if name == "mmff_drop":
        interval = f"{metric['low']:.2f} - {metric['high']:.2f}" if known else ""
        floor = "" if metric["floor"] is None else f"{metric['floor']:.2f}"
        return f"| {ROWS[name]} | {metric['value']:.2f} | {interval} | {metric['n']} of {metric['of']} | {floor} |"
    interval = f"{100 * metric['low']:.1f} - {100 * metric['high']:.1f} %" if known else ""
    floor = "" if metric["floor"] is None else f"{100 * metric['floor']:.1f} %"
    return f"| {ROWS[name]} | {100 * metric['value']:.1f} % | {interval} | {metric['n']} of {metric['of']} | {floor} |"


def main() -> None:
    """Copy, build, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="qm9")
    parser.add_argument("--data", default="qm9")
    parser.add_argument("--quality", type=Path, required=True)
    args = parser.parse_args()
    folder = PRETRAINED / args.name
    folder.mkdir(parents=True, exist_ok=True)
    if args.run.resolve() != folder.resolve():
        shutil.copyfile(args.run / "model.safetensors", folder / "model.safetensors")
    archive, _ = open_archive(args.data)
    if not (folder / "reference.npz").exists():
        Reference.build(folder / "reference.npz", archive, data=args.name)
    generator = moldiff.load(folder)
    config = generator.config
    quality = json.loads(args.quality.read_text())
    if quality["model"]["facts"] != config.facts:
        raise ValueError(f"{args.quality} judges other weights: {quality['model']['facts']} instead of {config.facts}")
    metrics, steps = quality["evaluation"]["metrics"], quality["steps"]
    both, novel = metrics["valid_connected"], metrics["novel"]
    headline = (
        f"valid and connected {100 * both['value']:.1f} % ({both['n']} of {both['of']}), "
        f"novel {100 * novel['value']:.0f} %, {steps} steps"
    )
    content = {"headline": headline, "steps": steps, "metrics": {name: metrics[name] for name in ROWS}}
    (folder / "metrics.json").write_text(json.dumps(content, indent=1) + "\n")
    sizes = [int(size) for size in config.sizes]
    facts = config.facts
    (folder / "card.md").write_text(
        CARD.format(
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
            properties=", ".join(f"{p.name} ({p.unit})" if p.unit else p.name for p in config.properties),
            drawn=metrics["valid"]["of"],
            sampler_steps=steps,
            commit=quality["meta"]["commit"][:12],
            rows="\n".join(row(name, metrics[name]) for name in ROWS),
        )
    )
    print(f"shipped {args.name}: {headline}")


if __name__ == "__main__":
    main()
