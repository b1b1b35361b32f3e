"""The training split as records: the queries and documents that belong together, tokenised once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from osparse.dataset import Dataset
from osparse.errors import DatasetError
from osparse.lexicon import Lexicon, load_tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Text:
    """One query or document."""

    id: str
    lang: str
    ids: Ids
    """Token ids without special ones, in order; a query's are distinct."""
    group: str = ""
    """A document's; documents of one group are siblings and never each other's negatives."""


@dataclass
class Record:
    """A connected part of the judgements: every query here answers to documents here and nowhere else."""

    group: str = ""
    source: str = ""
    """Of its first document."""
    queries: list[Text] = field(default_factory=list)
    documents: list[Text] = field(default_factory=list)

    def tokens(self, lang: str) -> Ids:
        """Distinct tokens of its texts in one language, rising; may be empty."""
        texts = (text.ids for text in (*self.queries, *self.documents) if text.lang == lang)
        return np.unique(np.concatenate([np.zeros(0, np.int64), *texts]))


@dataclass(frozen=True)
class Candidates:
    """Documents found for a query by mining, or scored for it by a teacher."""

    documents: dict[str, bool] = field(default_factory=dict)
    """Document id -> whether it is labelled a negative; otherwise only a teacher knows."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scorer -> {document id: score}."""
    teachers: set[str] = field(default_factory=set)
    """Those of the scorers that are teachers; a retriever scored what it found and no answer."""


@dataclass(frozen=True)
class Records:
    """Everything a training run reads of its dataset."""

    records: list[Record]
    languages: tuple[str, ...]
    """Of the documents, sorted."""
    relevant: dict[str, frozenset[str]]
    """Query id -> ids of its relevant documents."""
    candidates: dict[str, Candidates] = field(default_factory=dict)
    """Query id -> documents mined or scored for it; read where a stage uses them."""
    others: dict[str, Text] = field(default_factory=dict)
    """Documents of the candidates, by id."""
    tables: dict[tuple[str, str, int, int], sparse.csr_matrix] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Translation tables estimated so far; see osparse.trainer.translation."""

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(R,) number of each record's group; records of one group never share a batch."""
        names = sorted({record.group for record in self.records})
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[record.group] for record in self.records], dtype=np.int64)


def read_records(dataset: Dataset, tokenizer: Path, lexicon: Lexicon, splits: Sequence[str] = ("train",)) -> Records:
    """Read what is trained on; raises :class:`DatasetError` when it has no positives, or a teacher's scores."""
    relevant: dict[str, set[str]] = {}
    columns = ("query_id", "document_id", "score", "origin")
    judged = pl.concat([dataset.qrels(split) for split in splits])
    for query, document, score, origin in judged.select(columns).collect().rows():
        if origin == "distilled":
            raise DatasetError(
                f"{dataset.path}: the train split has judgements of origin 'distilled', like {query!r} and "
                f"{document!r}; a teacher's scores are no judgements: put them into candidates.train, or turn "
                "the teacher's best into 'mined' judgements"
            )
        if score > 0:
            relevant.setdefault(query, set()).add(document)
    if not relevant:
        raise DatasetError(f"{dataset.path}: no judgement of the train split has a score above 0; nothing to train on")
    held = dataset.documents.join(judged.select(id="document_id").unique(), on="id", how="semi")
    documents = held.select("id", "text", "lang", "group", "source").sort("id").collect().rows()
    asked = dataset.queries.join(judged.select(id="query_id").unique(), on="id", how="semi")
    queries = asked.select("id", "text", "lang").sort("id").collect().rows()
    document_ids = tokenise([row[1] for row in documents], tokenizer, lexicon)
    query_ids = tokenise([row[1] for row in queries], tokenizer, lexicon)
    root = _components(relevant)
    parts: dict[str, Record] = {}
    for (name, _, lang, group, source), ids in zip(documents, document_ids, strict=True):
        if name in root and len(ids):
            record = parts.setdefault(root[name], Record())
            record.group = record.group or group or root[name]
            record.source = record.source or source
            record.documents.append(Text(name, lang, ids, group or root[name]))
    for (name, _, lang), ids in zip(queries, query_ids, strict=True):
        if name in relevant and len(ids) and root["?" + name] in parts:
            parts[root["?" + name]].queries.append(Text(name, lang, np.array(list(dict.fromkeys(ids.tolist())))))
    records = [parts[key] for key in sorted(parts) if parts[key].queries]
    if not records:
        raise DatasetError(f"{dataset.path}: every query or document of the train split tokenises to nothing")
    languages = tuple(sorted({d.lang for record in records for d in record.documents}))
    return Records(records, languages, {query: frozenset(found) for query, found in relevant.items()})


def tokenise(texts: list[str], tokenizer: Path, lexicon: Lexicon) -> list[Ids]:
    """Token ids of each text, in order, without special ones."""
    special = np.array(lexicon.special_ids, dtype=np.int64)
    found = (np.array(e.ids, dtype=np.int64) for e in load_tokenizer(tokenizer).encode_batch_fast(texts, False))
    return [ids[~np.isin(ids, special)] for ids in found]


def _components(relevant: dict[str, set[str]]) -> dict[str, str]:
    """Document id, or "?" + query id, -> the smallest document id of its connected part."""
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for documents in relevant.values():
        first, *rest = sorted(documents)
        for document in rest:
            a, b = sorted((find(first), find(document)))
            parent[b] = a
        find(first)
    roots = {node: find(node) for node in list(parent)}
    return roots | {"?" + query: roots[min(documents)] for query, documents in relevant.items()}
