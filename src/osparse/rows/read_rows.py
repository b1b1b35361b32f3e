"""One reader of rows for every command: what a file holds decides, not its name, its compression or where it lies."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from osparse.errors import DatasetError
from osparse.io.files import json_object, without_bom
from osparse.io.locations import RemotePath
from osparse.io.streams import STANDARD_INPUT, SUFFIXES, decoded, find, is_stream, lines, lines_of, opened, shown
from osparse.io.tabular import head_of_table, is_table, table_length, table_rows
from osparse.rows.delimited import CSV_DELIMITERS, TAB, cells_of
from osparse.rows.json_stream import items_of

Kind = Literal["jsonl", "json", "csv", "tsv", "table"]
"""JSON lines; one JSON array of objects; cells separated by one of several characters, or by tabs; Parquet or Arrow."""
KINDS: dict[Kind, str] = {
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "csv": "CSV",
    "tsv": "TSV",
    "table": "Parquet or Arrow",
}
LONGEST_NAME = 64
"""Characters of a column's name; a longer cell is text."""
HEAD = 1 << 20
"""Bytes looked at, at most: the first line with anything on it."""


class ReadRow(NamedTuple):
    """A row and where it stands."""

    where: str
    """``path:line``, or ``path row N``."""
    row: dict[str, Any]
    typed: bool = True
    """False where every value is text because the file has no types (CSV and TSV)."""


def read_rows(path: Path, *, may_be_empty: bool = False, bar: bool = True) -> Iterator[ReadRow]:
    """Every row of one file, address, pipe or standard input, whatever :data:`Kind` it is, plain or compressed.

    Columns without a value are None. Rows are streamed; a Parquet or Arrow file that is compressed as a whole, or
    that is no file of this machine, is first copied to a temporary one.

    Raises:
        DatasetError: a file that does not exist, a row that cannot be read (path:line).
    """
    if _is_local_table(path):
        yield from (ReadRow(*found) for found in table_rows(path, nulls=True, bar=bar))
        return
    with opened(path, may_be_empty=may_be_empty, bar=bar) as file:
        head, whole = _with_head(file)
        name, kind = shown(path), kind_of(head, path.name)
        if kind == "table":
            yield from _copied_table(whole, path, name)
        elif kind == "json":
            yield from (ReadRow(*found) for found in items_of(whole, name))
        elif kind == "jsonl":
            yield from (ReadRow(where, json_object(line, where, DatasetError)) for where, line in lines_of(whole, name))
        else:
            delimiters = (TAB,) if kind == "tsv" else CSV_DELIMITERS
            yield from (ReadRow(where, row, False) for where, row in cells_of(whole, name, delimiters))


def documents_of_beir(path: Path) -> Path:
    """The file of documents of a BEIR folder; any other path, a dataset directory too, as it is."""
    if isinstance(path, RemotePath) or not path.is_dir() or (path / "manifest.json").is_file():
        return path
    return find(path, "corpus.jsonl") or path


def json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path:line``, object) of JSON lines or of one array; raises :class:`DatasetError` for any other file."""
    with opened(path) as file:
        head, whole = _with_head(file)
        if head.lstrip().startswith(b"["):
            yield from items_of(whole, shown(path))
        else:
            for where, line in lines_of(whole, shown(path)):
                yield where, json_object(line, where, DatasetError)


def count_rows(path: Path) -> int | None:
    """How many rows a file has; None where that is not known before they are read (pipes, addresses, JSON arrays)."""
    if is_stream(path) or isinstance(path, RemotePath):
        return None
    if _is_local_table(path):
        return table_length(path)
    kind = kind_of_file(path)
    if kind in ("json", "table"):
        return None
    if kind == "jsonl":
        return sum(1 for _ in lines(path, may_be_empty=True, bar=False))
    with opened(path, bar=False) as file:
        return sum(1 for _ in cells_of(file, shown(path), (TAB,) if kind == "tsv" else CSV_DELIMITERS))


def kind_of_file(path: Path) -> Kind:
    """The kind of a file of this machine; raises :class:`DatasetError` if it cannot be opened."""
    if _is_local_table(path):
        return "table"
    with opened(path, may_be_empty=True, bar=False) as file:
        return kind_of(_with_head(file)[0], path.name)


def kind_of(head: bytes, name: str) -> Kind:
    """What begins with ``head``; the name decides only between what the content leaves open.

    A line of several short cells that none of the names .json, .jsonl and .ndjson announces is the header of a table.

    Raises:
        DatasetError: another file under the name of a Parquet file.
    """
    if head_of_table(head):
        return "table"
    if (suffix := _suffix(name)) in (".parquet", ".pq"):
        raise DatasetError(f"{name} is not a Parquet file: it does not begin with PAR1")
    start = head.lstrip()
    if start.startswith((b"[", b"{")):
        return "json" if start.startswith(b"[") else "jsonl"
    if suffix in (".csv", ".tsv"):
        return "tsv" if suffix == ".tsv" else "csv"
    if suffix in (".json", ".jsonl", ".ndjson") or not header_columns(start):
        return "jsonl"
    return "tsv" if _delimiter(_first_line(start)) == TAB else "csv"


def header_columns(head: bytes) -> list[str]:
    """The names of the columns, if the first line looks like the header of a table of cells; else none.

    Raises :class:`DatasetError` if it is not UTF-8.
    """
    line = _first_line(head)
    if len(line) > HEAD // 8:
        return []
    columns = [cell.strip().strip('"') for cell in line.split(_delimiter(line))]
    if len(columns) < 2 or line[:1] in "[{<" or not any(columns) or max(map(len, columns)) > LONGEST_NAME:
        return []
    return columns


def _first_line(head: bytes) -> str:
    return decoded(head.lstrip().partition(b"\n")[0], "line 1").strip()


def _delimiter(line: str) -> str:
    return max(CSV_DELIMITERS, key=line.count)


def _suffix(name: str) -> str:
    """``.csv`` of ``d.CSV.gz``."""
    path = Path(name.lower())
    return path.with_suffix("").suffix if path.suffix and path.suffix in SUFFIXES else path.suffix


def _is_local_table(path: Path) -> bool:
    return path.is_file() and not isinstance(path, RemotePath) and is_table(path)


def _copied_table(file: BinaryIO, path: Path, name: str) -> Iterator[ReadRow]:
    with tempfile.TemporaryDirectory(prefix="osparse-") as folder:
        copy = Path(folder) / ("stdin" if path == STANDARD_INPUT else path.name)
        with copy.open("wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
        yield from (ReadRow(*found) for found in table_rows(copy, nulls=True, bar=False, name=name))


class _Joined(io.RawIOBase):
    """What was read already, then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] if self._head else self._rest.read1(len(buffer))  # type: ignore[attr-defined]
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _with_head(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The beginning up to the end of the first line that is not blank, and the whole file again."""
    head = b""
    while len(head) < HEAD and b"\n" not in head.lstrip():
        if not (more := file.read(1) + cast(io.BufferedReader, file).peek()[: 1 << 16]):
            break
        cast(io.BufferedReader, file).read(len(more) - 1)
        head += more
    return without_bom(head), cast(BinaryIO, io.BufferedReader(_Joined(head, file), 1 << 20))
