"""Judged queries by direction, and how good a ranking of them is: nDCG@10, hit@1 and R@100."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.words import words
from osparse.errors import DatasetError
from osparse.evaluation.rank_measures import ndcg, recall, success
from osparse.io.streams import find

if TYPE_CHECKING:
    import polars as pl

    from osparse.contracts.dataset import Dataset

NDCG, HIT, RECALL = "nDCG@10", "hit@1", "R@100"
MEASURES = (NDCG, HIT, RECALL)
DEPTH = 100
"""Documents of a run that the measures look at."""
ASKED = DEPTH + 1
"""Documents to rank for a run: one more, since :func:`measure` may drop the query's own."""

_BY_NAME = {NDCG: (ndcg, 10), HIT: (success, 1), RECALL: (recall, DEPTH)}

log = logging.getLogger("osparse.evaluation.measures")


@dataclass(frozen=True)
class JudgedSet:
    """The judged queries of one direction: asked in one language, answered by documents of one language."""

    query_lang: str
    document_lang: str
    queries: dict[str, str]
    """Query id -> text."""
    document_ids: list[str]
    """Every document of the language, judged or not: what a query is ranked against."""
    qrels: dict[str, dict[str, int]]
    """Query id -> {relevant document id: grade >= 1}."""
    no_shared: frozenset[str]
    """Cross-language queries that share no word with any of their relevant documents; empty within a language."""

    @property
    def direction(self) -> str:
        return f"{self.query_lang}->{self.document_lang}"


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A corpus and its judged sets, read from a dataset directory or a BEIR folder."""

    name: str
    split: str
    fingerprint: str
    """Of the files it was read from."""
    documents: pl.LazyFrame
    """Columns id, text, lang (and others that are not looked at)."""
    sets: list[JudgedSet]

    def texts(self, batch: int = 512) -> Iterator[list[tuple[str, str, str]]]:
        """All documents as (id, text, lang), a batch at a time."""
        from osparse.io.tables import row_batches

        yield from row_batches(self.documents.select("id", "text", "lang"), batch)

    @cached_property
    def languages(self) -> dict[str, int]:
        """Document language -> number of documents."""
        import polars as pl

        counted = self.documents.group_by("lang").agg(pl.len().alias("documents")).sort("lang").collect()
        return dict(counted.iter_rows())


def open_benchmark(path: Path | str, split: str = "test", *, strict: bool = False) -> Benchmark:
    """Read a dataset directory or a BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv).

    Judgements that name a query or document that is missing or has no text are left out with a warning, as they are
    when a dataset is built.

    Raises:
        DatasetError: it is neither, it is not whole, or it has no such split; with ``strict`` for such judgements.
    """
    from osparse.contracts.dataset import Dataset

    path = Path(path)
    if find(path, "corpus.jsonl") is not None and not (path / "manifest.json").is_file():
        return _beir(path, split, strict)
    dataset = Dataset.open(path)
    return Benchmark(
        path.resolve().name, split, dataset.fingerprint, dataset.documents, judged_sets(dataset, split)
    )  # fmt: skip


def judged_sets(dataset: Dataset, split: str) -> list[JudgedSet]:
    """One set for each pair of query and document language that has judgements in the split, sorted by direction.

    Raises :class:`DatasetError` if the split is not there.
    """
    return _sets(dataset.documents, dataset.queries, dataset.qrels(split).collect(), str(dataset.path))


@dataclass(frozen=True)
class Measures:
    """Values of each query by measure; a query the run does not answer has 0."""

    per_query: dict[str, dict[str, float]]
    """Measure -> {query id: value}; every measure has the same queries in the same order."""

    @property
    def queries(self) -> int:
        return len(self.per_query[NDCG])

    def values(self, measure: str) -> NDArray[np.float64]:
        return np.fromiter(self.per_query[measure].values(), np.float64)

    def mean(self, measure: str) -> float:
        return float(self.values(measure).mean()) if self.queries else 0.0

    def margin(self, measure: str) -> float:
        """Half width of the normal 95 % interval of the mean, queries taken as a random sample."""
        if self.queries < 2:
            return 0.0
        return float(1.96 * self.values(measure).std(ddof=1) / np.sqrt(self.queries))

    def subset(self, queries: frozenset[str]) -> Measures:
        return Measures({m: {q: v for q, v in values.items() if q in queries} for m, values in self.per_query.items()})


def measure(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]) -> Measures:
    """Measure a run, query id -> document ids best first; the order given is the ranking, scores play no part.

    A document with the query's own id is the query itself (ArguAna, Quora) and is passed over, as BEIR does, unless it
    is judged to answer it: there the equal names are two things.

    Source of the measures: trec_eval (ndcg_cut_10, success_1, recall_100).
    """
    rankings = {query: _others(query, run.get(query) or (), judged) for query, judged in qrels.items()}
    return Measures(
        {
            name: {query: value(rankings[query], judged, depth) for query, judged in qrels.items()}
            for name, (value, depth) in _BY_NAME.items()
        }
    )


def _others(query: str, ranking: Sequence[str], judged: Mapping[str, int]) -> list[str]:
    return [document for document in ranking if document != query or document in judged]


def _sets(documents: pl.LazyFrame, queries: pl.LazyFrame, qrels: pl.DataFrame, source: str) -> list[JudgedSet]:
    import polars as pl

    uneven = qrels.filter(pl.col("score") != pl.col("score").round())
    if uneven.height:
        raise DatasetError(
            f"{source}: {uneven.height} judgements are not whole numbers (like {uneven['score'][0]:.3f}); "
            "measuring needs grades 0, 1, 2, ..; choose another split"
        )
    asked = queries.select(query_id="id", query="text", query_lang="lang").collect()
    judged = qrels.filter(pl.col("score") > 0).select("query_id", "document_id", pl.col("score").cast(pl.Int64))
    answers = documents.select(document_id="id", document="text", document_lang="lang")
    answers = answers.join(judged.lazy(), on="document_id", how="semi")
    judged = judged.join(asked, on="query_id").join(answers.collect(), on="document_id")
    if judged.is_empty():
        raise DatasetError(f"{source}: no query of this split has a relevant document; choose another split")
    corpus = {lang: ids for lang, ids in documents.group_by("lang").agg(pl.col("id")).collect().iter_rows()}
    sets = []
    for (query_lang, document_lang), rows in judged.sort("query_id", "document_id").group_by(
        ["query_lang", "document_lang"]
    ):
        sets.append(_set(str(query_lang), str(document_lang), rows, corpus[document_lang]))
    return sorted(sets, key=lambda judged: (judged.query_lang != judged.document_lang, judged.direction))


def _known(qrels: pl.DataFrame, table: pl.LazyFrame, what: str, source: str, strict: bool) -> pl.DataFrame:
    """The judgements whose query or document is in the table with a text."""
    import polars as pl

    column = f"{what}_id"
    ids = table.filter(pl.col("text").str.strip_chars() != "").select(pl.col("id").alias(column)).collect()
    lost = qrels.join(ids, on=column, how="anti", maintain_order="left")
    if lost.height:
        message = f"{source}: {lost.height} judgements name a missing or empty {what}, for example {lost[column][0]!r}"
        if strict:
            raise DatasetError(f"{message}; give the whole corpus, or leave strict (--strict) out to drop them")
        log.warning("%s; they are left out of the figures", message)
    return qrels.join(ids, on=column, how="semi", maintain_order="left")


def _set(query_lang: str, document_lang: str, rows: pl.DataFrame, document_ids: list[str]) -> JudgedSet:
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    answers: dict[str, set[str]] = {}
    for query, document, score, text, document_text in rows.select(
        "query_id", "document_id", "score", "query", "document"
    ).iter_rows():
        queries[query] = text
        qrels.setdefault(query, {})[document] = score
        if query_lang != document_lang:
            answers.setdefault(query, set()).update(words(document_text))
    no_shared = frozenset(
        query for query, document_words in answers.items() if document_words.isdisjoint(words(queries[query]))
    )
    return JudgedSet(query_lang, document_lang, queries, sorted(document_ids), qrels, no_shared)


def _beir(path: Path, split: str, strict: bool) -> Benchmark:
    from osparse.evaluation.beir import read_beir

    folder = read_beir(path, split)
    qrels = folder.qrels
    for table, what in ((folder.queries, "query"), (folder.documents, "document")):
        qrels = _known(qrels, table, what, str(path), strict)
    sets = _sets(folder.documents, folder.queries, qrels, str(path))
    return Benchmark(path.resolve().name, split, folder.fingerprint, folder.documents, sets)
