"""Hard negatives and teachers' scores of the training split: what a ranker was shown for each query."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.text_map import TextMap
from osparse.formula.lexicon import Lexicon
from osparse.io.tables import BATCH_ROWS
from osparse.trainer.data.record_reader import text_maps, token_reader
from osparse.trainer.data.record_table import RowLists, Rows, document_text
from osparse.trainer.data.tokens import TokenTable
from osparse.trainer.data.training_records import QueryCandidates, TokenisedText, TrainingRecords

log = logging.getLogger("osparse.trainer.data.candidates")


@dataclass(frozen=True, eq=False)
class CandidateTable(Mapping[str, QueryCandidates]):
    """Query id -> its candidates, built on access from 14 bytes each."""

    documents: TextMap
    number: Mapping[str, int]
    """Query id -> its number; of the queries that have candidates."""
    places: RowLists
    """Of each query, in the arrays below."""
    rows: Rows
    """(N,) row of each candidate's document."""
    negative: NDArray[np.bool_]
    """(N,) whether it is labelled a negative."""
    scores: NDArray[np.float32]
    """(N,) NaN where nothing scored it."""
    distilled: NDArray[np.bool_]
    """(N,) whether the score is a teacher's."""
    scorers: tuple[str, ...]
    scorer: NDArray[np.uint16]
    """(N,) number of the scorer."""

    def __getitem__(self, query: str) -> QueryCandidates:
        candidates = QueryCandidates()
        for place in self.places.at(self.number[query]):
            document = self.documents.value(int(self.rows[place]), "id")
            candidates.documents[document] = candidates.documents.get(document, False) or bool(self.negative[place])
            if not np.isnan(self.scores[place]):
                scorer = self.scorers[self.scorer[place]]
                candidates.scores.setdefault(scorer, {})[document] = float(self.scores[place])
                if self.distilled[place]:
                    candidates.teachers.add(scorer)
        return candidates

    def __iter__(self) -> Iterator[str]:
        return iter(self.number)

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True, eq=False)
class CandidateDocuments(Mapping[str, TokenisedText]):
    """The documents of the candidates by id."""

    documents: TextMap
    tokens: TokenTable
    row_of: Mapping[str, int]

    def __getitem__(self, name: str) -> TokenisedText:
        return document_text(self.documents, self.tokens, self.row_of[name], name)

    def __contains__(self, name: object) -> bool:
        return name in self.row_of

    def __iter__(self) -> Iterator[str]:
        return iter(self.row_of)

    def __len__(self) -> int:
        return len(self.row_of)


def with_candidates(
    records: TrainingRecords, dataset: Dataset, tokenizer: Path, lexicon: Lexicon, splits: Sequence[str] = ("train",),
    cache: Path | None = None,
) -> TrainingRecords:  # fmt: skip
    """The records with the candidates of their queries, and the tokenised documents these name.

    A document that is judged in a held-back split alone is left out: nothing of it may be learnt. ``splits`` are those
    trained on; ``cache`` as in :func:`read_records`.

    Raises :class:`DatasetError` if the training split has no candidates.
    """
    with_some = ["train", *(split for split in splits if split != "train" and dataset.has_candidates(split))]
    documents, queries = text_maps(dataset)
    rows = pl.concat([dataset.candidates(split) for split in with_some])
    table, named = _table(rows, records, documents, queries)
    held = documents.index.rows(held_back(dataset, splits)["id"])
    learnable = named[~np.isin(named, held)]
    if len(learnable) < len(named):
        log.warning(
            "%s: %d of %d candidates that are trained with are judged in a held-back split alone and are left out",
            dataset.path, len(named) - len(learnable), len(named),
        )  # fmt: skip
    tokens = token_reader(tokenizer, lexicon, cache).read(documents, learnable)
    row_of = {documents.value(row, "id"): row for row in tokens.rows[tokens.lengths > 0].tolist()}
    return replace(records, candidates=table, others=CandidateDocuments(documents, tokens, row_of))


def _table(
    rows: pl.LazyFrame, records: TrainingRecords, documents: TextMap, queries: TextMap
) -> tuple[CandidateTable, Rows]:
    """The candidates of the records' queries, and the rows of all documents that ``rows`` name."""
    number = {query: place for place, query in enumerate(records.relevant)}
    number_of_row = np.full(len(queries), -1, np.int64)
    number_of_row[queries.index.rows(pl.Series([*number], dtype=pl.String))] = np.arange(len(number))
    scorers: dict[str, int] = {}
    parts = [
        _part(part, number_of_row, documents, queries, scorers)
        for part in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    ]
    owner, document, negative, scores, distilled, scorer = (
        np.concatenate(values) for values in zip(*parts, strict=True)
    )
    places = RowLists.of(owner, np.arange(len(owner), dtype=np.uint32), len(number))
    with_some = {query: place for query, place in number.items() if places.starts[place] < places.starts[place + 1]}
    table = CandidateTable(documents, with_some, places, document, negative, scores, distilled, (*scorers,), scorer)
    return table, np.unique(document)


def _part(
    part: pl.DataFrame, number_of_row: NDArray[np.int64], documents: TextMap, queries: TextMap, scorers: dict[str, int]
) -> tuple[NDArray[np.int64], Rows, NDArray[np.bool_], NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint16]]:
    """Query number (-1: not trained with), document row and the rest of each row."""
    for name in part["scorer"].unique(maintain_order=True):
        scorers.setdefault(name, len(scorers))
    return (
        number_of_row[queries.index.rows(part["query_id"])],
        documents.index.rows(part["document_id"]),
        (part["label"] <= 0).fill_null(False).to_numpy(),
        part["score"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        (part["origin"] == "distilled").to_numpy(),
        part["scorer"].replace_strict(scorers, return_dtype=pl.UInt16).to_numpy(),
    )


def held_back(dataset: Dataset, splits: Sequence[str]) -> pl.DataFrame:
    """Ids of the documents that another split judges and none of ``splits`` does."""
    other_splits = [dataset.qrels(split) for split in dataset.splits if split not in splits]
    trained = pl.concat([dataset.qrels(split) for split in splits]).select(pl.col("document_id").alias("id"))
    if not other_splits:
        return trained.clear().collect()
    judged = pl.concat(other_splits).select(pl.col("document_id").unique().alias("id"))
    return judged.join(trained, on="id", how="anti").collect()
