"""Parquet and Arrow files whose columns are those of JSON lines, by their names or through the option ``columns``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.column_map import COLUMNS, TEMPLATE, mapped_rows, parse_columns, with_texts
from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import records_of
from osparse.io.tabular import table_rows


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield records of all files; raises :class:`DatasetError` naming the file and row that is malformed."""
    columns = parse_columns(str(options["columns"]))

    def rows() -> Iterator[tuple[Where, Row]]:
        for path in paths:
            rows_of_file = with_texts(table_rows(path, nulls=True), str(options["template"]))
            yield from mapped_rows(rows_of_file, columns, counts)

    yield from records_of(rows, counts)


READER = Reader(
    name="parquet",
    reads="Parquet or Arrow files with the columns of jsonl's rows",
    licence="the user's own files",
    read=read,
    options={"columns": COLUMNS, "template": TEMPLATE},
    recipe=2,
)
