"""The pictures of a corpus: what they show, and that awkward datasets are drawn too."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from candidates_world import ROWS, remake, remake_documents
from click.testing import CliRunner

from osparse.charts import fonts, style
from osparse.cli.main import cli
from osparse.contracts.dataset import CANDIDATES, DOCUMENTS, QRELS, QUERIES, Dataset, save_dataset
from osparse.corpus import TrendReport, TrendRules
from osparse.corpus.builder import plots
from osparse.corpus.builder.candidate_stats import candidate_stats
from osparse.corpus.builder.plots import draw
from osparse.corpus.terms import trend_plot
from osparse.corpus.terms.trends import Trend

SCORED = [
    *ROWS,
    ("q:pear:en", "moon:en", None, 2.0, "distilled", "teacher"),
    ("q:pear:ko", "pear:ko", None, 8.0, "distilled", "teacher"),
]


def drawn(dataset: Dataset, folder: Path, look: str = "light") -> set[str]:
    paths = draw(dataset, folder, look=look)
    assert all(matplotlib.image.imread(path).std() > 0 for path in paths)
    return {path.stem for path in paths}


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_dataset_with_candidates_has_pictures_of_them(dataset: Dataset, tmp_path: Path, look: str) -> None:
    assert drawn(dataset, tmp_path / "plain", look) == {"lengths", "languages"}
    scored = remake(dataset, tmp_path / "scored", SCORED)
    assert drawn(scored, tmp_path / "plots", look) == {"lengths", "languages", "negatives", "scores"}


def build(path: Path, texts: list[tuple[str, str, Any]], candidates: list[tuple[Any, ...]] | None = None) -> Dataset:
    """Documents of (text, language, date), one query and judgement each."""
    rows = [
        {"id": f"d{n}", "text": text, "title": "", "lang": lang, "source": "s", "group": "", "date": date}
        for n, (text, lang, date) in enumerate(texts)
    ]
    documents = pl.DataFrame([{k: row.get(k) for k in DOCUMENTS} for row in rows], schema=DOCUMENTS)
    queries = pl.DataFrame([("q0", "질의", "ko", None)], schema=QUERIES, orient="row")
    qrels = pl.DataFrame([("q0", "d0", 1.0, "annotated")], schema=QRELS, orient="row")
    return save_dataset(
        path, documents=documents, queries=queries, qrels={"train": qrels}, sources=[], split_rule="", seed=0,
        candidates={"train": pl.DataFrame(candidates, schema=CANDIDATES, orient="row")} if candidates else None,
    )  # fmt: skip


DAY = datetime.date(2026, 1, 5)
AWKWARD: dict[str, Callable[[Path], Dataset]] = {
    "one text": lambda path: build(path, [("x", "ko", None)]),
    "one date": lambda path: build(path, [("x", "ko", DAY)]),
    "dates a century apart": lambda path: build(path, [("x", "ko", DAY), ("y", "ko", datetime.date(1901, 1, 1))]),
    "Korean labels": lambda path: build(path, [("배나무", "한국어", DAY), ("pear", "中文", DAY), ("$x", "a$b$", DAY)]),
    "no language": lambda path: build(path, [("x" * 300_000, "", None), ("y", "und", None)]),
    "one score, and huge ones": lambda path: build(
        path, [("x", "ko", None), ("y", "ko", None)],
        [("q0", "d1", None, 3e38, "distilled", "선생"), ("q0", "d0", None, -3e38, "distilled", "선생"),
         ("q0", "d1", None, 1.0, "distilled", "bm25")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_datasets_are_drawn(name: str, look: str, tmp_path: Path) -> None:
    assert {"lengths", "languages"} <= drawn(AWKWARD[name](tmp_path / "dataset"), tmp_path / "plots", look)


def test_dates_do_not_run_together(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most eight ticks, whose labels do not touch, over days, months and decades."""
    saved: list[Any] = []

    def saving(figure: Any, *rest: Any) -> None:
        saved.append(figure)
        style.save(figure, *rest)

    monkeypatch.setattr(plots, "save", saving)
    for span in (3, 200, 4_000, 30_000):
        saved.clear()
        days = pl.int_range(pl.len()) * span // dataset.manifest.counts["documents.arrow"]
        dated = remake_documents(
            dataset, tmp_path / f"dated{span}", (pl.lit(datetime.date(1930, 1, 1)) + pl.duration(days=days)).cast(pl.Date).alias("date"),
        )  # fmt: skip
        draw(dated, tmp_path / f"plots{span}")
        (axes,) = (figure.axes[0] for figure in saved if "Dated" in figure.axes[0].get_title(loc="left"))
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        boxes = sorted(
            (box for box in boxes if axes.bbox.x0 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1), key=lambda b: b.x0
        )
        assert 1 <= len(boxes) <= 9
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False)), span


