"""JSON lines: documents with titles, query-document pairs, or scored candidates (osparse.corpus.sources.input_rows)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.input_rows import Row, Where, records_of
from osparse.corpus.sources.records import Options, Reader, Record, Tally
from osparse.io.streams import json_rows


def read(paths: Sequence[Path], tally: Tally, options: Options) -> Iterator[Record]:
    """Yield records of all files; raises :class:`DatasetError` naming path:line at the first malformed row."""

    def rows() -> Iterator[tuple[Where, Row]]:
        for path in paths:
            yield from json_rows(path)

    yield from records_of(rows, tally)


READER = Reader(
    name="jsonl",
    reads='rows {"id","text","title","lang","date","group"}, {"query","pos","neg"} or {"query","docs","scores"}',
    licence="the user's own files",
    read=read,
    recipe=2,
)
