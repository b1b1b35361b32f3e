"""Parquet and Arrow files whose columns are those of JSON lines, by their names or through the option ``columns``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.column_map import OPTIONS, own_rows
from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import records_of
from osparse.io.tabular import table_rows


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield records of all files; raises :class:`DatasetError` naming the file and row that is malformed."""

    def rows() -> Iterator[tuple[Where, Row]]:
        for path in paths:
            yield from own_rows(table_rows(path, nulls=True), options, counts)

    yield from records_of(rows, counts)


READER = Reader(
    name="parquet",
    reads="Parquet or Arrow files with the columns of jsonl's rows",
    licence="the user's own files",
    read=read,
    options=OPTIONS,
    recipe=3,
)
