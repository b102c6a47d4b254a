"""The mean of the weights of several runs that started from one another, as a model of its own.

    python benchmarks/average.py moldiff/pretrained/qm9 runs/one runs/two --shares 0.4 0.3 0.3 --out runs/mean

Weights of one valley of the loss average to better ones (Izmailov et al. 2018; Wortsman et al. 2022), those of two do
not: judge the result by its samples, as every other model. Everything but the weights is of the last model.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from moldiff.networks.weights import load, save
from moldiff.shipped import WEIGHTS, find_weights


@torch.no_grad()
def mean(paths: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Average and write.

    Args:
        paths: weights files.
        shares: of each, together 1.
        out: folder of the result.

    Raises:
        ValueError: for shares that are no such, or networks of different shapes.
    """
    if len(shares) != len(paths) or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"shares must be {len(paths)} numbers that are not negative and add up to 1, not {shares}")
    networks, models = zip(*(load(path) for path in paths), strict=True)
    result, last = networks[-1], models[-1]
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in networks]
    if any(own != shapes[-1] for own in shapes) or any(model.network != last.network for model in models):
        raise ValueError(f"{', '.join(map(str, paths))} are networks of different shapes: they have no mean")
    for parameters in zip(*(network.parameters() for network in networks), strict=True):
        parameters[-1].copy_(sum(share * value for share, value in zip(shares, parameters, strict=True)))
    terms = [
        f"{share:g} after {model.facts.get('passes', '?')} passes" + (" (a mean)" if "mean" in model.facts else "")
        for share, model in zip(shares, models, strict=True)
    ]
    facts = {**last.facts, "mean": f"weights of {', '.join(terms[:-1])} and {terms[-1]}"}
    out.mkdir(parents=True, exist_ok=True)
    return save(out / WEIGHTS, dataclasses.replace(last, facts=facts), tensors=result.state_dict())


def main() -> None:
    """Average what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="of each model; all alike by default")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shares = args.shares or [1 / len(args.models)] * len(args.models)
    print(mean([find_weights(model) for model in args.models], shares, args.out))


if __name__ == "__main__":
    main()
