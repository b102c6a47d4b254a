"""Write the result tables of README.md from benchmarks/results, between its markers.

python benchmarks/readme.py            # writes
python benchmarks/readme.py --check    # exits with 1 if README.md differs
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import passes

from moldiff.networks.weights import read_config
from moldiff.shipped import find_weights

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: written by benchmarks/readme.py -->", "<!-- end of results -->"


def read(name: str) -> dict[str, Any] | None:
    """A result, or None if it was not measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def share(rate: dict[str, float]) -> str:
    """Value with its interval, per cent."""
    return f"{100 * rate['value']:.1f} ({100 * rate['low']:.1f}-{100 * rate['high']:.1f})"


def number(metric: dict[str, Any] | None, digits: int = 2) -> str:
    """A number with its interval; a dash where there is none, as where nothing was valid."""
    if metric is None or metric["value"] is None:
        return "-"
    return f"{metric['value']:.{digits}f} ({metric['low']:.{digits}f}-{metric['high']:.{digits}f})"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table, and the empty one before it."""
    head, *lines = ("| " + " | ".join(map(str, row)) + " |" for row in (heads, *rows))
    return ["", head, "|---" * len(heads) + "|", *lines]


def turns(count: int) -> str:
    """How often something was timed."""
    return "one run" if count == 1 else f"median of {count}"


def speed(content: dict[str, Any]) -> list[str]:
    """Times of sampling."""
    hardware = content["meta"]["hardware"]
    cold = content["cold"]
    return [
        "",
        f"Speed, {hardware['gpu'] or hardware['cpu']}, {content['threads']} threads, {content['precision']}, shared "
        f"and noisy: the first ten molecules {statistics.median(cold['first_ten']):.0f} s after starting the process, "
        f"{cold['molecules']} at {cold['steps']} steps after {statistics.median(cold['all']):.0f} s "
        f"({turns(len(cold['all']))}); "
        + "; ".join(
            f"{entry['molecules']} molecules at {steps} steps in {entry['median']:.0f} s, warm "
            f"({turns(len(entry['seconds']))}; one batch at a time on all cores "
            f"{entry['one_batch_at_a_time']['median'] / entry['median']:.2f} times that)"
            for steps, entry in content["sampling"].items()
        )
        + f"; peak memory {content['peak_memory_mb'] / 1024:.1f} GiB.",
    ]


def busy(content: dict[str, Any]) -> list[str]:
    """What another process costs."""
    times = {(one["waiting"], one["beside"]): one["median"] for one in content["results"]}
    theirs, ours = ([times[way, beside] for beside in (False, True)] for way in ("OpenMP's", "moldiff's"))
    return [
        "",
        f"{content['n']} molecules at {content['steps']} steps while another process keeps one of "
        f"{content['meta']['hardware']['threads']} cores busy: {ours[1]:.1f} s (alone {ours[0]:.1f}); with threads "
        f"that wait as OpenMP lets them {theirs[1]:.0f} s (alone {theirs[0]:.1f}; `benchmarks/busy.py`).",
    ]


def pupil(content: dict[str, Any]) -> list[str]:
    """What distillation can give."""
    rows = []
    for one in content["results"]:
        how = "none: its own steps" if one["substeps"] == 1 else str(one["substeps"])
        how += ", symbols as at the beginning" if one["at_first"] else ""
        rows.append((one["steps"], how, share(one["valid_connected"]), share(one["aromatic"])))
    heads = ("steps", "evaluations of the teacher a step", "valid and connected, %", "aromatic, % of valid")
    return [
        "",
        f"What distillation can give: {content['n']} samples of a perfect pupil, which asks its teacher several times "
        "a step and keeps hidden symbols hidden meanwhile (`benchmarks/pupil.py`):",
        *table(heads, rows),
    ]


def unique(content: dict[str, Any]) -> list[str]:
    """How many of a growing sample are distinct."""
    heads = ("molecules", "valid and connected, %", "valid and distinct, %", "lost", "lost at random")
    rows = [
        (
            f"{int(size):,}",
            share(one["valid_connected"]),
            share(one["vu"]),
            f"{one['points_lost']:.1f}",
            f"{100 - 100 * one['memoriser']:.1f}",
        )
        for size, one in content["results"].items()
    ]
    return [
        "",
        f"The beginning of one larger sample of molecules, {content['steps']} steps. Lost: points between valid and "
        "distinct valid ones, and what one loses who draws training molecules at random (`benchmarks/unique.py`):",
        *table(heads, rows),
    ]


def cost(content: dict[str, Any]) -> list[str]:
    """This model beside the networks of EDM and SemlaFlow."""
    networks, hardware = content["networks"], content["meta"]["hardware"]
    how = f"{content['precision']}, {'compiled' if content['compiled'] else 'eager'}, {content['threads']} threads"

    def row(label: str, one: dict[str, Any], evaluations: Any, sampling: float, ratio: str) -> tuple[object, ...]:
        parameters, evaluation = f"{one['parameters'] / 1e6:.1f}", f"{one['evaluation']:.3g}"
        return label, parameters, evaluation, evaluations, f"{sampling:.3g}", ratio

    names = {"egnn": "EGNN of EDM", "semla": "latent attention of SemlaFlow"}
    names |= {f"{name}_rearranged": f"{label}, fewer operations" for name, label in names.items()}
    names = {name: label for name, label in names.items() if name in networks}
    rows = []
    for name, label in names.items():
        one = networks[name]
        ratios = ", ".join(f"{ratio:.0f} ({count} steps)" for count, ratio in content["ratios"][name].items())
        rows.append(row(f"{label}, random weights", one, one["evaluations"], one["sampling"], ratios))
    ours = networks["moldiff"]
    rows += [
        row(f"moldiff's {content['model']['name']}", ours, count, one["median"], "1")
        for count, one in ours["sampling"].items()
    ]
    loops = ", ".join(f"{networks[name]['loop']['step_to_evaluation']:.2f}" for name in names)
    heads = ("network", "parameters, M", "one evaluation, s", "evaluations", "sampling, s", "times this model's")
    return [
        "",
        f"Cost of {content['molecules']} molecules, all networks in one run and the same batches, {how}, "
        f"{hardware['gpu'] or hardware['cpu']} (`benchmarks/cost.py`):",
        *table(heads, rows),
        "",
        "Medians in turns. Fewer operations: the first layer of each pair network is computed an end at a time. The "
        "references' samplings are evaluations x one evaluation (a step of a short real loop took "
        f"{loops} times that); this model's are real."
        + (f" Compiling this model took {content['compiling']:.0f} s." if content["compiled"] else ""),
    ]


def training(content: dict[str, Any]) -> list[str]:
    """Training beside the straightforward implementation."""
    rates, settings, hardware = content["molecules_per_second"], content["settings"], content["meta"]["hardware"]
    return [
        "",
        f"Training, size {settings['size']}, batches of {settings['batch']}, {settings['precision']}, "
        f"{content['threads']} threads, {hardware['cpu']}: {rates['moldiff']:.0f} molecules/s as in runs of half an "
        f"hour and more, which compile first ({content['compiling']:.0f} s here), {content['ratio']:.2f} times the "
        f"straightforward eager one ({rates['straightforward']:.0f}: the system's allocator settings, random padded "
        f"batches); {rates['eager']:.0f} without compiling, {rates['allocator']:.0f} with the allocator set alone. "
        f"Medians of {settings['rounds']} turns in one run (`benchmarks/training_speed.py`).",
    ]


def recipe(content: dict[str, Any]) -> list[str]:
    """The equal-time comparison."""
    heads = ("recipe", "time grid", "passes", "valid and connected, %", "MMFF94 drop, kcal/mol")
    rows = [
        (
            name,
            f"density {one['sampler']['density']:g}",
            f"{int(one['facts']['passes']):,}",
            share(one["valid_connected"]),
            number(one.get("mmff_drop"), 1),
        )
        for name, entries in content["results"].items()
        for one in entries
    ]
    return [
        "",
        f"Recipes compared at equal time (`benchmarks/recipe.py`, {content['steps']} steps of size s):",
        *table(heads, rows),
    ]


def choices(content: dict[str, Any]) -> list[str]:
    """One choice of the recipe changed at a time."""
    fields = ("positions", "elements", "charges", "bonds")
    lines: list[Sequence[object]] = []
    for name, entry in content["results"].items():
        rows = {name: entry}
        for horizon, one in entry.get("averages", {}).items():
            average = f"averaged over {100 * float(horizon):.0f} % of the steps" if float(horizon) else "not averaged"
            rows[average] = {**entry, **one}
        for row, one in rows.items():
            losses = [f"{one['losses'][field]:.4f}" for field in fields]
            lines.append((row, one["steps"], f"{one['passes']:,}", *losses, share(one["valid_connected"])))
    first, *others = fields
    return [
        "",
        f"One choice of the recipe changed at a time, from nothing and at equal time ({content['steps']} steps of the "
        "base). Losses de novo on the same validation molecules with the same noise, so small differences tell; "
        "samples with the shipped settings. Short runs show what learns faster early (`benchmarks/choices.py`):",
        *table(("changed", "steps", "passes", f"loss of {first}", *others, "valid and connected, %"), lines),
    ]


def targets(content: dict[str, Any]) -> list[str]:
    """Properties asked for against properties found, as shares of the error of a random molecule."""
    properties = content["properties"]
    settings = list(dict.fromkeys(name for one in properties.values() for name in one if "guidance" in name))
    heads = [f"{name} (random {one['about']['random']:.3g} {one['about']['unit']})" for name, one in properties.items()]
    about = [f"{one['about']['right_atom_count']['share']:.2f}" for one in properties.values()]
    rows = [("a molecule of the right atom count", "", *about)]
    for setting in settings:
        cost = next(one[setting]["evaluations"] for one in properties.values() if setting in one)
        cells = [
            f"{one[setting]['share']:.2f} ({share(one[setting]['valid_connected'])})" if setting in one else ""
            for one in properties.values()
        ]
        rows.append((setting, f"{cost:.0f}", *cells))
    return [
        "",
        f"Targets: mean error of {content['settings']['n']} samples, as a share of that of a random molecule (in "
        "brackets valid and connected, %). Labels and judge are both GFN2-xTB, so these are not comparable with "
        "published shares. Particles compete by the property head, valid ones first (`benchmarks/conditional.py`):",
        *table(("setting", "evaluations", *heads), rows),
    ]


def completion(content: dict[str, Any]) -> list[str]:
    """Completions of held-out molecules."""
    valid, kept, where = content["valid_connected"], content["part_unchanged"], content["valid_connected_by_cut"]
    by_cut = ", ".join(f"{share(one)} where the cut goes {name}" for name, one in where.items())
    return [
        "",
        f"Completions of {content['molecules']} held-out molecules with three or more heavy atoms removed: "
        f"{share(valid)} % of {valid['of']} valid and connected (unconditional samples of the same seed "
        f"{share(content['unconditional_valid_connected'])} %; {by_cut}), the given part unchanged in {share(kept)} % "
        "(`benchmarks/completion.py`).",
    ]


def constraints(content: dict[str, Any]) -> list[str]:
    """Violations and cost of constraints."""
    results = content["results"]
    drawn = sum(one["violations"]["of"] for one in results.values())
    broken = sum(one["violations"]["n"] for one in results.values())
    cost = ", ".join(f"{name} {share(one['valid_connected'])}" for name, one in results.items())
    return [
        "",
        f"Constraints: {broken} violations in {drawn} structures drawn, valid or not. Valid and connected, %, of "
        f"{content['n']} each: {cost} (`benchmarks/constraints.py`).",
    ]


def conformers(content: dict[str, Any]) -> list[str]:
    """Conformers of held-out molecules beside ETKDG."""
    table = content["by_atoms"]["all"]
    ours, theirs = (
        f"{one['value']:.3f} ({one['low']:.3f} - {one['high']:.3f})"
        for one in (table["rmsd_moldiff"], table["rmsd_etkdg_mmff"])
    )
    return [
        "",
        f"Conformers of {table['molecules']} held-out molecules, best of {table['of_each']}: median heavy-atom RMSD "
        f"{ours} angstrom, ETKDG and MMFF94 {theirs} (`benchmarks/completion.py`).",
    ]


def steering(content: dict[str, Any]) -> list[str]:
    """Steering by QED."""
    free, best, settings = content["unsteered"]["reward"], content["best_of"]["reward"], content["settings"]
    parts = []
    for strength, one in content["steered"].items():
        gain = f"gain {one['gain']['low']:+.3f} to {one['gain']['high']:+.3f}"
        parts.append(f"{one['reward']['value']:.3f} at strength {strength} ({gain})")
    return [
        "",
        f"Steering by QED with {settings['particles']} particles, mean of {settings['n']} places: "
        f"unsteered {free['value']:.3f}, steered {', '.join(parts)}; the best of as many unsteered ones at the "
        f"same cost {best['value']:.3f} (`benchmarks/steering.py`).",
    ]


def sampler(content: dict[str, Any]) -> list[str]:
    """The study of the sampler."""
    distances = {"fcd": "FCD", "w1_torsion": "W1 torsions, degrees", "tv_bond": "TV bonds"}
    heads = ("setting", "steps", "valid and connected, %", "MMFF94 drop, kcal/mol", *distances.values())
    several = len({one.get("weights") for one in content["results"]}) > 1
    rows = []
    for one in content["results"]:
        label = f"{one['weights']}, {one['setting']}" if several else one["setting"]
        far = [number(one.get(name), 3 if name == "tv_bond" else 2) for name in distances]
        rows.append((label, one["steps"], share(one["valid_connected"]), number(one.get("mmff_drop"), 1), *far))
    what = "Weights under the settings of `qm9`" if several else "One setting of the sampler changed at a time"
    return [
        "",
        f"{what}, {content['n']} molecules each, the same seed; the fewer molecules, the larger is FCD "
        "(`benchmarks/sampler.py`):",
        *table(heads, rows),
    ]


@functools.cache
def shipped(name: str) -> dict[str, str]:
    """What the header of the weights in the package tells of their training."""
    return read_config(find_weights(name)).facts


def told(content: dict[str, Any], caption: str) -> str:
    """A caption that tells of which weights a result is, if not of those in the package."""
    model = content.get("model", {"name": "qm9", "facts": content.get("facts")})
    if model["facts"] in (None, shipped(model["name"])):
        return caption
    return f"{caption[:-1]} (weights after {passes(model['facts'])}){caption[-1]}"


def tables() -> str:
    """All tables for which there are results."""
    lines: list[str] = []
    for name, caption in (
        ("molecules-qm9", "`qm9`:"),
        ("crystals-mp20", "`mp20`:"),
    ):
        path = RESULTS / f"{name}.md"
        if path.is_file():
            lines += [*([""] if lines else []), caption, "", path.read_text().rstrip()]
    writers = {
        "unique-qm9": unique,
        "conditional-qm9": targets,
        "constraints-qm9": constraints,
        "completion-qm9-completion": completion,
        "completion-qm9-conformers": conformers,
        "steering-qm9-qed": steering,
        "speed": speed,
        "busy": busy,
        "cost": cost,
        "cost-compiled": cost,
        "training_speed": training,
        "sampler": sampler,
        "weights": sampler,
        "curve": sampler,
        "few": sampler,
        "pupil-qm9": pupil,
        "recipe": recipe,
        "choices": choices,
    }
    for name, write in writers.items():
        content = read(name)
        if content is not None:
            gap, caption, *rest = write(content)
            lines += [gap, told(content, caption), *rest]
    return "\n".join(lines)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    path = ROOT / "README.md"
    text = path.read_text()
    if BEGIN not in text or END not in text:
        print(f"README.md lacks the markers {BEGIN!r} and {END!r}", file=sys.stderr)
        return 1
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    fresh = f"{head}{BEGIN}\n\n{tables()}\n\n{END}{tail}"
    if args.check:
        return int(fresh != text)
    path.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
