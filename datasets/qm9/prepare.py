"""Prepare QM9 from its original download: python datasets/qm9/prepare.py [--root FOLDER] [--no-download] [--jobs 2]."""

import argparse

from moldiff.data.qm9 import prepare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder of prepared data (default: MOLDIFF_DATA, else a cache folder)")
    parser.add_argument("--no-download", action="store_true", help="use the files in <root>/qm9/raw only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    print(prepare(options.root, download=not options.no_download, jobs=options.jobs))
