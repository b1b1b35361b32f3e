"""JSON lines: documents with titles, query-document pairs, or teacher-scored candidates; one kind per file.

    {"id", "text", "lang"?, "title"?, "date"?, "group"?, "source"?}    a document
    {"query", "pos": [...], "neg": [...]?, "lang"?}                    texts judged 1 and 0
    {"query", "docs": [...], "scores": [...], "lang"?}                 texts with a teacher's scores

A document's title, if any, becomes a query that every document of the same group answers (translations share a group).
A language that a row leaves out is guessed: ``ko`` from 30 % Hangul letters on, ``en`` where 90 % of the letters are
ASCII, else ``und``. Pairs are grouped for the split by the relevant texts they share.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.beir import MAX_SCORE
from osparse.corpus.language import guess_language
from osparse.corpus.records import Document, Judgement, Query, Reader, Record, Tally
from osparse.errors import DatasetError
from osparse.files import canonical_json, read_jsonl
from osparse.progress import track

Row = dict[str, Any]
Where = str
"""``path:line``, as every complaint begins."""

FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "document": {"id": str, "text": str, "lang": str, "title": str, "date": str, "group": str, "source": str},
    "pair": {"query": str, "pos": list, "neg": list, "lang": str},
    "scored": {"query": str, "docs": list, "scores": list, "lang": str},
}
REQUIRED = {"document": ("id", "text"), "pair": ("query", "pos"), "scored": ("query", "docs", "scores")}


def read(paths: Sequence[Path], tally: Tally) -> Iterator[Record]:
    """Yield records of all files; raises :class:`DatasetError` naming path:line at the first malformed row."""
    kinds: dict[str, Where] = {}
    rows: list[tuple[Where, Row]] = []
    for path in paths:
        for number, row in track(read_jsonl(path, DatasetError), f"reading {path.name}", unit="rows"):
            where = f"{path}:{number}"
            kinds.setdefault(kind_of(row, where), where)
            if len(kinds) > 1:
                raise DatasetError(
                    f"{where}: kinds of rows are mixed: {', '.join(f'{k} at {w}' for k, w in kinds.items())}"
                )
            tally.digest.update(canonical_json(row).encode() + b"\n")
            rows.append((where, row))
    for kind in kinds:
        yield from _MAKERS[kind](rows, tally)


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


def _documents(rows: Sequence[tuple[Where, Row]], tally: Tally) -> Iterator[Record]:
    members: dict[str, list[str]] = {}
    seen: dict[str, Where] = {}
    kept: list[tuple[Where, Row, str]] = []
    for where, row in rows:
        if row["id"] in seen:
            raise DatasetError(f"{where}: the id {row['id']!r} was used before, at {seen[row['id']]}")
        seen[row["id"]] = where
        if not row["text"].strip() or not row["id"]:
            tally.drop("no text" if row["id"] else "empty id")
            continue
        tally.kept += 1
        group = row.get("group") or row["id"]
        members.setdefault(group, []).append(row["id"])
        kept.append((where, row, group))
    for where, row, group in kept:
        date = _date(row.get("date"), where)
        lang = row.get("lang") or guess_language(row["text"])
        document = Document(row["id"], row["text"], lang, date=date, group=group, source=row.get("source", ""))
        title = row.get("title", "").strip()
        if not title:
            yield Record((document,))
            continue
        query = Query(f"{row['id']}:q", title, lang, date)
        yield Record((document,), (query,), tuple(Judgement(query.id, other, group=group) for other in members[group]))


def _pairs(rows: Sequence[tuple[Where, Row]], tally: Tally) -> Iterator[Record]:
    usable = []
    for where, row in rows:
        row = {**row, "pos": _texts(row["pos"]), "neg": _texts(row.get("neg", []))}
        if not row["query"].strip() or not row["pos"]:
            tally.drop("no relevant text" if row["query"].strip() else "empty query")
            continue
        if both := set(row["pos"]) & set(row["neg"]):
            raise DatasetError(f"{where}: the same text is in pos and neg: {min(both)[:60]!r}")
        usable.append((row["query"], row["pos"], [(t, 1.0) for t in row["pos"]] + [(t, 0.0) for t in row["neg"]], row))
    yield from _judged(usable, tally, "annotated")


def _scored(rows: Sequence[tuple[Where, Row]], tally: Tally) -> Iterator[Record]:
    usable = []
    for where, row in rows:
        scores, docs = row["scores"], row["docs"]
        if len(scores) != len(docs) or any(type(score) not in (int, float) for score in scores):
            raise DatasetError(f"{where}: scores must be {len(docs)} numbers, one for each of docs")
        if not all(abs(score) <= MAX_SCORE for score in scores):
            raise DatasetError(f"{where}: a score is larger than {MAX_SCORE:.1e}, the largest that is stored")
        pairs = [(text, float(score)) for text, score in zip(docs, scores, strict=True) if text.strip()]
        if not row["query"].strip() or not pairs:
            tally.drop("no candidate text" if row["query"].strip() else "empty query")
            continue
        best = max(pairs, key=lambda pair: pair[1])[0]
        usable.append((row["query"], [best], pairs, row))
    yield from _judged(usable, tally, "distilled")


def _judged(
    rows: Sequence[tuple[str, list[str], list[tuple[str, float]], Row]], tally: Tally, origin: str
) -> Iterator[Record]:
    """Rows of (query, relevant texts, judged texts with scores, raw row); ids are made from the texts."""
    group_of = _components([[f"q{query}", *(f"d{text}" for text in relevant)] for query, relevant, _, _ in rows])
    known: set[str] = set()
    for query, _, scored, row in rows:
        tally.kept += 1
        lang = row.get("lang") or ""
        group = group_of[f"q{query}"]
        asked = Query(_id("q", query), query, lang or guess_language(query))
        documents = [
            Document(_id("d", text), text, lang or guess_language(text), group=group_of.get(f"d{text}", ""))
            for text, _ in scored
        ]
        judgements = tuple(
            Judgement(asked.id, document.id, score, origin, group)
            for document, (_, score) in zip(documents, scored, strict=True)
        )
        new_documents = {item.id: item for item in documents if item.id not in known}
        new_queries = () if asked.id in known else (asked,)
        known |= {asked.id, *new_documents}
        yield Record(tuple(new_documents.values()), new_queries, judgements)


def _components(links: Sequence[Sequence[str]]) -> dict[str, str]:
    """Union-find: every name -> a name for its connected component, independent of the rows' order."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in links:
        for name in names:
            one, other = sorted((root(names[0]), root(name)))
            parent[other] = one
    return {name: _id("g", root(name)) for name in list(parent)}


def _id(kind: str, text: str) -> str:
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _texts(texts: Sequence[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text.strip()]


def _date(value: str | None, where: Where) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(value[:10]) if value else None
    except ValueError:
        raise DatasetError(f"{where}: date must begin as YYYY-MM-DD, found {value!r}") from None


_MAKERS: dict[str, Callable[[Sequence[tuple[Where, Row]], Tally], Iterator[Record]]] = {
    "document": _documents,
    "pair": _pairs,
    "scored": _scored,
}
READER = Reader(name="jsonl", licence="the user's own files", read=read)
