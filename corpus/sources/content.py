"""What kind of file a path holds, for the advice after a reader refused it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from osparse.corpus.sources.delimited import CSV_DELIMITERS, TAB
from osparse.errors import DatasetError
from osparse.io.streams import decoded, lines
from osparse.io.tabular import is_table

TABLES = ("parquet", "csv", "tsv")
LONGEST_NAME = 64
"""Characters of a column's name; a longer cell is text."""


def better_reader(paths: Sequence[Path], source: str) -> str:
    """Advice naming the source that reads the first file that ``source`` does not; "" where there is none."""
    for path in paths:
        kind, columns = _kind(path) if path.is_file() else ("", [])
        if kind == "jsonl" and source not in TABLES:
            continue  # most readers read JSON of their own
        if kind and kind != source and not (source == "csv" and kind == "tsv"):
            named = f" with the columns {', '.join(columns)}" if columns else ""
            return f"{path} looks like {KINDS[kind]}{named}; read it with `source={kind}`"
    return ""


KINDS = {"parquet": "Parquet or Arrow", "jsonl": "JSON lines", "csv": "CSV", "tsv": "TSV"}


def _kind(path: Path) -> tuple[str, list[str]]:
    """(source, column names if it is a text table); ("", []) if it is not one of :data:`KINDS`."""
    try:
        if is_table(path):
            return "parquet", []
        where, line = next(lines(path, bar=False), ("", b""))
        head = decoded(line, where).strip()
    except DatasetError:
        return "", []
    if head.startswith("{"):
        return "jsonl", []
    delimiter = max(CSV_DELIMITERS, key=head.count)
    columns = [cell.strip().strip('"') for cell in head.split(delimiter)]
    if len(columns) < 2 or head[:1] in "[<" or not any(columns) or max(map(len, columns)) > LONGEST_NAME:
        return "", []
    return "tsv" if delimiter == TAB else "csv", columns
