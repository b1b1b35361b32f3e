"""Rows with named fields, whatever file they come from (JSON lines, CSV, Parquet, Arrow): their three shapes, checked.

    {"id", "text", "lang"?, "title"?, "date"?, "group"?, "source"?}                       a document
    {"query", "pos", "neg"?, "id"?, "lang"?, "date"?, "group"?}                           a pair
    {"query", "docs", "scores", "teacher"?, "id"?, "lang"?, "date"?, "group"?}            a teacher's scores

Rows of different shapes may share a file. ``pos`` and ``neg`` are one text or a list of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from osparse.errors import DatasetError
from osparse.rows.ids import ID_FIELDS, id_of, plain_id

Row = dict[str, Any]
Where = str
"""``path:line``, as every complaint begins."""
ReadRows = Callable[[], Iterator[tuple[Where, Row]]]
"""Reads the source from its start; sources with pairs are read more than once."""

_OF_PAIRS = {"id": str, "lang": str, "date": str, "group": str}
FIELDS: dict[str, dict[str, type]] = {
    "document": {"id": str, "text": str, "lang": str, "title": str, "date": str, "group": str, "source": str},
    "pair": {"query": str, "pos": list, "neg": list, **_OF_PAIRS},
    "scored": {"query": str, "docs": list, "scores": list, "teacher": str, **_OF_PAIRS},
}
REQUIRED = {"document": ("id", "text"), "pair": ("query", "pos"), "scored": ("query", "docs", "scores")}
TEXT_LISTS = ("pos", "neg", "docs")


def shape_of(row: Mapping[str, Any]) -> str:
    """Which of :data:`FIELDS` a row is, by the fields that it has."""
    if "query" not in row:
        return "document"
    return "scored" if "docs" in row or "scores" in row else "pair"


def checked(rows: ReadRows) -> Generator[tuple[Where, str, Row], None, None]:
    """(place, shape, row) of every row; raises :class:`DatasetError` at the first malformed one."""
    for where, raw in rows():
        row = _canonical(raw)
        yield where, check_row(row, where), row


def _canonical(raw: Row) -> Row:
    """The row with whole numbers as ids and groups, one text as a list, and without optional fields that are null."""
    row = {name: value for name, value in raw.items() if name not in ID_FIELDS}
    if (identifier := id_of(raw)) is not None:
        plain = plain_id(identifier)
        row = {"id": identifier if plain is None else plain, **row}
    if "negs" in row and "neg" not in row:
        row["neg"] = row.pop("negs")
    for name in ("pos", "neg"):
        if isinstance(row.get(name), str):
            row[name] = [row[name]]
    if (group := plain_id(row.get("group"))) is not None:
        row["group"] = group
    required = REQUIRED[shape_of(row)]
    return {name: value for name, value in row.items() if value is not None or name in required}


def check_row(row: Row, where: Where) -> str:
    """The row's shape, its fields checked; raises :class:`DatasetError`."""
    shape = shape_of(row)
    fields = FIELDS[shape]
    missing = [name for name in REQUIRED[shape] if name not in row]
    unknown = sorted(set(row) - set(fields))
    if missing or unknown:
        raise DatasetError(
            f"{where}: a {shape} row needs {', '.join(REQUIRED[shape])} and may have {', '.join(fields)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    for name, value in row.items():
        if not isinstance(value, fields[name]):
            required = "a list" if fields[name] is list else "a string"
            raise DatasetError(f"{where}: {name} must be {required}, found {type(value).__name__}")
    for name in TEXT_LISTS:
        if not all(isinstance(text, str) for text in row.get(name, [])):
            raise DatasetError(f"{where}: {name} must hold strings")
    return shape
