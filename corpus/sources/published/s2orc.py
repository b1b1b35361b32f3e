"""S2ORC: a paper's title asks for its abstract, or for a paper it cites.

{"title", "abstract", "year"?, "paper_id" | "corpusid"?}     metadata or abstracts records
["title", "abstract"]                                        title-abstract and citation pairs, one array per line
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import pair_record
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError
from osparse.io.streams import json_values


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per paper or pair; raises :class:`DatasetError` with path:line for a row of another shape."""
    for path in paths:
        for where, row in json_values(path):
            one, other, year = _texts(row, where)
            if not one or not other:
                counts.drop("no title" if not one else "no abstract")
                continue
            counts.kept += 1
            date = datetime.date(year, 1, 1) if year else None
            yield pair_record(one, [other], group=text_id("s2orc", other), date=date)


def _texts(row: Any, where: str) -> tuple[str, str, int | None]:
    if isinstance(row, list) and len(row) == 2 and all(isinstance(text, str) for text in row):
        return row[0].strip(), row[1].strip(), None
    if isinstance(row, dict) and {"title", "abstract"} <= set(row):
        year = row.get("year")
        texts = [row[key] if row[key] is not None else "" for key in ("title", "abstract")]
        if all(isinstance(text, str) for text in texts):
            return texts[0].strip(), texts[1].strip(), year if isinstance(year, int) and 0 < year < 10_000 else None
    shape = sorted(row) if isinstance(row, dict) else f"{type(row).__name__} of {len(row)}" if row else row
    raise DatasetError(f"{where}: must have title and abstract, or be an array of two texts; found {shape}")


READER = Reader(
    name="s2orc",
    reads='JSON lines {"title","abstract","year"} or ["title","abstract"], ["title","cited title"]',
    licence="ODC-BY 1.0 (S2ORC); abstracts under their publishers' terms",
    read=read,
    independent_files=True,
    recipe=2,
)
