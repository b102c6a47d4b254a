"""Make the demonstration set: python datasets/demo/prepare.py demo.npz [-n 200] [--seed 0]."""

import argparse

from moldiff.data.demo import demo_archive

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="the archive to write")
    parser.add_argument("-n", type=int, default=200, help="molecules")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice, the conformers and the split")
    options = parser.parse_args()
    print(demo_archive(options.n, seed=options.seed).save(options.path))
