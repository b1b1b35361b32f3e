"""Records that are built on access: row numbers in memory, texts and token ids in memory maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.algorithms.components import smallest_members
from osparse.contracts.text_map import TextMap
from osparse.trainer.data.tokens import TokenReader, TokenTable
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord

Rows = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class RowLists:
    """Rows of a table for each of several owners."""

    starts: NDArray[np.int64]
    """(N + 1,)"""
    rows: Rows
    """Those of owner i are ``starts[i]:starts[i + 1]``."""

    @classmethod
    def of(cls, owners: NDArray[np.int64], rows: Rows, count: int) -> RowLists:
        """The rows by owner, those of one in the order given; an owner of -1 is left out."""
        order = np.argsort(owners, kind="stable")
        order = order[owners[order] >= 0]
        counts = np.bincount(owners[order], minlength=count)
        return cls(np.append(0, np.cumsum(counts)), rows[order])

    def at(self, owner: int) -> list[int]:
        part: list[int] = self.rows[self.starts[owner] : self.starts[owner + 1]].tolist()
        return part


@dataclass(frozen=True, eq=False)
class NumberedJudgements:
    """The positive judgements of a dataset as numbers: documents and queries numbered in the order of their ids."""

    documents: Rows
    """(D,) row of each document."""
    queries: Rows
    """(Q,)"""
    document_of: NDArray[np.int64]
    """(E,) number of each judgement's document."""
    query_of: NDArray[np.int64]
    """(E,)"""

    @classmethod
    def of(cls, positives: pl.DataFrame, documents: TextMap, queries: TextMap) -> NumberedJudgements:
        """``positives``: columns query_id and document_id."""
        document_rows, document_of = _by_id(positives["document_id"], documents)
        query_rows, query_of = _by_id(positives["query_id"], queries)
        return cls(document_rows, query_rows, document_of, query_of)

    @cached_property
    def roots(self) -> NDArray[np.int64]:
        """(D + Q,) the smallest document of each document's and each query's connected part."""
        size = len(self.documents)
        return smallest_members(size + len(self.queries), self.document_of, size + self.query_of)


def _by_id(ids: pl.Series, texts: TextMap) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of the distinct ids in the order of the ids, and the place in it of each of ``ids``."""
    distinct = ids.unique().sort()
    rows = texts.index.rows(distinct)
    place_of_row = np.zeros(len(texts), np.int64)
    place_of_row[rows] = np.arange(len(rows))
    return rows, place_of_row[texts.index.rows(ids)]


@dataclass(frozen=True, eq=False)
class RecordTable(Sequence[TrainingRecord]):
    """The connected parts of the judgements that have a query and a document with tokens."""

    documents: TextMap
    document_tokens: TokenTable
    queries: TextMap
    query_tokens: TokenTable
    roots: Rows
    """(R,) row of the document that names a record: the one with the smallest id."""
    documents_of: RowLists
    queries_of: RowLists

    def __len__(self) -> int:
        return len(self.roots)

    @overload
    def __getitem__(self, number: int) -> TrainingRecord: ...
    @overload
    def __getitem__(self, number: slice) -> list[TrainingRecord]: ...
    def __getitem__(self, number: int | slice) -> TrainingRecord | list[TrainingRecord]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        number = int(number) % len(self)
        root = self.documents.value(int(self.roots[number]), "id")
        documents = [
            document_text(self.documents, self.document_tokens, row, root) for row in self.documents_of.at(number)
        ]
        queries = [query_text(self.queries, self.query_tokens, row) for row in self.queries_of.at(number)]
        names, numbers = self.sources
        return TrainingRecord(documents[0].group, names[numbers[number]], queries, documents)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(R,) number of each record's group."""
        first = self.documents_of.rows[self.documents_of.starts[:-1]]
        named, roots = _column(self.documents, first, "group"), _column(self.documents, self.roots, "id")
        return _numbers(pl.select(pl.when(named == "").then(roots).otherwise(named)).to_series())[1]

    @cached_property
    def sources(self) -> tuple[list[str], NDArray[np.int64]]:
        """Names, sorted, and (R,) the number of each record's: that of its first document which has one."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.documents_of.starts))
        frame = pl.DataFrame({"owner": owner, "source": _column(self.documents, self.documents_of.rows, "source")})
        named = frame.filter(pl.col("source") != "").unique("owner", keep="first", maintain_order=True)
        whole = pl.DataFrame({"owner": np.arange(len(self))}).join(named, on="owner", how="left", maintain_order="left")
        return _numbers(whole["source"].fill_null(""))

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the documents, sorted."""
        return tuple(_column(self.documents, self.documents_of.rows, "lang").unique().sort())

    @property
    def query_count(self) -> int:
        return len(self.queries_of.rows)


