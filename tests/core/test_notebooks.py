"""In a notebook: objects show themselves, progress needs no widgets, and `make notebook` writes what it ran."""

from __future__ import annotations

import logging
import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

import osparse
from osparse.contracts.bundle import Bundle, BundleFile
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.formula.head import Head
from osparse.io import html, notebook, progress
from osparse.retrieval.figures import Difference, Row
from osparse.retrieval.report import Report

ROOT = Path(__file__).resolve().parents[2]


def test_the_front_door_has_the_steps_of_a_day() -> None:
    for name in ("train", "evaluate", "compare", "mine", "score"):
        assert callable(getattr(osparse, name)), name


def test_everything_is_escaped() -> None:
    shown = html.described("<b>", {"<i>": "a & <script>", "empty": None}, [html.table(["<u>"], [["<x>", 1234, 0.5]])])
    assert "<script>" not in shown and "<u>" not in shown and "&lt;script&gt;" in shown and "empty" not in shown
    assert "1,234" in shown and "0.500" in shown


def test_a_model_and_a_dataset_show_themselves(model: Model, dataset: Dataset) -> None:
    assert f"Model {model.path.name}" in model._repr_html_() and "log1p_relu" in model._repr_html_()
    shown = dataset._repr_html_()
    assert "qrels.train" in shown and "Apache-2.0" in shown and dataset.fingerprint in shown
    measured = Model(model.path, model.head, metrics={
        "ndcg": 0.5, "nonzeros": 7.0, "stage": "ranking", "step": 3, "directions": {"ko-><b>": 0.5},
        "start": {"directions": {"ko-><b>": 0.25}}, "alarms": [{"finding": "x < y", "remedy": "more"}],
    })  # fmt: skip
    shown = measured._repr_html_()
    assert "step 3 of ranking" in shown and "0.250" in shown and "x &lt; y; more" in shown and "<b>:" not in shown


def test_a_report_and_a_bundle_show_themselves(tmp_path: Path) -> None:
    figures = {"nDCG@10": 0.5}
    rows = [
        Row("ko->en", False, 9, 9, 100, "bm25", figures, 0.1, 1.0, 0.5),
        Row("ko->en", True, 3, 3, 100, "<model>", figures, 0.1, 1.0, 0.5, Difference("bm25", 0.125, 0.01, 0.02)),
    ]
    named = {"name": "a<b", "split": "test", "documents": {"ko": 100}}
    shown = Report({}, named, ["nDCG@10"], [], rows, ["a & b"])._repr_html_()
    assert all(
        part in shown
        for part in ("a&lt;b", "ko-&gt;en, no shared word", "&lt;model&gt;", "+0.125", "0.0200", "a &amp; b")
    )
    file = BundleFile("encoder.onnx.zip", "0" * 64, 2_500_000, "SPARSE_ENCODING", "ONNX")
    head = Head("log1p_relu", 64, ())
    bundle = Bundle(tmp_path, "news", "abc", "v1", head, 400, {"onnx": file}, "0" * 64, {"onnx": "<ok>"}, ("3.9",))
    shown = bundle._repr_html_()
    assert all(part in shown for part in ("Bundle news", "2.5 MB", "ONNX", "onnx: &lt;ok&gt;", "3.9"))


class FakeOutput:
    shown: list[tuple[str, float | None]] = []

    def show(self, text: str, share: float | None) -> None:
        self.shown.append((text, share))


def test_progress_is_shown_in_a_cell_s_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "Output", FakeOutput)
    monkeypatch.setattr(progress, "NOTEBOOK_SECONDS", 0.0)
    monkeypatch.setattr(FakeOutput, "shown", [])
    logger = logging.getLogger("osparse")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    with progress.progress("encode", 4, "texts") as bar:
        bar.advance(1)
        bar.advance(1, "note")
    assert [share for _, share in FakeOutput.shown] == [0.25, 0.5, None]
    assert FakeOutput.shown[1][0].startswith("encode: 2/4 texts") and "encode: 2 texts in" in FakeOutput.shown[2][0]
    monkeypatch.setattr(logger, "level", logging.WARNING)  # somebody wants it quiet
    with progress.progress("encode", 4, "texts") as bar:
        bar.advance(1)
    assert len(FakeOutput.shown) == 3


def test_this_is_no_notebook() -> None:
    assert not notebook.in_notebook()


def book(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


PICTURE = """import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()"""
PROGRESS = """import pathlib
from osparse.io.progress import progress
with progress("count", 2, "things") as bar:
    bar.advance(2)
print(pathlib.Path.cwd().name)"""


@pytest.mark.filterwarnings("ignore")  # the kernel's own
def test_make_notebook_writes_what_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script that the target runs: the file appears with its pictures, and with a failed cell too."""
    (command,) = re.findall(
        r"^notebook:.*\n\t\$\(BIN\)/python (\S+) (\S+) (\S+)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert command[1:] == ("examples/quickstart.ipynb", "build/notebook/quickstart.ipynb")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    run: Any = runpy.run_path(str(ROOT / command[0]))["run"]
    assert (
        run(book(tmp_path / "in.ipynb", PICTURE, PROGRESS, "1 / 0", "print('never')"), tmp_path / "new" / "out.ipynb")
        == 1
    )
    first, second, third, fourth = nbformat.read(tmp_path / "new" / "out.ipynb", as_version=4).cells
    assert any("image/png" in output.get("data", {}) for output in first.outputs)
    assert any("count: 2 things in" in str(output.get("data", {}).get("text/html", "")) for output in second.outputs)
    assert tmp_path.name in "".join(output.get("text", "") for output in second.outputs)
    assert third.outputs[0].ename == "ZeroDivisionError" and not fourth.outputs
