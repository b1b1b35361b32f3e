"""A source's records on disk, as they were read: one buffer is in memory, whatever the source's size.

spool.json           the counts of rows, and notes about the source
documents.arrow      with the place of each row; queries, judgements and candidates beside it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from osparse.contracts.dataset import CANDIDATES, DOCUMENTS, QUERIES, Source
from osparse.corpus.sources.languages import with_languages
from osparse.corpus.sources.records import SourceRecord
from osparse.io.files import atomic_directory, pretty_json, read_json
from osparse.io.tables import arrow_schema
from osparse.plugins.extras import require

BUFFER_ROWS = 16_384
BUFFER_CHARACTERS = 16_000_000
"""Whichever is reached first is written out."""

SPOOLED: dict[str, Mapping[str, Any]] = {
    "documents": {**DOCUMENTS, "place": pl.String},
    "queries": {**QUERIES, "place": pl.String},
    "judgements": {
        "query_id": pl.String,
        "document_id": pl.String,
        "score": pl.Float32,
        "origin": pl.String,
        "group": pl.String,
        "split": pl.String,
        "place": pl.String,
        "and_translations": pl.Boolean,
    },
    "candidates": CANDIDATES,
}


@dataclass(frozen=True)
class Spool:
    """One part of a source that was read to its end."""

    path: Path
    source: Source
    notes: dict[str, Any]
    same_text_is_relevant: bool

    @classmethod
    def open(cls, path: Path) -> Spool:
        raw = read_json(path / "spool.json")
        return cls(path, Source(**raw["source"]), raw["notes"], raw["same_text_is_relevant"])

    def scan(self, table: str) -> pl.LazyFrame:
        return pl.scan_ipc(self.path / f"{table}.arrow")


class _Table:
    """Columns being filled, and the file they are flushed to."""

    def __init__(self, path: Path, schema: Mapping[str, Any]) -> None:
        self.arrow = require("pyarrow", "corpus")
        self.schema = arrow_schema(schema)
        self.columns: list[list[Any]] = [[] for _ in schema]
        self.writer = require("pyarrow.ipc", "corpus").new_file(str(path), self.schema)

    def add(self, row: Iterable[Any]) -> None:
        for column, value in zip(self.columns, row, strict=True):
            column.append(value)

    def flush(self) -> None:
        if self.columns[0]:
            arrays = [self.arrow.array(c, type=f.type) for c, f in zip(self.columns, self.schema, strict=True)]
            self.writer.write_batch(self.arrow.record_batch(arrays, schema=self.schema))
            self.columns = [[] for _ in self.columns]


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._tables = {name: _Table(folder / f"{name}.arrow", schema) for name, schema in SPOOLED.items()}
        self._rows = self._characters = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for table in self._tables.values():
            if kind is None:
                table.flush()
            table.writer.close()

    def add(self, record: SourceRecord, source: str) -> None:
        tables = self._tables
        for d in record.documents:
            tables["documents"].add((d.id, d.title, d.text, d.lang, d.date, d.source or source, d.group, d.place))
            self._characters += len(d.text)
        for q in record.queries:
            tables["queries"].add((q.id, q.text, q.lang, q.date, q.place))
        for j in record.judgements:
            row = (j.query_id, j.document_id, j.score, j.origin, j.group, j.split, j.place, j.and_translations)
            tables["judgements"].add(row)
        for c in record.candidates:
            tables["candidates"].add((c.query_id, c.document_id, c.label, c.score, c.origin, c.scorer))
        self._rows += len(record.documents) + len(record.queries) + len(record.judgements) + len(record.candidates)
        if self._rows > BUFFER_ROWS or self._characters > BUFFER_CHARACTERS:
            for table in tables.values():
                table.flush()
            self._rows = self._characters = 0


def write_spool(
    path: Path,
    records: Iterable[SourceRecord],
    *,
    source: str,
    same_text_is_relevant: bool,
    finish: Callable[[], tuple[Source, dict[str, Any]]],
    lang: str = "",
) -> Spool:
    """Write all ``records``, then what ``finish()`` returns: (the source's counts, its notes). Whole or not there.

    ``lang``: of every text, whatever the source says; "" takes the source's languages, and detects what it leaves out.
    """
    with atomic_directory(path, marker="spool.json", overwrite=True) as folder:
        with _Writer(folder) as writer:
            for record in records:
                writer.add(with_languages(record, lang), source)
        counted, notes = finish()
        content = {"source": asdict(counted), "notes": notes, "same_text_is_relevant": same_text_is_relevant}
        (folder / "spool.json").write_text(pretty_json(content), encoding="utf-8")
    return Spool.open(path)
