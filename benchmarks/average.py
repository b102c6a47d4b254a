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
def mean(first: Path, second: Path, share: float, out: Path) -> Path:
    """Average and write.

    Args:
        first, second: weights files.
        share: of the second, from 0 to 1.
        out: folder of the result.

    Raises:
        ValueError: for a share outside 0 to 1, or networks of different shapes.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be between 0 and 1, not {share}")
    (one, earlier), (two, later) = load(first), load(second)
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in (one, two)]
    if shapes[0] != shapes[1] or earlier.network != later.network:
        raise ValueError(f"{first} and {second} are networks of different shapes: they have no mean")
    for mine, theirs in zip(two.parameters(), one.parameters(), strict=True):
        mine.lerp_(theirs, 1 - share)
    passes = " and ".join(model.facts.get("passes", "?") for model in (earlier, later))
    facts = {**later.facts, "mean": f"{1 - share:g} and {share:g} of the weights after {passes} passes"}
    out.mkdir(parents=True, exist_ok=True)
    return save(out / "model.safetensors", dataclasses.replace(later, facts=facts), tensors=two.state_dict())


def main() -> None:
    """Average what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second model")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(mean(find_weights(args.first), find_weights(args.second), args.share, args.out))


if __name__ == "__main__":
    main()
