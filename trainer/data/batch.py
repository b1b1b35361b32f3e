"""The batch of a ranking step: documents to encode, queries, and who is whose positive, negative or neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.trainer.config.run_config import Ranking
from osparse.trainer.config.stage_config import settled
from osparse.trainer.data.batch_sampler import BatchSampler
from osparse.trainer.data.padding import Ids, window
from osparse.trainer.data.token_translation import Translations
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords
from osparse.trainer.losses.contrastive import negative_pool

SPAN_TOKENS = (3, 12)
"""Shortest and longest span used as a query."""


@dataclass(eq=False)
class Column:
    """A document of a batch: its column in the scores."""

    document: TokenisedText
    ids: Ids
    """What of the document is encoded."""
    slot: int
    """Position of the document in its record: the documents of one slot are of different records."""
    positive: bool
    """Whether the document is its record's, and not only a candidate."""


@dataclass(frozen=True, eq=False)
class BatchQuery:
    """A query of a batch: its row in the scores."""

    ids: Ids
    """Distinct token ids."""
    target: int
    """Column of the document it must find."""
    weight: float
    """In the losses."""
    relevant: frozenset[str]
    """Ids of the documents that are no negatives of it."""
    owner: int
    """Position in the batch of its record."""
    text: TokenisedText | None = None
    """The judged query; None for a span or a translation, which have no text and no teacher's score."""


class Pools(NamedTuple):
    """(Q, D) bool each."""

    softmax: Tensor
    """The documents of a query's contrastive softmax."""
    slate: Tensor
    """The target and the candidates of the query's record, those among them that nothing calls a negative included."""
    candidates: Tensor
    """All that :meth:`Batch.candidates` allows."""


@dataclass(eq=False)
class Batch:
    """Documents of a step, and queries with the document each must find."""

    columns: list[Column] = field(default_factory=list)
    queries: list[BatchQuery] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Ids of all judged queries of the records, to name them in an error."""
    column_of: dict[str, int] = field(default_factory=dict)
    """Document id -> its column."""
    slate: list[tuple[int, int]] = field(default_factory=list)
    """(position in the batch of a record, column of one of its candidates)."""
    unlabelled: list[tuple[int, int]] = field(default_factory=list)
    """Those of ``slate`` for which nothing says that the document is a negative."""

    @property
    def documents(self) -> list[TokenisedText]:
        return [column.document for column in self.columns]

    @property
    def query_ids(self) -> list[str | None]:
        return [query.text.id if query.text else None for query in self.queries]

    def add_document(self, document: TokenisedText, ids: Ids, slot: int, *, positive: bool = True) -> int:
        """The column of a document, which is added unless it is in the batch already."""
        column = self.column_of.setdefault(document.id, len(self.columns))
        if column == len(self.columns):
            self.columns.append(Column(document, ids, slot, positive))
        return column

    def add_candidate(self, document: TokenisedText, ids: Ids, slot: int, *, owner: int, negative: bool) -> None:
        """Add a candidate of the record ``owner``; a document that is in the batch already is not encoded twice."""
        column = self.add_document(document, ids, slot, positive=False)
        self.slate.append((owner, column))
        if not negative:
            self.unlabelled.append((owner, column))

    def add_query(self, query: BatchQuery) -> None:
        self.queries.append(query)

    def candidates(self) -> NDArray[np.bool_]:
        """(Q, D): documents in the target's language that are no relevant positive, sibling or copy of the target."""
        documents = self.documents
        targets = np.array([query.target for query in self.queries], dtype=np.int64)
        lang, group, text = (
            _numbered(values)
            for values in (
                [document.lang for document in documents],
                [document.group for document in documents],
                [document.ids.tobytes() for document in documents],
            )
        )
        allowed: NDArray[np.bool_] = lang == lang[targets, None]
        allowed &= (group != group[targets, None]) & (text != text[targets, None])
        relevant = [
            (row, self.column_of[name])
            for row, query in enumerate(self.queries)
            for name in query.relevant
            if name in self.column_of
        ]
        if relevant:
            allowed[tuple(np.array(relevant).T)] = False
        allowed[np.arange(len(targets)), targets] = True
        return allowed

    def pools(self, kind: str) -> Pools:
        """What of the batch each query is compared with; ``kind`` as in :func:`negative_pool`."""
        candidates = torch.from_numpy(self.candidates())
        slate, unlabelled = self._of_record(self.slate), self._of_record(self.unlabelled)
        target = torch.tensor([query.target for query in self.queries])
        positive = torch.tensor([column.positive for column in self.columns])
        pool = negative_pool(kind, target, positive, slate & ~unlabelled)
        own = slate.scatter(1, target[:, None], True)
        return Pools(candidates & pool & ~unlabelled, candidates & own, candidates)

    def _of_record(self, pairs: list[tuple[int, int]]) -> Tensor:
        """(Q, D): whether the query's record and the document are one of the ``pairs``."""
        owners = torch.tensor([query.owner for query in self.queries])
        named = torch.zeros(int(owners.max()) + 1, len(self.columns), dtype=torch.bool)
        inside = [(owner, column) for owner, column in pairs if owner < len(named)]
        if inside:
            named[tuple(torch.tensor(inside).T)] = True
        return named[owners]


