"""The mean of the weights of two runs, one of which started from the other, as a model of its own.

    python benchmarks/average.py moldiff/pretrained/mp20 runs/mp20 --out runs/mp20-mean

Weights of one valley of the loss average to better ones (Izmailov et al. 2018; Wortsman et al. 2022), those of two do
not: judge the result by its samples, as every other model. Everything but the weights is of the second model.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from moldiff.networks.weights import load, save
from moldiff.training.run import find_weights


@torch.no_grad()
def main() -> None:
    """Average and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second model")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        raise ValueError(f"share must be between 0 and 1, not {args.share}")
    (one, earlier), (two, later) = load(find_weights(args.first)), load(find_weights(args.second))
    if one.state_dict().keys() != two.state_dict().keys() or earlier.network != later.network:
        raise ValueError(f"{args.first} and {args.second} are networks of different shapes: they have no mean")
    for mine, theirs in zip(two.parameters(), one.parameters(), strict=True):
        mine.lerp_(theirs, 1 - args.share)
    passes = " and ".join(model.facts.get("passes", "?") for model in (earlier, later))
    facts = {**later.facts, "mean": f"{1 - args.share:g} and {args.share:g} of the weights after {passes} passes"}
    args.out.mkdir(parents=True, exist_ok=True)
    save(args.out / "model.safetensors", dataclasses.replace(later, facts=facts), tensors=two.state_dict())
    print(args.out / "model.safetensors")


if __name__ == "__main__":
    main()
