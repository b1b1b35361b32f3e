"""The notebook runs from its first cell to its last, and its pictures and table are there."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
STEPS = '"stages.mlm.steps=40", "stages.ranking.steps=60", "validation.every=20"'
FEWER = '"stages.mlm.steps=11", "stages.ranking.steps=11", "validation.every=10"'
pytestmark = [pytest.mark.e2e, pytest.mark.network]


@pytest.mark.filterwarnings("ignore")  # the kernel's own
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSPARSE_NOTEBOOK", str(tmp_path))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    first = notebook.cells[1]
    assert STEPS in first.source
    first.source = first.source.replace(STEPS, FEWER)
    NotebookClient(notebook, timeout=540, resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    text = "".join(output.get("text", "") for output in outputs)
    assert len(pictures) == 2
    assert "ko->en" in text and "bm25" in text
