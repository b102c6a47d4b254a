"""Run the notebooks and store their outputs in them: python notebooks/run.py [01 05 ...]

Each runs in an empty folder of its own, so that what it writes is not left behind. Takes some minutes on two cores;
MOLDIFF_FAST=1 runs less of everything, for a look whether they work.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def run(path: Path) -> None:
    """Execute one notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}}).execute()
    nbformat.write(tidy(notebook), path)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what changes from run to run or says nothing: times, progress bars, doubled pictures."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data.pop("image/jpeg", None)
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    for chosen in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) < 2 or chosen.name[:2] in sys.argv[1:]:
            print(chosen.name, flush=True)
            run(chosen)