def _numbered(values: Sequence[str | bytes]) -> NDArray[np.int64]:
    """(n,) equal numbers for equal values."""
    number: dict[str | bytes, int] = {}
    return np.array([number.setdefault(value, len(number)) for value in values], dtype=np.int64)


class BatchMaker:
    """Batches of records: a pure function of the step and a generator that is the step's own."""

    def __init__(
        self, records: TrainingRecords, sampler: BatchSampler, config: Ranking, limit: int,
        translations: Mapping[tuple[str, str], Translations] | None = None,
    ) -> None:  # fmt: skip
        """Args:
        limit: tokens of a document that are encoded, special ones not counted.
        translations: between the records' languages, where queries are to be translated.
        """
        self.records, self.sampler, self.config, self.limit = records, sampler, config, limit
        self.translations = translations or {}
        self.translated_queries = int(settled(config.translated_queries))

    def at(self, step: int, generator: np.random.Generator) -> Batch:
        """One document per language of each record, all its queries, hard negatives, and spans as more queries."""
        batch = Batch()
        chosen = [(self.records.records[number]) for number in self.sampler.at(step)]
        drawn = [self._documents(record, generator) for record in chosen]
        for documents in drawn:
            for slot, document in enumerate(documents):
                ids = window(document.ids, self.limit, generator)
                batch.add_document(document, thinned(ids, self.config.document_dropout, generator), slot)
        for owner, (record, documents) in enumerate(zip(chosen, drawn, strict=True)):
            batch.names += [query.id for query in record.queries]
            self._candidates(batch, owner, record, documents, generator)
            for document in documents:
                self._queries(batch, owner, record, documents, batch.column_of[document.id], generator)
        return batch

    def _queries(
        self, batch: Batch, owner: int, record: TrainingRecord, documents: Sequence[TokenisedText], target: int,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        document, weight = batch.columns[target].document, self.config.span_weight
        for query in record.queries:
            relevant = self.records.relevant[query.id]
            if document.id in relevant:
                ids = thinned(query.ids, self.config.query_dropout, generator)
                batch.add_query(BatchQuery(ids, target, 1.0, relevant, owner, query))
        answers = frozenset(d.id for d in record.documents)
        if len(documents) == 1:
            for ids in self._translated(record.queries, document.lang, generator):
                batch.add_query(BatchQuery(ids, target, weight, answers, owner))
        sources = [d for d in documents if d is not document]
        if len(self.records.languages) == 1:  # where there are more, a text's own spans would teach it to copy itself
            sources = [document]
        for source in sources:
            for _ in range(self.config.spans):
                batch.add_query(BatchQuery(span(source.ids, generator), target, weight, answers, owner))

    def _translated(self, queries: Sequence[TokenisedText], lang: str, generator: np.random.Generator) -> Iterator[Ids]:
        """``translated_queries`` of each query in ``lang`` for each other language, where they come out."""
        for query in (query for query in queries if query.lang == lang):
            for (source, _), translations in self.translations.items():
                for _ in range(self.translated_queries if source == lang else 0):
                    ids = translations.query(query.ids, generator)
                    if ids is not None:
                        yield thinned(ids, self.config.query_dropout, generator)

    def _documents(self, record: TrainingRecord, generator: np.random.Generator) -> list[TokenisedText]:
        chosen = []
        for lang in self.records.languages:
            in_language = [document for document in record.documents if document.lang == lang]
            if in_language:
                chosen.append(in_language[int(generator.integers(len(in_language)))])
        return chosen

    def _candidates(
        self,
        batch: Batch,
        owner: int,
        record: TrainingRecord,
        documents: Sequence[TokenisedText],
        generator: np.random.Generator,
    ) -> None:
        """``config.negatives`` for each of the record's documents, in its language; fewer where usable are fewer."""
        if not self.config.negatives:
            return
        positives = {name for query in record.queries for name in self.records.relevant[query.id]}
        negative: dict[str, bool] = {}
        for query in record.queries:
            if query.id in self.records.candidates:
                for name, labelled in self.records.candidates[query.id].documents.items():
                    negative[name] = negative.get(name, False) or labelled
        others = [
            self.records.others[name] for name in negative if name not in positives and name in self.records.others
        ]
        for document in documents:
            usable = [other for other in others if other.lang == document.lang and other.group != document.group]
            for place, row in enumerate(generator.permutation(len(usable))[: self.config.negatives]):
                slot, ids = len(self.records.languages) + place, window(usable[row].ids, self.limit, generator)
                batch.add_candidate(usable[row], ids, slot, owner=owner, negative=negative[usable[row].id])


def thinned(ids: Ids, share: float, generator: np.random.Generator) -> Ids:
    """The ids without about ``share`` of them, never without all."""
    if not share:
        return ids
    remaining = generator.random(len(ids)) >= share
    return ids[remaining] if remaining.any() else ids[:1]


def span(ids: Ids, generator: np.random.Generator) -> Ids:
    """Distinct tokens of a random span, as a query has them."""
    low, high = SPAN_TOKENS
    size = int(generator.integers(low, high + 1))
    start = int(generator.integers(0, max(1, len(ids) - size + 1)))
    return np.array(list(dict.fromkeys(ids[start : start + size].tolist())), dtype=np.int64)
