"""Run a notebook and write it with its outputs; a cell that fails is written too, and ends the program with 1.

python examples/run_notebook.py examples/quickstart.ipynb build/notebook/quickstart.ipynb
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELL_SECONDS = 3600
"""A cell may train on the whole quickstart data."""


def run(source: Path, output: Path) -> int:
    """Run ``source`` in its own folder and write ``output``; returns the exit code."""
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(source.resolve().parent)}}
    code = 0
    try:
        NotebookClient(notebook, timeout=CELL_SECONDS, resources=resources).execute()
    except CellExecutionError as problem:
        sys.stderr.write(f"{problem}\n")
        code = 1
    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)
    pictures = sum("image/png" in out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", []))
    sys.stderr.write(f"wrote {output}: {len(notebook.cells)} cells, {pictures} pictures\n")
    return code


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(run(Path(sys.argv[1]), Path(sys.argv[2])))
