"""Modu corpora (the National Institute of Korean Language): JSON with a list of documents made of paragraphs.

The document's title is a query; a first paragraph that only repeats the title is left out of the text.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import (
    Judgement,
    Option,
    Options,
    Reader,
    RowCounts,
    SourceDocument,
    SourceQuery,
    SourceRecord,
    counted,
)
from osparse.errors import DatasetError
from osparse.rows.json_stream import json_items


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per document; a folder stands for the JSON files in it.

    Raises :class:`DatasetError` with path:line where the corpus's keys are missing.
    """
    for path in paths:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not files:
            raise DatasetError(f"{path} holds no .json file")
        for file in files:
            shortest = int(options["min_characters"])
            yield from counted((_document(where, row, shortest) for where, row in json_items(file, "document")), counts)


def _document(where: str, row: dict[str, Any], shortest: int) -> SourceRecord | str:
    name, paragraphs, about = row.get("id"), row.get("paragraph"), row.get("metadata") or {}
    if not isinstance(name, str) or not isinstance(paragraphs, list) or not isinstance(about, dict):
        raise DatasetError(f"{where}: a document needs id, metadata and a list paragraph, found {sorted(row)}")
    forms = [str(paragraph.get("form") or "").strip() for paragraph in paragraphs]
    title = str(about.get("title") or "").strip()
    if forms and forms[0] == title:
        forms = forms[1:]
    text = "\n\n".join(filter(None, forms))
    if len(text) < shortest:
        return f"under {shortest} characters"
    name, date = f"modu:{name}", _date(str(about.get("date") or ""))
    document = SourceDocument(name, text, "", title=title, date=date, group=name, place=where)
    if not title:
        return SourceRecord((document,))
    query = SourceQuery(f"{name}:q", title, "", date, place=where)
    return SourceRecord((document,), (query,), (Judgement(query.id, name, group=name),))


def _date(text: str) -> datetime.date | None:
    """``20180105``; None where the corpus gives a year or nothing."""
    digits = text.replace("-", "").replace(".", "")
    try:
        return datetime.datetime.strptime(digits[:8], "%Y%m%d").date() if len(digits) >= 8 else None
    except ValueError:
        return None


READER = Reader(
    name="modu",
    reads='Modu corpus JSON files, or folders of them: {"document": [{"id","metadata","paragraph"}]}',
    licence="by agreement with the National Institute of Korean Language; not for redistribution",
    read=read,
    options={"min_characters": Option(100, "shortest document that is kept")},
    independent_files=True,
    recipe=2,
)
