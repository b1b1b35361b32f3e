"""WikiAnswers: sets of questions that ask the same; the first of a set is the query, the others answer it.

{"set": ["question", ...]}  or  ["question", ...]      one set per line
q:question<TAB>q:question<TAB>a:answer                 the original clusters; answers are left out
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.records import Option, Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import pair_record
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError
from osparse.io.streams import decoded, json_values, lines


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per set; raises :class:`DatasetError` with path:line for a row of another shape."""
    for path in paths:
        for questions in _sets(path):
            different = list(dict.fromkeys(text for text in (q.strip() for q in questions) if text))
            if len(different) < 2:
                counts.drop("fewer than two different questions")
                continue
            counts.kept += 1
            first, others = different[0], different[1 : 1 + int(options["others"])]
            yield pair_record(first, others, group=text_id("wikianswers", min(different)))


def _sets(path: Path) -> Iterator[list[str]]:
    where, head = next(lines(path), ("", b""))
    if head[:2] in (b"q:", b"a:"):
        for where, line in lines(path):
            cells = decoded(line, where).split("\t")
            if any(cell[:2] not in ("q:", "a:") for cell in cells):
                raise DatasetError(f"{where}: every cell of a cluster begins with q: or a:, found {cells[0][:40]!r}")
            yield [cell[2:] for cell in cells if cell.startswith("q:")]
        return
    for where, row in json_values(path):
        questions = row.get("set") if isinstance(row, dict) else row
        if not isinstance(questions, list) or not all(isinstance(text, str) for text in questions):
            shape = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise DatasetError(f'{where}: must be {{"set": [questions]}} or an array of questions, found {shape}')
        yield questions


READER = Reader(
    name="wikianswers",
    reads='JSON lines {"set": [questions]}, arrays of questions, or the original clusters (q:...<TAB>q:...)',
    licence="as published with the WikiAnswers corpus (research use)",
    read=read,
    options={"others": Option(3, "questions of a set that are kept beside the first")},
    independent_files=True,
    recipe=2,
)
