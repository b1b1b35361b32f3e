"""A NamuWiki dump: a JSON array, or Parquet files, of {"namespace", "title", "text"}; an article is a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.published.namumark import is_disambiguation, is_redirect, plain_text
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
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError
from osparse.io.tabular import is_table, table_rows
from osparse.rows.json_stream import json_items

ARTICLES = ("0", "", "문서")
"""Names of the article namespace in the dumps."""


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per article; raises :class:`DatasetError` with path:line for a row without title or text."""
    for path in paths:
        rows = table_rows(path) if is_table(path) else json_items(path)
        yield from counted((_article(where, row, int(options["min_characters"])) for where, row in rows), counts)


def _article(where: str, row: dict[str, Any], shortest: int) -> SourceRecord | str:
    title, markup = row.get("title"), row.get("text")
    if not isinstance(title, str) or not isinstance(markup, str):
        raise DatasetError(f"{where}: a NamuWiki row needs title and text as strings, found {sorted(row)}")
    if str(row.get("namespace", "")) not in ARTICLES:
        return "not an article (another namespace)"
    if is_redirect(markup):
        return "redirect"
    if is_disambiguation(title, markup):
        return "disambiguation"
    text = plain_text(markup)
    if len(text) < shortest or not title.strip():
        return f"under {shortest} characters"
    name = text_id("namu", title)
    document = SourceDocument(name, text, "ko", title=title, group=name, place=f"{where} {title!r}")
    query = SourceQuery(f"{name}:q", title, "ko", place=f"{where} {title!r}")
    return SourceRecord((document,), (query,), (Judgement(query.id, name, group=name),))


READER = Reader(
    name="namuwiki",
    reads='a dump as a JSON array or Parquet of {"namespace","title","text"}',
    licence="CC BY-NC-SA 2.0 KR (NamuWiki contributors)",
    read=read,
    options={"min_characters": Option(100, "shortest article that is counted, after cleaning")},
    independent_files=True,
)
