"""What a measurement found: rows by direction, the size of the documents, the speed; as JSON and as a table."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import HIT, NDCG, RECALL, JudgedSet, Measures
from osparse.io.files import pretty_json, read_json, write_atomic

SCHEMA_VERSION = 1
ROUNDS = 10_000
"""Of the randomisation test."""
WIDTH = 110
"""Columns of the printed table."""


@dataclass(frozen=True)
class Baseline:
    """The same queries answered by another system."""

    ndcg10: float
    hit1: float
    r100: float
    difference: float
    """nDCG@10 of the measured system minus this one's."""
    p: float
    """Two-sided, paired randomisation test over the queries."""


@dataclass(frozen=True)
class Row:
    """One direction, or its queries that share no word with any of their answers."""

    direction: str
    no_shared_word: bool
    queries: int
    documents: int
    """What each query was ranked against."""
    ndcg10: float
    margin: float
    """Half width of the 95 % interval of ndcg10."""
    hit1: float
    r100: float
    baseline: Baseline | None = None


@dataclass(frozen=True)
class Report:
    key: dict[str, Any]
    """Everything the figures depend on; equal keys, equal report."""
    dataset: dict[str, Any]
    """name, fingerprint, split, documents by language."""
    system: dict[str, Any]
    """What was measured: kind ("cluster" or "model"), name, fingerprint, and how documents were weighted."""
    rows: list[Row]
    non_zeros: dict[str, float]
    """mean, max: weights per document, over ``documents`` of them."""
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """System -> p50, p95 of one query at a time, tokenising and HTTP included; empty for a model."""
    baseline: dict[str, Any] = field(default_factory=dict)
    """name, analyzers by language; empty when there was none."""
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    def save(self, path: Path) -> None:
        write_atomic(path, pretty_json(self.to_json()))

    @classmethod
    def open(cls, path: Path) -> Report:
        """Raises :class:`InputError` if the file is not a report."""
        raw = read_json(path)
        try:
            if raw.pop("schema") != SCHEMA_VERSION:
                raise KeyError("schema")
            rows = [Row(**{**row, "baseline": row["baseline"] and Baseline(**row["baseline"])}) for row in raw["rows"]]
            return cls(**{**raw, "rows": rows})
        except (AttributeError, KeyError, TypeError):
            raise InputError(f"{path} is not a report of osparse evaluate; choose another --output") from None

    def __str__(self) -> str:
        return table(self)


def rows_of(judged: JudgedSet, measures: Measures, baseline: Measures | None) -> list[Row]:
    """The direction's row, then the row of its queries without a shared word where there are any."""
    rows = [_row(judged, False, measures, baseline)]
    if judged.no_shared:
        part = baseline.subset(judged.no_shared) if baseline else None
        rows.append(_row(judged, True, measures.subset(judged.no_shared), part))
    return rows


def _row(judged: JudgedSet, no_shared_word: bool, measures: Measures, baseline: Measures | None) -> Row:
    beside = None
    if baseline is not None:
        p = paired_randomisation_test(measures.values(NDCG), baseline.values(NDCG), ROUNDS)
        means = (baseline.mean(NDCG), baseline.mean(HIT), baseline.mean(RECALL))
        beside = Baseline(*means, difference=measures.mean(NDCG) - means[0], p=p)
    return Row(
        direction=judged.direction,
        no_shared_word=no_shared_word,
        queries=measures.queries,
        documents=len(judged.document_ids),
        ndcg10=measures.mean(NDCG),
        margin=measures.margin(NDCG),
        hit1=measures.mean(HIT),
        r100=measures.mean(RECALL),
        baseline=beside,
    )


def table(report: Report) -> str:
    """The report for people."""
    from rich.console import Console
    from rich.table import Table

    beside = bool(report.baseline)
    shown = Table()
    shown.add_column("direction", no_wrap=True)
    for name in ("queries", *(("BM25 nDCG@10",) if beside else ()), "nDCG@10", *(("gain", "p") if beside else ())):
        shown.add_column(name, justify="right", no_wrap=True)
    for name in (HIT, RECALL):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        name = "  no shared word" if row.no_shared_word else row.direction
        found = [f"{row.queries:,}", f"{row.ndcg10:.3f} \u00b1{row.margin:.3f}", f"{row.hit1:.3f}", f"{row.r100:.3f}"]
        if row.baseline is not None:
            found[1:1] = [f"{row.baseline.ndcg10:.3f}"]
            found[3:3] = [f"{row.baseline.difference:+.3f}", f"{row.baseline.p:.4f}"]
        shown.add_row(name, *found, style="dim" if row.no_shared_word else None)
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, force_jupyter=False)
    console.print(shown)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join([_title(report), *(line.rstrip() for line in lines), *_legend(report)])


def _title(report: Report) -> str:
    corpora = ", ".join(f"{n:,} {lang}" for lang, n in report.dataset["documents"].items())
    return (
        f"{report.system['name']} on {report.dataset['name']} ({report.dataset['split']} queries; documents: {corpora})"
    )


def _legend(report: Report) -> list[str]:
    sizes = report.non_zeros
    lines = [
        f"non-zeros per document: mean {sizes['mean']:.1f}, max {sizes['max']:,.0f} (over {sizes['documents']:,.0f})",
        f"document weights: {report.system['weights']}; \u00b1 is the 95 % interval",
    ]
    if report.latency_ms:
        speeds = (f"{name} p50 {ms['p50']:.1f} ms, p95 {ms['p95']:.1f} ms" for name, ms in report.latency_ms.items())
        lines.append(f"one query at a time: {'; '.join(speeds)}")
    if report.baseline:
        analyzers = ", ".join(f"{name} for {lang}" for lang, name in report.baseline["analyzers"].items())
        lines.append(
            f"BM25: k1 1.2, b 0.75, one index per language, analyzer {analyzers}; p: paired randomisation test"
        )
    return [*lines, *(f"note: {note}" for note in report.notes)]
