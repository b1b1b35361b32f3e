"""The training split as records: the queries and documents that belong together, as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TokenisedText:
    """One query or document."""

    id: str
    lang: str
    ids: Ids
    """Token ids without special ones, in order; a query's are distinct."""
    group: str = ""
    """A document's; documents of one group are siblings and never each other's negatives."""


@dataclass
class TrainingRecord:
    """A connected component of the judgements: its queries are judged with its documents only."""

    group: str = ""
    source: str = ""
    """Of its first document."""
    queries: list[TokenisedText] = field(default_factory=list)
    documents: list[TokenisedText] = field(default_factory=list)

    def tokens(self, lang: str) -> Ids:
        """Distinct tokens of its texts in one language, rising; may be empty."""
        texts = (text.ids for text in (*self.queries, *self.documents) if text.lang == lang)
        return np.unique(np.concatenate([np.zeros(0, np.int64), *texts]))


@dataclass(frozen=True)
class QueryCandidates:
    """Documents found for a query by mining, or scored for it by a teacher."""

    documents: dict[str, bool] = field(default_factory=dict)
    """Document id -> whether it is labelled a negative; otherwise only a teacher knows."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scorer -> {document id: score}."""
    teachers: set[str] = field(default_factory=set)
    """Those of the scorers that are teachers; a retriever scores only what it retrieved, not the positives."""


@dataclass(frozen=True)
class TrainingRecords:
    """The part of a dataset that a training run uses."""

    records: Sequence[TrainingRecord]
    languages: tuple[str, ...]
    """Of the documents, sorted."""
    relevant: Mapping[str, frozenset[str]]
    """Query id -> ids of its relevant documents."""
    candidates: Mapping[str, QueryCandidates] = field(default_factory=dict)
    """Query id -> documents mined or scored for it; read where a stage uses them."""
    others: Mapping[str, TokenisedText] = field(default_factory=dict)
    """Documents of the candidates, by id."""
    tables: dict[tuple[str, str, int, int], sparse.csr_matrix] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Translation tables estimated so far; see osparse.trainer.data.token_translation."""

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(R,) number of each record's group; records of one group never share a batch."""
        if isinstance(self.records, CountedRecords):
            return self.records.groups
        return _numbered([record.group for record in self.records])[1]

    @cached_property
    def sources(self) -> tuple[list[str], NDArray[np.int64]]:
        """Names, sorted, and (R,) the number of each record's."""
        if isinstance(self.records, CountedRecords):
            return self.records.sources
        return _numbered([record.source for record in self.records])

    @property
    def query_count(self) -> int:
        if isinstance(self.records, CountedRecords):
            return self.records.query_count
        return sum(len(record.queries) for record in self.records)


@runtime_checkable
class CountedRecords(Protocol):
    """Records that know their figures without being built."""

    @property
    def groups(self) -> NDArray[np.int64]: ...

    @property
    def sources(self) -> tuple[list[str], NDArray[np.int64]]: ...

    @property
    def query_count(self) -> int: ...


def _numbered(values: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    names = sorted({*values})
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[value] for value in values], dtype=np.int64)
