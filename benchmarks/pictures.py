"""Make the pictures of README.md: python benchmarks/pictures.py

Nothing is chosen but the seeds: the grid shows the first eight molecules of a sample, the movie the first seed whose
molecule is valid.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import moldiff

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Sample and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qm9")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("-n", type=int, default=16, help="structures to draw")
    args = parser.parse_args()
    generator = moldiff.load(args.model)
    sample = generator.sample(args.n, seed=0, steps=args.steps)
    moldiff.view(sample[:8], RESULTS / "molecules.png", columns=4, panel=(240, 140))
    for seed in range(20):
        trajectory = generator.trajectory(seed=seed, steps=args.steps)
        if trajectory.structure is not None:
            moldiff.view(trajectory, RESULTS / "denoising.gif", frames=40, panel=(220, 170))
            break


if __name__ == "__main__":
    main()
