"""What of a dataset trimming looks at: queries to choose by, documents to encode, judgements to measure the loss on.

Tokens are chosen by documents, and by queries that are held back by no split, so that the loss is measured on queries
that had no say: those of validation, or of test where there is no validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.evaluation.measures import JudgedSet, judged_sets
from osparse.io.tables import row_batches

ENCODED = 10_000
"""Documents that are encoded with the whole vocabulary, and with the trimmed one: those judged, others at random."""
READ = 512
"""Texts at a time."""
HELD_BACK = ("validation", "test")


@dataclass(frozen=True, eq=False)
class CorpusSample:
    """A dataset as trimming reads it."""

    dataset: Dataset
    measured: str | None
    """Split whose judgements measure the loss; None where there are none."""
    sets: tuple[JudgedSet, ...]
    """Its judged queries by direction."""
    documents: pl.LazyFrame
    """Those to encode: id, text."""
    documents_to_encode: int

    def all_documents(self) -> Iterator[list[str]]:
        """Texts of every document, a batch at a time."""
        return _texts(self.dataset.documents)

    def queries(self) -> Iterator[list[str]]:
        """Texts of every query."""
        return _texts(self.dataset.queries)

    def choosing_queries(self) -> Iterator[list[str]]:
        """Texts of the queries that tokens are chosen by."""
        held = [split for split in self.dataset.splits if split in HELD_BACK or split == self.measured]
        judged = [self.dataset.qrels(split).select(id="query_id") for split in held]
        queries = self.dataset.queries
        return _texts(queries.join(pl.concat(judged), on="id", how="anti") if judged else queries)

    def encoded(self) -> Iterator[list[tuple[str, str]]]:
        """(id, text) of the documents to encode, a batch at a time."""
        return row_batches(self.documents, READ)


def read_sample(dataset: Dataset) -> CorpusSample:
    """The sample of a dataset; the same every time."""
    measured = next((split for split in (*HELD_BACK, "train") if split in dataset.splits), None)
    sets = () if measured is None else tuple(judged_sets(dataset, measured))
    judged = {document for judged_set in sets for grades in judged_set.qrels.values() for document in grades}
    ids = dataset.documents.select("id").collect()["id"]
    order = np.random.default_rng(0).permutation(len(ids))
    others = [i for i in ids.gather(order).to_list() if i not in judged]
    chosen = [*judged, *others[: max(0, ENCODED - len(judged))]]
    documents = dataset.documents.select("id", "text").filter(pl.col("id").is_in(chosen))
    return CorpusSample(dataset, measured, sets, documents, len(chosen))


def _texts(table: pl.LazyFrame) -> Iterator[list[str]]:
    for rows in row_batches(table.select("text"), READ):
        yield [text for (text,) in rows]
