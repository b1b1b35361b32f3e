"""What kind of file a path holds, for the advice after a reader refused it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from osparse.errors import DatasetError
from osparse.io.streams import lines
from osparse.io.tabular import is_table
from osparse.rows.read_rows import header_columns, kind_of

TABLES = ("parquet", "csv", "tsv")


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
        _, head = next(lines(path, bar=False), ("", b""))
        columns = header_columns(head)
    except DatasetError:
        return "", []
    if head.lstrip().startswith(b"{"):
        return "jsonl", []
    return (kind_of(head, ""), columns) if columns else ("", [])
