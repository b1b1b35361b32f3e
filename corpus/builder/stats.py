"""``osparse corpus stats``: what a dataset holds, and whether its splits are apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import polars as pl

from osparse.contracts.dataset import ALL, Dataset
from osparse.corpus.builder.candidate_stats import CandidateStats, candidate_stats


@dataclass(frozen=True)
class Stats:
    sources: list[dict[str, Any]]
    splits: dict[str, dict[str, Any]]
    """Split -> queries, documents, judgements (by origin), dates, and per language the lengths in characters.

    Of a dataset without judgements the one part is ``all``.
    """
    overlap: dict[str, dict[str, int]]
    """``test and train`` -> shared groups, queries and relevant texts; groups must be 0."""
    candidates: dict[str, CandidateStats] = field(default_factory=dict)
    """Split -> its hard negatives and teachers' scores, for the splits that have some."""

    @property
    def shared_groups(self) -> int:
        return sum(pair["groups"] for pair in self.overlap.values())


def dataset_stats(dataset: Dataset) -> Stats:
    """Count rows, lengths, languages, dates and what the splits share; streams, holds no text."""
    parts = {split: _keys(dataset, split) for split in dataset.splits}
    overlap = {
        f"{one} and {other}": {
            kind: parts[one][kind].join(parts[other][kind], on=kind, how="semi").height for kind in parts[one]
        }
        for one, other in combinations(dataset.splits, 2)
    }
    sources = [
        {"name": s.name, "licence": s.licence, "rows_in": s.rows_in, "rows_kept": s.rows_kept, "dropped": s.dropped}
        for s in dataset.manifest.sources
    ]
    splits = {split: _split(dataset, split) for split in dataset.splits or (ALL,)}
    return Stats(sources, splits, overlap, candidate_stats(dataset))


def _keys(dataset: Dataset, split: str) -> dict[str, pl.DataFrame]:
    """What must not be in two splits: groups of judged documents, query texts, texts of relevant documents."""
    relevant = dataset.qrels(split).filter(pl.col("score") > 0).select(pl.col("document_id").unique().alias("id"))
    texts = dataset.documents.join(relevant, on="id", how="semi")
    groups = dataset.split_documents(split).filter(pl.col("group") != "")
    frames = {
        "groups": groups.select(groups=pl.col("group").unique()),
        "queries": dataset.split_queries(split).select(queries=pl.col("text").unique()),
        "relevant_texts": texts.select(relevant_texts=pl.col("text").unique()),
    }
    return {name: frame.collect() for name, frame in frames.items()}


def _split(dataset: Dataset, split: str) -> dict[str, Any]:
    documents, queries = dataset.split_documents(split), dataset.split_queries(split)
    judged = dataset.qrels(split).group_by("origin").len().sort("origin").collect().iter_rows() if split != ALL else ()
    dates = documents.select(first=pl.col("date").min(), last=pl.col("date").max()).collect().row(0, named=True)
    return {
        "documents": _lengths(documents),
        "queries": _lengths(queries),
        "judgements": dict(judged),
        "groups": documents.filter(pl.col("group") != "").select(pl.col("group").n_unique()).collect().item(),
        "dates": [str(day) if day else None for day in (dates["first"], dates["last"])],
    }


def _lengths(frame: pl.LazyFrame) -> dict[str, dict[str, float]]:
    """Language -> rows and the mean, median and 99th percentile of the length in characters."""
    size = pl.col("text").str.len_chars()
    lengths = frame.group_by("lang").agg(
        rows=pl.len(),
        mean=size.mean().round(1),
        p50=size.quantile(0.5, "lower"),
        p99=size.quantile(0.99, "lower"),
    )
    return {row.pop("lang"): row for row in lengths.sort("lang").collect().iter_rows(named=True)}
