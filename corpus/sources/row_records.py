"""From checked rows (osparse.corpus.sources.input_rows) to documents, queries, judgements and candidates.

A document's title becomes a query that the document answers, and with it its translations: the documents of a group
that has one of each language. Pairs are grouped for the split by the relevant texts they share and by the groups they
name. A text of a pair that is also the text of a document row is that document. The text that a teacher scores highest
counts as relevant (origin "mined"); all its scores are candidates.
"""

from __future__ import annotations

import datetime
import logging
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from osparse.corpus.sources.dates import day_of
from osparse.corpus.sources.input_rows import ReadRows, Row, Where, checked
from osparse.corpus.sources.languages import guessed
from osparse.corpus.sources.records import (
    Judgement,
    RowCounts,
    SourceCandidate,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.corpus.split.groups import Components, node, text_id
from osparse.errors import DatasetError
from osparse.evaluation.beir import MAX_SCORE

CATEGORIES, IN_A_CATEGORY = 200, 10
"""Fewer groups than this, with at least so many rows each, are categories and not versions of one text."""
TEACHER = "teacher"
"""Name of a teacher that the rows do not name."""

log = logging.getLogger("osparse.corpus.sources.row_records")


class _Pair(NamedTuple):
    where: Where
    query: str
    relevant: list[str]
    others: list[tuple[str, float | None, float | None]]
    """Candidates: text, label, score."""
    row: Row


def records_of(rows: ReadRows, counts: RowCounts, split: str | None = None) -> Iterator[SourceRecord]:
    """Yield the records of all rows; raises :class:`DatasetError` at the first malformed one.

    ``split``: where the source published these rows as one of its splits.
    """
    groups, named = _PairGroups(), _NamedGroups()
    uncounted = RowCounts(counts.name, counts.licence)
    documents = False
    for where, shape, row in checked(rows):
        named.add(row.get("group"))
        if shape == "document":
            documents = True
            yield from _document(where, row, counts, split)
        elif (pair := _pair(where, shape, row, uncounted)) is not None:
            groups.add(pair)
    named.warn(counts.name)
    if documents and groups.texts:
        groups.add_documents(rows)
    groups.close()
    if groups.texts or uncounted.dropped:
        for where, shape, row in checked(rows):
            if shape != "document" and (pair := _pair(where, shape, row, counts)) is not None:
                counts.kept += 1
                yield _pair_record(pair, groups, split)


def pair_record(query: str, texts: Sequence[str], *, group: str, date: datetime.date | None = None) -> SourceRecord:
    """A query and the texts that answer it, by ids made from the texts."""
    name = text_id("q", query)
    documents = tuple(SourceDocument(text_id("d", text), text, "", date=date, group=group) for text in texts)
    judgements = tuple(Judgement(name, document.id, group=group) for document in documents)
    return SourceRecord(documents, (SourceQuery(name, query, "", date),), judgements)


def _document(where: Where, row: Row, counts: RowCounts, split: str | None) -> Iterator[SourceRecord]:
    if not row["text"].strip() or not row["id"]:
        counts.drop("no text" if row["id"] else "empty id")
        return
    counts.kept += 1
    group, date, title = row.get("group") or row["id"], day_of(row.get("date"), where), row.get("title", "").strip()
    lang = row.get("lang") or guessed(row["text"], title)
    source = row.get("source", "")
    document = SourceDocument(row["id"], row["text"], lang, title, date, group, source, where)
    if not title:
        yield SourceRecord((document,))
        return
    query = SourceQuery(f"{row['id']}:q", title, lang, date, where)
    judgement = Judgement(query.id, document.id, group=group, split=split, place=where, and_translations=True)
    yield SourceRecord((document,), (query,), (judgement,))


class _NamedGroups:
    """The groups that rows name, counted as far as it takes to tell a category from translations and versions."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._rows = 0

    def add(self, group: str | None) -> None:
        if group:
            self._rows += 1
            if len(self._names) < CATEGORIES:
                self._names.add(group)

    def warn(self, source: str) -> None:
        groups = len(self._names)
        if groups < CATEGORIES and self._rows >= max(100, IN_A_CATEGORY * groups):
            log.warning(
                "%s: %s rows name %d groups, such as %r; the rows of a group stay in one split and are never each "
                "other's negatives, which suits versions and translations of one text; if it is a category, leave "
                "`group` out",
                source, f"{self._rows:,}", groups, min(self._names),
            )  # fmt: skip


class _PairGroups:
    """The groups of pairs: of the texts they share, and of the groups that they or their documents name."""

    def __init__(self) -> None:
        self.texts = array("Q")
        """Nodes of the texts of all pairs."""
        self._components = Components()
        self._named: set[str] = set()
        self._names: dict[str, str] = {}
        """Component -> the first of the groups named in it."""
        self._documents: dict[int, str] = {}
        """Node of a pair's text -> id of the document row that has it."""

    def add(self, pair: _Pair) -> None:
        query, group = node("q", pair.query), pair.row.get("group")
        for text in pair.relevant:
            self._components.link(query, node("d", text))
        if group:
            self._named.add(group)
            self._components.link(query, node("g", group))
        self.texts.extend(node("d", text) for text in (*pair.relevant, *(text for text, _, _ in pair.others)))

    def add_documents(self, rows: ReadRows) -> None:
        """Find the documents whose texts the pairs name."""
        texts = np.unique(np.frombuffer(self.texts, np.uint64))
        for _, shape, row in checked(rows):
            if shape != "document" or not row["id"] or not row["text"].strip():
                continue
            name, group = node("d", row["text"]), row.get("group") or row["id"]
            position = int(np.searchsorted(texts, np.uint64(name)))
            if position < len(texts) and int(texts[position]) == name and name not in self._documents:
                self._documents[name] = row["id"]
                self._named.add(group)
                self._components.link(name, node("g", group))

    def close(self) -> None:
        self._components.close()
        for name in sorted(self._named):
            self._names.setdefault(self._components.group(node("g", name)), name)

    def of(self, kind: str, text: str) -> str:
        component = self._components.group(node(kind, text))
        return self._names.get(component, component)

    def document_of(self, text: str) -> str:
        """The id of the document row with this text, "" if there is none."""
        return self._documents.get(node("d", text), "")


def _pair(where: Where, shape: str, row: Row, counts: RowCounts) -> _Pair | None:
    if not row["query"].strip():
        counts.drop("empty query")
        return None
    return _scored(where, row, counts) if shape == "scored" else _judged(where, row, counts)


def _judged(where: Where, row: Row, counts: RowCounts) -> _Pair | None:
    relevant, wrong = _texts(row["pos"]), _texts(row.get("neg", []))
    if not relevant:
        counts.drop("no relevant text")
        return None
    if both := set(relevant) & set(wrong):
        raise DatasetError(f"{where}: the same text is in pos and neg: {min(both)[:60]!r}")
    return _Pair(where, row["query"], relevant, [(text, 0.0, None) for text in wrong], row)


def _scored(where: Where, row: Row, counts: RowCounts) -> _Pair | None:
    scores, docs = row["scores"], row["docs"]
    if len(scores) != len(docs) or any(type(score) not in (int, float) for score in scores):
        raise DatasetError(f"{where}: scores must be {len(docs)} numbers, one for each of docs")
    if not all(abs(score) <= MAX_SCORE for score in scores):
        raise DatasetError(f"{where}: a score is larger than {MAX_SCORE:.1e}, the largest that is stored")
    pairs = {text: float(score) for text, score in zip(docs, scores, strict=True) if text.strip()}
    if not pairs:
        counts.drop("no candidate text")
        return None
    best = max(pairs, key=lambda text: (pairs[text], text))
    return _Pair(where, row["query"], [best], [(text, None, score) for text, score in pairs.items()], row)


def _pair_record(pair: _Pair, groups: _PairGroups, split: str | None) -> SourceRecord:
    row, lang = pair.row, pair.row.get("lang", "")
    date = day_of(row.get("date"), pair.where)
    given = row.get("id", "")
    query = SourceQuery(given or text_id("q", pair.query), pair.query, lang, date, pair.where if given else "")
    texts = dict.fromkeys([*pair.relevant, *(text for text, _, _ in pair.others)])
    ids = {text: groups.document_of(text) or text_id("d", text) for text in texts}
    documents = tuple(
        SourceDocument(ids[text], text, lang, date=date, group=groups.of("d", text))
        for text in texts
        if not groups.document_of(text)
    )
    origin, group = "annotated" if "pos" in row else "mined", groups.of("q", pair.query)
    judgements = tuple(Judgement(query.id, ids[text], 1.0, origin, group, split) for text in pair.relevant)
    teacher = row.get("teacher") or TEACHER
    candidates = tuple(
        SourceCandidate(query.id, ids[text], label, score, *(("distilled", teacher) if score is not None else ()))
        for text, label, score in pair.others
    )
    return SourceRecord(documents, (query,), judgements, candidates)


def _texts(texts: Sequence[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text.strip()]
