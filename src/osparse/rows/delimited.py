"""Rows of CSV and TSV files: the first line names the columns; a cell in quotes may hold delimiters and line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

from osparse.errors import DatasetError
from osparse.io.streams import MAX_LINE, decoded, opened, shown

TAB = "\t"
CSV_DELIMITERS = (",", ";", TAB, "|")


def delimited_rows(
    path: Path, delimiters: tuple[str, ...], *, quotes: bool = True
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """(``path:line``, {column: cell}) of every row; None for an empty cell.

    Args:
        path: UTF-8, plain or compressed.
        delimiters: The one that occurs most often in the first line separates the cells.
        quotes: Whether a cell may stand in double quotes (RFC 4180); False reads quotes as ordinary characters.

    Raises:
        DatasetError: no delimiter in the first line, two columns of one name, a row of another number of cells, a
            quote that is not closed, text that is not UTF-8; each with its line.
    """
    with opened(path) as file:
        yield from cells_of(file, shown(path), delimiters, quotes=quotes)


def cells_of(
    file: BinaryIO, name: str, delimiters: tuple[str, ...], *, quotes: bool = True
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """:func:`delimited_rows` of a file that is open; ``name`` is what messages call it."""
    lines = _decoded(file, name)
    header = next(lines, "")
    delimiter = max(delimiters, key=header.count)
    if delimiter not in header and len(delimiters) == 1:
        raise DatasetError(f"{name}:1: no tab in the first line, which must name the columns: {header[:80]!r}")
    columns: list[str] = []
    for where, cells in _rows(chain([header], lines), name, delimiter, quotes):
        if not columns:
            columns = _columns(cells, where)
        elif len(cells) != len(columns):
            raise DatasetError(
                f"{where}: {len(cells)} cells, but the first line names {len(columns)} columns; a cell that holds the "
                f"delimiter {delimiter!r} must be in quotes"
            )
        else:
            yield where, {column: cell or None for column, cell in zip(columns, cells, strict=True)}


def _decoded(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a file as text."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DatasetError(f"{name}:{number}: a line of more than {MAX_LINE:,} bytes")
        yield decoded(line, f"{name}:{number}")


def _rows(lines: Iterator[str], name: str, delimiter: str, quotes: bool) -> Iterator[tuple[str, list[str]]]:
    """(``path:line`` of the row's first line, its cells), without blank lines."""
    csv.field_size_limit(MAX_LINE)  # a setting of the process; Python's own is 131,072 characters
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    where = f"{name}:1"
    try:
        for cells in reader:
            if cells:
                yield where, cells
            where = f"{name}:{reader.line_num + 1}"
    except csv.Error as problem:
        raise DatasetError(
            f"{where}: not a row of cells separated by {delimiter!r} ({problem}); close every quote and double the "
            "quotes within a quoted cell, or read quotes as ordinary characters with the option quotes=false"
        ) from None


def _columns(cells: list[str], where: str) -> list[str]:
    """The names of the columns; one without a name (the row numbers that pandas writes) is called by its position."""
    names = [cell.strip() or f"(column {number})" for number, cell in enumerate(cells, start=1)]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError(
            f"{where}: two columns are called {', '.join(doubled)}; every column needs a name of its own"
        )
    return names
