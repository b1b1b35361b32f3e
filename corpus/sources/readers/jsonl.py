"""JSON lines, or one JSON array: documents with titles, pairs, or scored candidates.

The shapes are those of osparse.corpus.sources.input_rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from osparse.corpus.sources.column_map import OPTIONS, own_rows
from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import records_of
from osparse.rows.read_rows import json_objects


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield records of all files; raises :class:`DatasetError` naming path:line at the first malformed row.

    Other fields than those of a row are refused; with the options ``columns`` and ``template`` they are ignored, as in
    a table.
    """

    def rows() -> Iterator[tuple[Where, Row]]:
        yield from own_rows(chain.from_iterable(map(json_objects, paths)), options, counts, table=False)

    yield from records_of(rows, counts)


READER = Reader(
    name="jsonl",
    reads='rows {"id","text","title","lang","date","group"}, {"query","pos","neg"} or {"query","docs","scores"}',
    licence="the user's own files",
    read=read,
    options=OPTIONS,
    recipe=4,
)
