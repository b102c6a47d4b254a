"""Prepare a set of crystals from its original csv files: python datasets/mp20/prepare.py [mp20] [--root FOLDER]."""

import argparse

from moldiff.data.mp20 import SETS, prepare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="mp20", choices=list(SETS))
    parser.add_argument("--root", help="folder of prepared data (default: MOLDIFF_DATA, else a cache folder)")
    parser.add_argument("--no-download", action="store_true", help="use the files in <root>/crystals/<name>-raw only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    print(prepare(options.name, options.root, download=not options.no_download, jobs=options.jobs))
