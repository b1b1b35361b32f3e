"""What the candidates of a dataset hold: negatives per query, where they come from, who scored them and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from osparse.contracts.dataset import SPLITS, Dataset

EXAMPLES = 3
"""Queries shown with a negative."""
SHARES = {"min": 0.0, "p5": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}


@dataclass(frozen=True)
class CandidateStats:
    """Of one split."""

    queries: int
    """Judged queries of the split."""
    queries_with_candidates: int
    candidates: int
    """Distinct (query, document) pairs."""
    negatives_per_query: dict[str, float]
    """min, p50, mean and max over the judged queries; a document counts once, whoever listed it."""
    origins: dict[str, int]
    """Origin -> rows."""
    scorers: dict[str, dict[str, Any]]
    """Scorer -> ``pairs`` it scored, and the distribution of its scores of ``positives`` (judged relevant) and
    ``negatives`` (the others): number, min, p5, p50, p95, max; None where there are none."""
    examples: list[dict[str, str]]
    """``query``, ``relevant`` and ``negative`` texts, of the first queries by id."""


def candidate_stats(dataset: Dataset) -> dict[str, CandidateStats]:
    """Split -> its candidates, for the splits that have some."""
    return {split: _split(dataset, split) for split in SPLITS if dataset.has_candidates(split)}


def negatives_per_query(dataset: Dataset, split: str) -> pl.DataFrame:
    """``query_id`` and ``negatives``, the number of distinct documents that are candidates and not judged relevant.

    Of every judged query of the split, 0 where it has none.
    """
    relevant = _relevant(dataset, split)
    counts = (
        dataset.candidates(split)
        .join(relevant, on=["query_id", "document_id"], how="anti")
        .group_by("query_id")
        .agg(negatives=pl.col("document_id").n_unique())
    )
    queries = dataset.qrels(split).select(pl.col("query_id").unique())
    return queries.join(counts, on="query_id", how="left").with_columns(pl.col("negatives").fill_null(0)).collect()


def scores(dataset: Dataset, split: str) -> pl.DataFrame:
    """``scorer``, ``score`` and ``positive`` (whether the document is judged relevant) of every score of the split."""
    judged = _relevant(dataset, split).with_columns(positive=pl.lit(True))
    scored = dataset.candidates(split).filter(pl.col("score").is_finite() & (pl.col("scorer") != ""))
    joined = scored.join(judged, on=["query_id", "document_id"], how="left")
    return joined.select("scorer", "score", pl.col("positive").fill_null(False)).collect(engine="streaming")


def _relevant(dataset: Dataset, split: str) -> pl.LazyFrame:
    return dataset.qrels(split).filter(pl.col("score") > 0).select("query_id", "document_id").unique()


def _split(dataset: Dataset, split: str) -> CandidateStats:
    frame = dataset.candidates(split)
    counts = negatives_per_query(dataset, split)["negatives"]
    total = frame.select(
        queries=pl.col("query_id").n_unique(), pairs=pl.struct("query_id", "document_id").n_unique()
    ).collect()
    origins = frame.group_by("origin").len().sort("origin").collect(engine="streaming")
    return CandidateStats(
        queries=len(counts),
        queries_with_candidates=int(total["queries"].item()),
        candidates=int(total["pairs"].item()),
        negatives_per_query=_spread(counts),
        origins=dict(origins.iter_rows()),
        scorers=_scorers(scores(dataset, split)),
        examples=_examples(dataset, split),
    )


def _spread(counts: pl.Series) -> dict[str, float]:
    if counts.is_empty():
        return {"min": 0.0, "p50": 0.0, "mean": 0.0, "max": 0.0}
    numbers = counts.cast(pl.Float64)
    values = {"min": numbers.min(), "p50": numbers.quantile(0.5, "lower"), "mean": numbers.mean(), "max": numbers.max()}
    return {name: round(float(str(value)), 1) for name, value in values.items()}


def _scorers(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    found = {}
    for name in frame["scorer"].unique().sort():
        mine = frame.filter(scorer=name)
        found[name] = {
            "pairs": len(mine),
            "positives": _distribution(mine.filter(pl.col("positive"))["score"]),
            "negatives": _distribution(mine.filter(~pl.col("positive"))["score"]),
        }
    return found


def _distribution(values: pl.Series) -> dict[str, float] | None:
    if values.is_empty():
        return None
    shares = {name: round(float(str(values.quantile(share, "lower"))), 4) for name, share in SHARES.items()}
    return {"number": len(values), **shares}


def _examples(dataset: Dataset, split: str) -> list[dict[str, str]]:
    """The first queries, by id, that have a negative, each with a relevant document and its best-scored negative."""
    relevant = _relevant(dataset, split)
    negatives = (
        dataset.candidates(split)
        .join(relevant, on=["query_id", "document_id"], how="anti")
        .sort("query_id", pl.col("score").fill_null(float("-inf")), "document_id", descending=[False, True, False])
        .group_by("query_id", maintain_order=True)
        .agg(negative=pl.col("document_id").first())
        .head(EXAMPLES)
    )
    answers = relevant.group_by("query_id").agg(answer=pl.col("document_id").min())
    texts = dataset.documents.select("id", "text")
    rows = (
        negatives.join(answers, on="query_id", how="left", maintain_order="left")
        .join(dataset.queries.select(query_id="id", query="text"), on="query_id", how="left", maintain_order="left")
        .join(texts.select(answer="id", relevant="text"), on="answer", how="left", maintain_order="left")
        .join(texts.select(negative="id", negative_text="text"), on="negative", how="left", maintain_order="left")
    )
    return [
        {"query": row["query"] or "", "relevant": row["relevant"] or "", "negative": row["negative_text"] or ""}
        for row in rows.collect().iter_rows(named=True)
    ]
