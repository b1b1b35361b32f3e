"""The batch of a ranking step: documents to encode, queries, and who is whose positive, negative or neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.trainer.config import Ranking
from osparse.trainer.losses import negative_pool
from osparse.trainer.padding import Ids, window
from osparse.trainer.records import Record, Records, Text
from osparse.trainer.sampling import BatchSampler
from osparse.trainer.translation import Translations

SPAN_TOKENS = (3, 12)
"""Shortest and longest span used as a query."""


@dataclass(eq=False)
class Batch:
    """Documents of a step, and queries with the document each must find."""

    documents: list[Text] = field(default_factory=list)
    inputs: list[Ids] = field(default_factory=list)
    """What of each document is encoded."""
    slots: list[int] = field(default_factory=list)
    """Place of each document in its record: the documents of one slot are of different records."""
    positive: list[bool] = field(default_factory=list)
    """Whether the document is its record's, and not only a candidate."""
    slate_of: list[set[int]] = field(default_factory=list)
    """Positions in the batch of the records whose candidate the document is."""
    unlabelled_of: list[set[int]] = field(default_factory=list)
    """Those of them for which nothing says that it is a negative."""
    queries: list[Ids] = field(default_factory=list)
    """Distinct token ids."""
    query_ids: list[str | None] = field(default_factory=list)
    """None for a span or a translation, which have no text and no teacher's score."""
    owners: list[int] = field(default_factory=list)
    """Position in the batch of each query's record."""
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    relevant: list[frozenset[str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Ids of all judged queries of the records, to name them in an error."""

    def hold(self, document: Text, ids: Ids, slot: int) -> int:
        """Add a document of a record, or find it where it is; returns its column."""
        place = next((i for i, d in enumerate(self.documents) if d.id == document.id), None)
        if place is None:
            place = len(self.documents)
            self.documents.append(document)
            self.inputs.append(ids)
            self.slots.append(slot)
            self.positive.append(True)
            self.slate_of.append(set())
            self.unlabelled_of.append(set())
        return place

    def offer(self, document: Text, ids: Ids, slot: int, *, owner: int, negative: bool) -> None:
        """Add a candidate of the record ``owner``; a document that is there already is not encoded twice."""
        before = len(self.documents)
        place = self.hold(document, ids, slot)
        self.positive[place] = self.positive[place] and place < before
        self.slate_of[place].add(owner)
        if not negative:
            self.unlabelled_of[place].add(owner)

    def ask(
        self, query: Ids, target: int, weight: float, relevant: frozenset[str], *, owner: int, name: str | None = None
    ) -> None:
        self.queries.append(query)
        self.query_ids.append(name)
        self.owners.append(owner)
        self.targets.append(target)
        self.weights.append(weight)
        self.relevant.append(relevant)

    def candidates(self) -> NDArray[np.bool_]:
        """(Q, D): documents in the target's language that are no known positive, sibling or copy of the target."""
        langs = np.array([d.lang for d in self.documents])
        groups = np.array([d.group for d in self.documents])
        text_of = np.array([hash(d.ids.tobytes()) for d in self.documents])
        ids = np.array([d.id for d in self.documents])
        found = np.empty((len(self.queries), len(self.documents)), dtype=np.bool_)
        for row, target in enumerate(self.targets):
            known = np.isin(ids, list(self.relevant[row])) | (text_of == text_of[target]) | (groups == groups[target])
            found[row] = (langs == langs[target]) & ~known
            found[row, target] = True
        return found

    def pools(self, kind: str) -> tuple[Tensor, Tensor]:
        """(Q, D) bool each: the documents of a query's contrastive softmax, and those of its own slate.

        The slate is the target and the record's candidates; one that nothing calls a negative is in the slate alone.
        """
        candidates = torch.from_numpy(self.candidates())
        slate, unlabelled = self._of(self.slate_of), self._of(self.unlabelled_of)
        target = torch.tensor(self.targets)
        pool = negative_pool(kind, target, torch.tensor(self.positive), slate & ~unlabelled)
        return candidates & pool & ~unlabelled, candidates & slate.scatter(1, target[:, None], True)

    def _of(self, records: list[set[int]]) -> Tensor:
        """(Q, D): whether the query's record is among the document's ``records``."""
        return torch.tensor([[owner in found for found in records] for owner in range(max(self.owners) + 1)])[
            torch.tensor(self.owners)
        ]


class BatchMaker:
    """Batches of records: a pure function of the step and a generator that is the step's own."""

    def __init__(
        self, records: Records, sampler: BatchSampler, config: Ranking, limit: int,
        translations: Mapping[tuple[str, str], Translations] | None = None,
    ) -> None:  # fmt: skip
        """Args:
        limit: tokens of a document that are encoded, special ones not counted.
        translations: between the records' languages, where queries are to be translated.
        """
        self.records, self.sampler, self.config, self.limit = records, sampler, config, limit
        self.translations = translations or {}

    def at(self, step: int, generator: np.random.Generator) -> Batch:
        """One document per language of each record, all its queries, hard negatives, and spans as more queries."""
        batch = Batch()
        chosen = [(self.records.records[number]) for number in self.sampler.at(step)]
        drawn = [self._documents(record, generator) for record in chosen]
        for documents in drawn:
            for slot, document in enumerate(documents):
                ids = window(document.ids, self.limit, generator)
                batch.hold(document, thinned(ids, self.config.document_dropout, generator), slot)
        place = {document.id: i for i, document in enumerate(batch.documents)}
        for owner, (record, documents) in enumerate(zip(chosen, drawn, strict=True)):
            batch.names += [query.id for query in record.queries]
            self._candidates(batch, owner, record, documents, generator)
            for document in documents:
                self._queries(batch, owner, record, documents, place[document.id], generator)
        return batch

    def _queries(
        self, batch: Batch, owner: int, record: Record, documents: Sequence[Text], target: int,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        document = batch.documents[target]
        for query in record.queries:
            relevant = self.records.relevant[query.id]
            if document.id in relevant:
                ids = thinned(query.ids, self.config.query_dropout, generator)
                batch.ask(ids, target, 1.0, relevant, owner=owner, name=query.id)
        answers = frozenset(d.id for d in record.documents)
        if len(documents) == 1:
            for ids in self._translated(record.queries, document.lang, generator):
                batch.ask(ids, target, self.config.span_weight, answers, owner=owner)
        sources = [d for d in documents if d is not document]
        if len(self.records.languages) == 1:  # where there are more, a text's own spans would teach it to copy itself
            sources = [document]
        for source in sources:
            for _ in range(self.config.spans):
                batch.ask(span(source.ids, generator), target, self.config.span_weight, answers, owner=owner)

    def _translated(self, queries: Sequence[Text], lang: str, generator: np.random.Generator) -> Iterator[Ids]:
        """``config.translated_queries`` of each query in ``lang`` for each other language, where they come out."""
        for query in (query for query in queries if query.lang == lang):
            for (source, _), translations in self.translations.items():
                for _ in range(self.config.translated_queries if source == lang else 0):
                    ids = translations.query(query.ids, generator)
                    if ids is not None:
                        yield thinned(ids, self.config.query_dropout, generator)

    def _documents(self, record: Record, generator: np.random.Generator) -> list[Text]:
        chosen = []
        for lang in self.records.languages:
            there = [document for document in record.documents if document.lang == lang]
            if there:
                chosen.append(there[int(generator.integers(len(there)))])
        return chosen

    def _candidates(
        self, batch: Batch, owner: int, record: Record, documents: Sequence[Text], generator: np.random.Generator
    ) -> None:
        """``config.negatives`` for each of the record's documents, in its language; fewer where there are fewer."""
        if not self.config.negatives:
            return
        known = {name for query in record.queries for name in self.records.relevant[query.id]}
        negative: dict[str, bool] = {}
        for query in record.queries:
            if query.id in self.records.candidates:
                for name, labelled in self.records.candidates[query.id].documents.items():
                    negative[name] = negative.get(name, False) or labelled
        others = [self.records.others[name] for name in negative if name not in known and name in self.records.others]
        for document in documents:
            there = [other for other in others if other.lang == document.lang and other.group != document.group]
            for place, row in enumerate(generator.permutation(len(there))[: self.config.negatives]):
                slot, ids = len(self.records.languages) + place, window(there[row].ids, self.limit, generator)
                batch.offer(there[row], ids, slot, owner=owner, negative=negative[there[row].id])


def thinned(ids: Ids, share: float, generator: np.random.Generator) -> Ids:
    """The ids without about ``share`` of them, never without all."""
    if not share:
        return ids
    kept = generator.random(len(ids)) >= share
    return ids[kept] if kept.any() else ids[:1]


def span(ids: Ids, generator: np.random.Generator) -> Ids:
    """Distinct tokens of a random span, as a query has them."""
    low, high = SPAN_TOKENS
    size = int(generator.integers(low, high + 1))
    start = int(generator.integers(0, max(1, len(ids) - size + 1)))
    return np.array(list(dict.fromkeys(ids[start : start + size].tolist())), dtype=np.int64)