def document_text(texts: TextMap, tokens: TokenTable, row: int, group: str) -> TokenisedText:
    """The document of a row; ``group`` where it has none of its own."""
    return TokenisedText(
        texts.value(row, "id"), texts.value(row, "lang"), tokens.of(row), texts.value(row, "group") or group
    )


def query_text(texts: TextMap, tokens: TokenTable, row: int) -> TokenisedText:
    """The query of a row, its token ids distinct."""
    ids = np.array(list(dict.fromkeys(tokens.of(row).tolist())), dtype=np.int64)
    return TokenisedText(texts.value(row, "id"), texts.value(row, "lang"), ids)


@dataclass(frozen=True, eq=False)
class RelevantDocuments(Mapping[str, frozenset[str]]):
    """Query id -> ids of its relevant documents, of which the rows are in memory."""

    documents: TextMap
    number: Mapping[str, int]
    """Query id -> its number."""
    documents_of: RowLists

    def __getitem__(self, query: str) -> frozenset[str]:
        return frozenset(self.documents.value(row, "id") for row in self.documents_of.at(self.number[query]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.number)

    def __len__(self) -> int:
        return len(self.number)


def make_table(judged: NumberedJudgements, documents: TextMap, queries: TextMap, reader: TokenReader) -> RecordTable:
    """The records of the judgements; it may be empty."""
    document_tokens, query_tokens = reader.read(documents, judged.documents), reader.read(queries, judged.queries)
    size = len(judged.documents)
    document_root, query_root = judged.roots[:size], judged.roots[size:]
    has_document, has_query = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    document_used = _filled(document_tokens, judged.documents)
    has_document[document_root[document_used]] = True
    query_used = _filled(query_tokens, judged.queries) & has_document[query_root]
    has_query[query_root[query_used]] = True
    number = np.where(has_query, np.cumsum(has_query) - 1, -1)  # of each root's record
    count = int(has_query.sum())
    return RecordTable(
        documents, document_tokens, queries, query_tokens, judged.documents[has_query],
        RowLists.of(np.where(document_used, number[document_root], -1), judged.documents, count),
        RowLists.of(np.where(query_used, number[query_root], -1), judged.queries, count),
    )  # fmt: skip


def _filled(tokens: TokenTable, rows: Rows) -> NDArray[np.bool_]:
    """Whether each of the rows has a token."""
    filled: NDArray[np.bool_] = tokens.lengths[np.searchsorted(tokens.rows, rows)] > 0
    return filled


def _column(texts: TextMap, rows: Rows, name: str) -> pl.Series:
    """A column of many rows."""
    return pl.scan_ipc(texts.path).select(pl.col(name).gather(pl.Series(rows))).collect()[name]


def _numbers(values: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct values, sorted, and the place in them of each value."""
    names = values.unique().sort()
    place = pl.DataFrame({"value": names, "place": np.arange(len(names), dtype=np.int64)})
    numbered = pl.DataFrame({"value": values}).join(place, on="value", how="left", maintain_order="left")
    return names.to_list(), numbered["place"].to_numpy()
