"""Side by side: what an evaluation and a sampling of 100 molecules cost the networks of EDM, SemlaFlow and this model.

    python benchmarks/cost.py qm9                            # eager, the precision that suits the machine
    python benchmarks/cost.py qm9 --compile                  # all of them through torch.compile

The references run twice, as their papers write them and with the first layers of their pair networks rearranged (the
same function in fewer operations, see reference_egnn.py). All in one process and in turns: the same molecules (sizes of
the training set) in the same padded batches, the same precision, allocator and compilation; medians. Evaluations take
one batch after the other on all cores, which suits the references better than side by side, as this model draws. The
references have random weights, which cost the same as trained ones. Their full sampling is evaluations x the median
evaluation; a short real loop of theirs is timed beside it to show that a step costs what its evaluation does. This
model's samplings are real ones: noise, symbols and all, without the chemistry after it. Writes
benchmarks/results/cost.json, or cost-compiled.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import reference_egnn
import reference_semla
import torch
from common import provenance, write_json
from torch import Tensor, nn

import moldiff
from moldiff.allocator import keep_large_blocks
from moldiff.denoiser import Clocks
from moldiff.diffusion.joint import JointProcess, denoiser
from moldiff.generator import Generator
from moldiff.generator.drawing import split_sizes
from moldiff.generator.execution import halved
from moldiff.generator.generator import blank_state

Evaluation = Callable[[], Any]


def batches(sizes: Tensor, most: int, device: torch.device) -> list[Tensor]:
    """Masks (B, N) of the sizes, in the batches that the Generator makes of them."""
    parts = [sizes[rows] for rows in split_sizes(sizes, most, seed=0)]
    return [(torch.arange(int(part.max()))[None] < part[:, None]).to(device) for part in parts]


def egnn_evaluation(network: reference_egnn.Egnn, mask: Tensor) -> Evaluation:
    x = torch.randn(*mask.shape, 3, device=mask.device) * mask.unsqueeze(-1)
    features = x.new_zeros(*mask.shape, network.embed.in_features)
    return lambda: network(x, features, mask)


def semla_evaluation(network: reference_semla.Semla, mask: Tensor) -> Evaluation:
    b, n = mask.shape
    x = torch.randn(b, n, 3, device=mask.device) * mask.unsqueeze(-1)
    guess = (x, x.new_zeros(b, n, network.elements_count), x.new_zeros(b, n, n, network.bonds_count))
    symbols = torch.zeros(b, n, n, dtype=torch.long, device=mask.device)
    t = torch.full((b,), 0.5, device=mask.device)
    return lambda: network(x, symbols[..., 0], symbols, t, mask, guess)


def our_evaluation(generator: Generator, mask: Tensor) -> Evaluation:
    """With self-conditioning, as in every sampling step but the first."""
    process = JointProcess.for_molecules(generator.config.diffusion, generator.alphabets)
    model = denoiser(generator.network, process)
    state = blank_state(mask.sum(1).cpu()).to(mask.device)
    clocks = Clocks.shared(state, 0.5)
    state = process.prior(state, clocks, generator=torch.Generator(mask.device).manual_seed(0))
    previous = model(state, clocks, None, None)
    return lambda: model(state, clocks, None, previous)


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a piece of work."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def parameters(network: Any) -> int:
    return sum(weight.numel() for weight in cast(nn.Module, network).parameters())


@torch.no_grad()
def measure(
    generator: Generator,
    references: dict[str, Any],
    *,
    sizes: Tensor,
    batch: int,
    steps: Sequence[int],
    repeats: int,
    loop: int,
    compiled: bool = False,
) -> dict[str, Any]:
    """Everything timed in turns, `repeats` times.

    Args:
        generator: this model. references: networks of EDM and SemlaFlow by name.
        sizes: (M,) atom counts. batch: molecules a batch.
        steps: of this model's real samplings.
        loop: steps of the references' short real loops.
        compiled: run the blocks of all through torch.compile, one graph for all shapes.
    """
    device = generator.device
    masks = batches(sizes, batch, device)
    execution = generator.execution
    networks: dict[str, Any] = {name: network.to(device).eval() for name, network in references.items()}
    if execution.half:  # as the generator has its own
        networks = {name: halved(network) for name, network in networks.items()}
    execution.compile = "on" if compiled else "off"
    if compiled:
        for network in networks.values():
            for block in network.blocks:
                block.compile(dynamic=True)
    networks["moldiff"] = generator.network
    start = time.perf_counter()
    execution.prepare(0)
    compiling = time.perf_counter() - start

    with execution.running():
        evaluations: dict[str, list[Evaluation]] = {"moldiff": [our_evaluation(generator, mask) for mask in masks]}
        for name, network in references.items():
            prepare: Any = egnn_evaluation if isinstance(network, reference_egnn.Egnn) else semla_evaluation
            evaluations[name] = [prepare(networks[name], mask) for mask in masks]

    def evaluate(name: str) -> None:
        with execution.running():
            for one in evaluations[name]:
                one()

    def short(name: str) -> None:
        module: Any = reference_egnn if isinstance(networks[name], reference_egnn.Egnn) else reference_semla
        with execution.running():
            for mask in masks:
                module.sample(networks[name], mask, steps=loop)

    ordered = sizes.sort().values.tolist()

    def ours(count: int) -> None:
        generator.draw(len(ordered), n_atoms=ordered, steps=count, batch_size=batch)

    works: dict[str, Callable[[], Any]] = {name: lambda name=name: evaluate(name) for name in networks}
    works |= {f"{name} loop": lambda name=name: short(name) for name in references}
    works |= {f"moldiff {count}": lambda count=count: ours(count) for count in steps}
    for one in works.values():  # warm, compiled where asked
        one()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, one in works.items():
            times[name].append(timed(one, device))
    medians = {name: statistics.median(values) for name, values in times.items()}

    table: dict[str, Any] = {
        name: {"parameters": parameters(network), "evaluation": medians[name], "evaluation_seconds": times[name]}
        for name, network in networks.items()
    }
    for name, network in references.items():
        count = 1000 if isinstance(network, reference_egnn.Egnn) else 100
        step = medians[f"{name} loop"] / loop
        table[name] |= {
            "evaluations": count,
            "sampling": count * medians[name],
            "loop": {"steps": loop, "seconds": times[f"{name} loop"], "step_to_evaluation": step / medians[name]},
        }
    samplings = {
        str(count): {"median": medians[f"moldiff {count}"], "seconds": times[f"moldiff {count}"]} for count in steps
    }
    table["moldiff"]["sampling"] = samplings
    return {
        "molecules": len(sizes),
        "batches": [list(mask.shape) for mask in masks],
        "compiling": compiling,
        "networks": table,
        "ratios": {
            name: {count: table[name]["sampling"] / one["median"] for count, one in samplings.items()}
            for name in references
        },
    }


def main() -> None:
    """Time and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=100, help="molecules")
    parser.add_argument("--batch", type=int, default=0, help="molecules a batch; the Generator's own by default")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loop", type=int, default=3, help="steps of the references' short real loops")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--name", help="of the result; cost or cost-compiled by default")
    args = parser.parse_args()
    allocator = keep_large_blocks()
    if args.compile:  # the time to compile is that of a machine that never did
        cache = tempfile.TemporaryDirectory()  # removed at the end
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    torch.manual_seed(0)
    generator = moldiff.load(args.model, device=args.device, precision=args.precision)
    counts = torch.tensor([float(count) for count in generator.config.sizes.values()])
    drawn = torch.multinomial(counts, args.n, replacement=True, generator=torch.Generator().manual_seed(0))
    found = measure(
        generator,
        {
            "egnn": reference_egnn.Egnn(),
            "semla": reference_semla.Semla(),
            "egnn_rearranged": reference_egnn.Egnn(rearranged=True),
            "semla_rearranged": reference_semla.Semla(rearranged=True),
        },
        sizes=torch.tensor([int(size) for size in generator.config.sizes])[drawn],
        batch=args.batch or (64 if generator.device.type == "cpu" else 1024),
        steps=args.steps,
        repeats=args.repeats,
        loop=args.loop,
        compiled=args.compile,
    )
    facts = {
        "precision": "bf16" if generator.execution.half else "fp32",
        "compiled": args.compile,
        "allocator": allocator,
        "threads": torch.get_num_threads(),
    }
    content = {
        "meta": provenance(0),
        "model": {"name": Path(args.model).name, "facts": generator.config.facts},
        **facts,
        **found,
    }
    for name, ratios in found["ratios"].items():
        one = found["networks"][name]
        print(f"{name}: {one['evaluation']:.3f} s an evaluation, {one['sampling']:.1f} s a sampling", ratios)
    print(write_json(args.name or ("cost-compiled" if args.compile else "cost"), content))


if __name__ == "__main__":
    main()