def test_candidates_are_counted_by_hand(dataset: Dataset, tmp_path: Path) -> None:
    stats = candidate_stats(remake(dataset, tmp_path / "scored", SCORED))["train"]
    assert (stats.queries, stats.queries_with_candidates, stats.candidates) == (10, 3, 8)
    # pear:en is relevant for both pear queries, as pear:ko is; the other documents are negatives
    assert stats.negatives_per_query == {"min": 0.0, "p50": 0.0, "mean": 0.6, "max": 3.0}
    assert stats.origins == {"annotated": 1, "distilled": 4, "mined": 3}
    assert stats.scorers["bm25"] == {
        "pairs": 1, "positives": None,
        "negatives": {"number": 1, "min": 1.5, "p5": 1.5, "p50": 1.5, "p95": 1.5, "max": 1.5},
    }  # fmt: skip
    teacher = stats.scorers["teacher"]
    assert (teacher["positives"]["number"], teacher["positives"]["min"], teacher["positives"]["max"]) == (2, 8.0, 9.0)
    assert (teacher["negatives"]["min"], teacher["negatives"]["max"]) == (2.0, 3.0)
    assert len(stats.examples) == 3 and all(example["relevant"] and example["negative"] for example in stats.examples)
    assert candidate_stats(dataset) == {}


def test_the_command_shows_candidates_and_units(dataset: Dataset, tmp_path: Path) -> None:
    scored = remake(dataset, tmp_path / "scored", SCORED)
    shown = CliRunner().invoke(cli, ["corpus", "stats", str(scored.path)]).output
    assert "candidates of train: 8 pairs of a query and a document, of 3 of 10 queries" in shown
    assert "negatives per query: mean 0.6, median 0, from 0 to 3" in shown
    assert "origins: 1 rows annotated, 4 rows distilled, 3 rows mined" in shown
    assert "relevant documents: 2, median 8" in shown and "  example: " in shown and "    negative: " in shown
    asked = ["corpus", "stats", str(scored.path), "--plots", str(tmp_path / "plots"), "--theme", "dark"]
    assert CliRunner().invoke(cli, asked).exit_code == 0 and (tmp_path / "plots" / "scores.png").is_file()


def trend(term: str, recent: int, before: int) -> Trend:
    odds = 1.0 if recent > before else -1.0
    return Trend(term, recent, before, recent / 100, before / 1000, odds, 0.001)


def test_a_phrase_is_shown_without_its_parts_and_stop_words() -> None:
    rising = [trend(*row) for row in (
        ("pear", 50, 1), ("pear tree", 48, 1), ("tree", 90, 40), ("the pear", 45, 0), ("tree house", 47, 1), ("2026", 80, 2),
        ("그리고", 60, 3), ("올림픽", 30, 0), ("올림픽 개막식", 30, 0), ("개막식 소식", 29, 0), ("x", 33, 1),
    )]  # fmt: skip
    shown = [t.term for t in trend_plot.telling(rising)]
    assert shown == ["pear tree", "tree", "올림픽 개막식"]  # most documents with tree have no pear
    chain = [trend("learning new", 38, 2), trend("new pear", 38, 2), trend("pear tree", 38, 2)]
    assert [t.term for t in trend_plot.telling(chain)] == ["learning new", "pear tree"]
    falling = [trend("old", 0, 50), trend("old house", 0, 49), trend("house", 10, 80)]
    assert [t.term for t in trend_plot.telling(falling)] == ["old house", "house"]


RULES = TrendRules(as_of=datetime.date(2026, 11, 1), window=7)
REPORTS = {
    "nothing": TrendReport(120, 1000, 0, 345, [], [], {}),
    "one term": TrendReport(1, 1, 0, 1, [trend("pear tree", 1, 0)], [], {}),
    "Korean labels": TrendReport(
        9, 9, 0, 2, [trend("올림픽 개막식", 9, 1)], [trend("$a {x", 1, 9), trend("中国", 1, 9)], {}
    ),
    "many": TrendReport(9, 9, 0, 2, [trend(f"word{n}", 9, 1) for n in range(99)], [], {}),
}


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("documents", [0, 1, 40])
@pytest.mark.parametrize("name", REPORTS)
def test_awkward_trends_are_drawn(name: str, documents: int, look: str, tmp_path: Path) -> None:
    periods = np.arange(documents, dtype=np.int64) * 10
    texts = [{"pear tree", "올림픽 개막식"}] * documents
    trend_plot.draw(tmp_path / "t.png", REPORTS[name], RULES, periods, texts, look=look)
    assert matplotlib.image.imread(tmp_path / "t.png").std() > 0


def test_that_no_trend_was_found_is_said_in_words(tmp_path: Path) -> None:
    said = trend_plot.nothing_found("rose", REPORTS["nothing"], RULES)
    assert (
        "No term rose more than chance allows: 345 terms" in said and "120 recent and 1,000 earlier documents" in said
    )


def test_a_missing_font_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "hangul_font", lambda: None)
    trend_plot.draw(tmp_path / "t.png", REPORTS["Korean labels"], RULES, np.zeros(1, np.int64), [set()])
    assert "no installed font has Hangul" in caplog.text and "fonts-nanum" in caplog.text


def test_terms_with_one_curve_share_a_line() -> None:
    trends = [Trend(term, 5, 1, 0.25, 0.01, 2.0, 1e-9) for term in ("공유기 채널", "firmware", "oven")]
    holders = Counter({("공유기 채널", 0): 5, ("firmware", 0): 5, ("oven", 0): 5, ("oven", 1): 2})
    curves = trend_plot._curves(trends, np.array([1, 0]), holders)
    assert {counts: [trend.term for trend in of] for counts, of in curves.items()} == {
        (0, 5): ["공유기 채널", "firmware"], (2, 5): ["oven"]
    }  # fmt: skip
