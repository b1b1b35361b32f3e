"""Rows with named fields, wherever they lie (JSON lines, Parquet, Arrow, a Hugging Face dataset): one kind per source.

    {"id", "text", "lang"?, "title"?, "date"?, "group"?, "source"?}    a document
    {"query", "pos": [...], "neg": [...]?, "lang"?}                    texts that answer it, and hard negatives
    {"query", "docs": [...], "scores": [...], "teacher"?, "lang"?}     texts with a teacher's scores

A document's title, if any, becomes a query that every document of the same group answers (translations share a group).
A language that a row leaves out is guessed: ``ko`` from 30 % Hangul letters on, ``en`` where 90 % of the letters are
ASCII, else ``und``. Pairs are grouped for the split by the relevant texts they share. The text that a teacher scores
highest counts as relevant (origin "mined"); all its scores are candidates.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain
from typing import Any

from osparse.corpus.sources.records import Candidate, Document, Judgement, Query, Record, Tally
from osparse.corpus.split.groups import Components, node, text_id
from osparse.corpus.text.language import guess_language
from osparse.errors import DatasetError
from osparse.evaluation.beir import MAX_SCORE
from osparse.io.ids import ID_FIELDS, id_of, plain_id

Row = dict[str, Any]
Where = str
"""``path:line``, as every complaint begins."""
Rows = Callable[[], Iterator[tuple[Where, Row]]]
"""Reads the source from its start; pairs are read twice."""

FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "document": {"id": str, "text": str, "lang": str, "title": str, "date": str, "group": str, "source": str},
    "pair": {"query": str, "pos": list, "neg": list, "lang": str},
    "scored": {"query": str, "docs": list, "scores": list, "teacher": str, "lang": str},
}
REQUIRED = {"document": ("id", "text"), "pair": ("query", "pos"), "scored": ("query", "docs", "scores")}
TEACHER = "teacher"
"""Name of a teacher that the rows do not name."""


def records_of(rows: Rows, tally: Tally, split: str | None = None) -> Iterator[Record]:
    """Yield the records of all rows, each checked; raises :class:`DatasetError` at the first malformed one.

    ``split``: where the source published these rows as one of its splits.
    """
    checked = _checked(rows)
    first = next(checked, None)
    if first is None:
        return
    if first[1] == "document":
        for where, _, row in chain([first], checked):
            yield from _document(where, row, tally, split)
        return
    checked.close()
    usable = _pairs if first[1] == "pair" else _scored
    groups = Components()
    for query, relevant, _, _ in usable(rows, Tally(tally.name, tally.licence)):
        for text in relevant:
            groups.link(node("q", query), node("d", text))
    groups.close()
    for pair in usable(rows, tally):
        tally.kept += 1
        yield _judged(*pair, groups, split)


def kind_of(row: Row, where: Where) -> str:
    """Which kind a row is, its fields checked; raises :class:`DatasetError`."""
    kind = "document" if "query" not in row else "scored" if "docs" in row or "scores" in row else "pair"
    missing = [name for name in REQUIRED[kind] if name not in row]
    unknown = sorted(set(row) - set(FIELDS[kind]))
    if missing or unknown:
        raise DatasetError(
            f"{where}: a {kind} row needs {', '.join(REQUIRED[kind])} and may have {', '.join(FIELDS[kind])}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    for name, value in row.items():
        if not isinstance(value, FIELDS[kind][name]):
            wanted = "a list" if FIELDS[kind][name] is list else "a string"
            raise DatasetError(f"{where}: {name} must be {wanted}, found {type(value).__name__}")
    for name in ("pos", "neg", "docs"):
        if not all(isinstance(text, str) for text in row.get(name, [])):
            raise DatasetError(f"{where}: {name} must hold strings")
    return kind


def date_of(value: str | None, where: Where) -> datetime.date | None:
    """The day an ISO date or time begins with; raises :class:`DatasetError`."""
    try:
        return datetime.date.fromisoformat(value[:10]) if value else None
    except ValueError:
        raise DatasetError(f"{where}: date must begin as YYYY-MM-DD, found {value!r}") from None


def pair_record(
    query: str, texts: Sequence[str], *, group: str, lang: str = "", date: datetime.date | None = None, title: str = ""
) -> Record:
    """A query and the texts that answer it, by ids made from the texts; "" as ``lang`` is guessed for each."""
    asked = Query(text_id("q", query), query, lang or guess_language(query), date)
    documents = tuple(
        Document(text_id("d", text), text, lang or guess_language(text), title, date, group) for text in texts
    )
    return Record(documents, (asked,), tuple(Judgement(asked.id, d.id, group=group) for d in documents))


def _checked(rows: Rows) -> Generator[tuple[Where, str, Row], None, None]:
    first: tuple[str, Where] | None = None
    for where, row in rows():
        if "negs" in row and "neg" not in row:  # the other usual name
            row = {"neg" if name == "negs" else name: value for name, value in row.items()}
        if "query" not in row and (name := plain_id(id_of(row))) is not None:  # a document's
            row = {"id": name, **{field: value for field, value in row.items() if field not in ID_FIELDS}}
        kind = kind_of(row, where)
        first = first or (kind, where)
        if kind != first[0]:
            raise DatasetError(f"{where}: kinds of rows are mixed: {first[0]} at {first[1]}, {kind} at {where}")
        yield where, kind, row


def _document(where: Where, row: Row, tally: Tally, split: str | None) -> Iterator[Record]:
    if not row["text"].strip() or not row["id"]:
        tally.drop("no text" if row["id"] else "empty id")
        return
    tally.kept += 1
    group, date = row.get("group") or row["id"], date_of(row.get("date"), where)
    lang = row.get("lang") or guess_language(row["text"])
    source = row.get("source", "")
    document = Document(row["id"], row["text"], lang, date=date, group=group, source=source, place=where)
    title = row.get("title", "").strip()
    if not title:
        yield Record((document,))
        return
    query = Query(f"{row['id']}:q", title, lang, date, place=where)
    yield Record((document,), (query,), (Judgement(query.id, None, group=group, split=split, place=where),))


Usable = tuple[str, list[str], list[tuple[str, float | None, float | None]], Row]
"""Query, relevant texts, candidates as (text, label, score), the row."""


def _pairs(rows: Rows, tally: Tally) -> Iterator[Usable]:
    for where, _, row in _checked(rows):
        relevant, wrong = _texts(row["pos"]), _texts(row.get("neg", []))
        if not row["query"].strip() or not relevant:
            tally.drop("no relevant text" if row["query"].strip() else "empty query")
            continue
        if both := set(relevant) & set(wrong):
            raise DatasetError(f"{where}: the same text is in pos and neg: {min(both)[:60]!r}")
        yield row["query"], relevant, [(text, 0.0, None) for text in wrong], row


def _scored(rows: Rows, tally: Tally) -> Iterator[Usable]:
    for where, _, row in _checked(rows):
        scores, docs = row["scores"], row["docs"]
        if len(scores) != len(docs) or any(type(score) not in (int, float) for score in scores):
            raise DatasetError(f"{where}: scores must be {len(docs)} numbers, one for each of docs")
        if not all(abs(score) <= MAX_SCORE for score in scores):
            raise DatasetError(f"{where}: a score is larger than {MAX_SCORE:.1e}, the largest that is stored")
        pairs = {text: float(score) for text, score in zip(docs, scores, strict=True) if text.strip()}
        if not row["query"].strip() or not pairs:
            tally.drop("no candidate text" if row["query"].strip() else "empty query")
            continue
        best = max(pairs, key=lambda text: (pairs[text], text))
        yield row["query"], [best], [(text, None, score) for text, score in pairs.items()], row


def _judged(
    query: str,
    relevant: Sequence[str],
    others: Sequence[tuple[str, float | None, float | None]],
    row: Row,
    groups: Components,
    split: str | None,
) -> Record:
    lang, group = row.get("lang") or "", groups.group(node("q", query))
    asked = Query(text_id("q", query), query, lang or guess_language(query))
    texts = dict.fromkeys([*relevant, *(text for text, _, _ in others)])
    documents = tuple(
        Document(text_id("d", t), t, lang or guess_language(t), group=groups.group(node("d", t))) for t in texts
    )
    origin = "annotated" if "pos" in row else "mined"
    judged = tuple(Judgement(asked.id, text_id("d", t), 1.0, origin, group, split) for t in relevant)
    teacher = row.get("teacher") or TEACHER
    candidates = tuple(
        Candidate(asked.id, text_id("d", text), label, score, *(("distilled", teacher) if score is not None else ()))
        for text, label, score in others
    )
    return Record(documents, (asked,), judged, candidates)


def _texts(texts: Sequence[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text.strip()]
