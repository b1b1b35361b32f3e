"""Judged queries by direction, and the measures of a run over them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.words import words
from osparse.errors import DatasetError
from osparse.evaluation.named_measures import (
    HIT,
    JUDGED,
    MEASURES,
    NDCG,
    RECALL,
    condensed,
    cutoff_of,
    measured,
)
from osparse.io.streams import find

if TYPE_CHECKING:
    import polars as pl

    from osparse.contracts.dataset import Dataset

RUN_DEPTH = 101
"""Documents to retrieve per query for :data:`MEASURES`; see :func:`run_depth`."""

__all__ = [
    "HIT",
    "JUDGED",
    "MEASURES",
    "NDCG",
    "RECALL",
    "RUN_DEPTH",
    "Benchmark",
    "JudgedSet",
    "Measures",
    "condensed_run",
    "judged_sets",
    "measure",
    "open_benchmark",
    "run_depth",
    "without_query",
]

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
    not_relevant: dict[str, frozenset[str]] = field(default_factory=dict)
    """Query id -> documents judged not to answer it (grade 0 or less)."""

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


def open_benchmark(
    path: Path | str, split: str = "test", *, strict: bool = False, lang: str | None = None
) -> Benchmark:
    """Read a dataset directory or a BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv).

    Judgements that name a query or document that is missing or has no text are left out with a warning, as they are
    when a dataset is built.

    Args:
        lang: The language of every text of a BEIR folder, which is then one collection; None detects languages. A
            dataset directory has its own.

    Raises:
        DatasetError: it is neither, it is not whole, or it has no such split; with ``strict`` for such judgements.
    """
    from osparse.contracts.dataset import Dataset

    path = Path(path)
    if find(path, "corpus.jsonl") is not None and not (path / "manifest.json").is_file():
        return _beir(path, split, strict, lang)
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
        return len(next(iter(self.per_query.values())))

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


def run_depth(measures: Sequence[str]) -> int:
    """Documents to retrieve per query: one more than the deepest cutoff, since the query's own document is dropped."""
    return max(map(cutoff_of, measures)) + 1


def measure(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Collection[str]],
    measures: Sequence[str] = MEASURES,
    not_relevant: Mapping[str, Collection[str]] | None = None,
) -> Measures:
    """Measure a run, query id -> document ids best first; the order given is the ranking, scores play no part.

    The query's own document is left out first, see :func:`without_query`.

    Args:
        measures: As :func:`osparse.evaluation.named_measures.check_measures` accepts them.
        not_relevant: Query id -> documents judged not to be relevant.
    """
    return Measures(measured(measures, qrels, without_query(run, qrels), not_relevant or {}))


def without_query(run: Mapping[str, Collection[str]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """The rankings of the judged queries without the document of the query's own id.

    Such a document is the query itself (ArguAna, Quora) and is left out, as BEIR does, unless it is judged to answer
    the query: then the equal ids name two things.
    """
    return {
        query: [document for document in run.get(query, ()) if document != query or document in grades]
        for query, grades in qrels.items()
    }


def condensed_run(judged: JudgedSet, run: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """``run`` without documents that nobody judged."""
    return condensed(judged.qrels, without_query(run, judged.qrels), judged.not_relevant)


def _sets(documents: pl.LazyFrame, queries: pl.LazyFrame, qrels: pl.DataFrame, source: str) -> list[JudgedSet]:
    import polars as pl

    uneven = qrels.filter(pl.col("score") != pl.col("score").round())
    if uneven.height:
        raise DatasetError(
            f"{source}: {uneven.height} judgements are not whole numbers (like {uneven['score'][0]:.3f}); "
            "measuring needs grades 0, 1, 2, ..; choose another split"
        )
    query_texts = queries.select(query_id="id", query="text", query_lang="lang").collect()
    judged = qrels.filter(pl.col("score") > 0).select("query_id", "document_id", pl.col("score").cast(pl.Int64))
    answers = documents.select(document_id="id", document="text", document_lang="lang")
    answers = answers.join(judged.lazy(), on="document_id", how="semi")
    judged = judged.join(query_texts, on="query_id").join(answers.collect(), on="document_id")
    if judged.is_empty():
        raise DatasetError(f"{source}: no query of this split has a relevant document; choose another split")
    corpus = {lang: ids for lang, ids in documents.group_by("lang").agg(pl.col("id")).collect().iter_rows()}
    zeros, sets = _zeros(qrels), []
    for (query_lang, document_lang), rows in judged.sort("query_id", "document_id").group_by(
        ["query_lang", "document_lang"]
    ):
        judged_set = _set(str(query_lang), str(document_lang), rows, corpus[document_lang])
        sets.append(replace(judged_set, not_relevant=_not_relevant(judged_set, zeros)))
    return sorted(
        sets, key=lambda judged_set: (judged_set.query_lang != judged_set.document_lang, judged_set.direction)
    )


def _zeros(qrels: pl.DataFrame) -> dict[str, list[str]]:
    """Query id -> documents judged not to answer it, of all languages."""
    import polars as pl

    rows = qrels.filter(pl.col("score") <= 0).group_by("query_id").agg(pl.col("document_id"))
    return dict(rows.select("query_id", "document_id").iter_rows())


def _not_relevant(judged: JudgedSet, zeros: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    """``zeros`` of the set's queries among the set's documents."""
    documents = frozenset(judged.document_ids) if zeros else frozenset[str]()
    rows = {query: documents.intersection(zeros[query]) for query in judged.queries if query in zeros}
    return {query: ids for query, ids in rows.items() if ids}


def _known(qrels: pl.DataFrame, table: pl.LazyFrame, what: str, source: str, strict: bool) -> pl.DataFrame:
    """The judgements whose query or document is in the table with a text."""
    import polars as pl

    column = f"{what}_id"
    ids = table.filter(pl.col("text").str.strip_chars() != "").select(pl.col("id").alias(column)).collect()
    lost = qrels.join(ids, on=column, how="anti", maintain_order="left")
    if lost.height:
        message = f"{source}: {lost.height} judgements name a missing or empty {what}, for example {lost[column][0]!r}"
        if strict:
            raise DatasetError(f"{message}; give the whole corpus, or leave `strict` out to drop them")
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
        query for query, answer_words in answers.items() if answer_words.isdisjoint(words(queries[query]))
    )
    return JudgedSet(query_lang, document_lang, queries, sorted(document_ids), qrels, no_shared)


def _beir(path: Path, split: str, strict: bool, lang: str | None) -> Benchmark:
    from osparse.evaluation.beir import read_beir

    folder = read_beir(path, split, lang, strict=strict)
    qrels = folder.qrels
    for table, what in ((folder.queries, "query"), (folder.documents, "document")):
        qrels = _known(qrels, table, what, str(path), strict)
    sets = _sets(folder.documents, folder.queries, qrels, str(path))
    return Benchmark(path.resolve().name, split, folder.fingerprint, folder.documents, sets)
