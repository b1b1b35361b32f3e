"""GOOAQ: questions typed into a search engine and the answers it showed.

{"id", "question", "answer", "short_answer", "answer_type"}     as published; the long answer where there is one
["question", "answer"]                                          the pairs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import pair_record
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError
from osparse.io.streams import json_values


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per question; raises :class:`DatasetError` with path:line for a row of another shape."""
    for path in paths:
        for where, row in json_values(path):
            question, answer = _texts(row, where)
            if not question or not answer:
                counts.drop("no question" if not question else "no answer")
                continue
            counts.kept += 1
            yield pair_record(question, [answer], group=text_id("gooaq", answer))


def _texts(row: Any, where: str) -> tuple[str, str]:
    if isinstance(row, list) and len(row) == 2 and all(isinstance(text, str) for text in row):
        return row[0].strip(), row[1].strip()
    if not isinstance(row, dict) or "question" not in row or not {"answer", "short_answer"} & set(row):
        shape = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise DatasetError(f"{where}: must have question and answer (or short_answer), or two texts; found {shape}")
    texts = [row["question"], row.get("answer") or row.get("short_answer")]
    if any(text is not None and not isinstance(text, str) for text in texts):
        raise DatasetError(f"{where}: question and answer must be strings or null")
    return (texts[0] or "").strip(), (texts[1] or "").strip()


READER = Reader(
    name="gooaq",
    reads='JSON lines {"question","answer","short_answer"} or ["question","answer"]',
    licence="Apache-2.0 (GOOAQ); answers under their pages' terms",
    read=read,
    independent_files=True,
    recipe=2,
)
