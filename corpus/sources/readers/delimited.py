"""CSV and TSV files with the columns of JSON lines, by their names or through the option ``columns``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.column_map import OPTIONS, own_rows
from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import Option, Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import records_of
from osparse.rows.delimited import CSV_DELIMITERS, TAB, delimited_rows

QUOTES = Option(True, "whether a cell may stand in double quotes")
Read = Callable[[Sequence[Path], RowCounts, Options], Iterator[SourceRecord]]


def _reads(delimiters: tuple[str, ...]) -> Read:
    def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
        """Yield records of all files; raises :class:`DatasetError` naming path:line at the first malformed row."""

        def rows() -> Iterator[tuple[Where, Row]]:
            for path in paths:
                cells = delimited_rows(path, delimiters, quotes=bool(options["quotes"]))
                yield from own_rows(cells, options, counts)

        yield from records_of(rows, counts)

    return read


def _reader(name: str, reads: str, delimiters: tuple[str, ...]) -> Reader:
    return Reader(
        name=name,
        reads=f"{reads} whose first line names the columns, those of jsonl's rows",
        licence="the user's own files",
        read=_reads(delimiters),
        options={**OPTIONS, "quotes": QUOTES},
        recipe=2,
    )


CSV_READER = _reader("csv", "files of cells separated by , ; | or tabs", CSV_DELIMITERS)
TSV_READER = _reader("tsv", "files of cells separated by tabs", (TAB,))
