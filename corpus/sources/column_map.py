"""Columns of other people's tables under the names that rows have here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from osparse.corpus.sources.dates import DATE_FORMAT, with_days
from osparse.corpus.sources.input_rows import FIELDS, REQUIRED, Row, Where, shape_of
from osparse.corpus.sources.records import Option, Options, RowCounts
from osparse.errors import DatasetError, InputError
from osparse.rows.ids import ID_FIELDS
from osparse.rows.text_template import TEXT_FIELD, TextTemplate, unescaped

KNOWN = sorted({name for fields in FIELDS.values() for name in fields} | {*ID_FIELDS, "negs"})
COLUMNS = Option("", "what the table calls them, as query=question,pos=answer")


TEMPLATE = Option("", r"how columns make the text, as {title}\n{body}")
OPTIONS = {"columns": COLUMNS, "template": TEMPLATE, "date_format": DATE_FORMAT}
"""What every reader of people's own rows takes."""


def own_rows(
    rows: Iterable[tuple[Where, Mapping[str, Any]]], options: Options, counts: RowCounts, *, table: bool = True
) -> Iterator[tuple[Where, Row]]:
    """Rows as they are in a file, as input rows by the :data:`OPTIONS`.

    ``table``: whether columns that no field is called are noted; objects without the options have no such fields.
    """
    columns, template = parse_columns(str(options["columns"])), str(options["template"])
    made: Iterable[tuple[Where, Row]] = with_texts(rows, template)
    if table or columns or template:
        made = mapped_rows(made, columns, counts, optional=not table)
    yield from with_days(made, str(options["date_format"]))


def with_texts(
    rows: Iterable[tuple[Where, Mapping[str, Any]]], template: str
) -> Iterator[tuple[Where, dict[str, Any]]]:
    """The rows with the text that the template makes of their columns, "" where a row has none of them.

    Raises:
        DatasetError: a column that is neither a text nor a whole number, with its place.
        InputError: the template cannot be read.
    """
    made = TextTemplate.parse(unescaped(template)) if template else None
    for where, row in rows:
        if made is None:
            yield where, dict(row)
            continue
        try:
            yield where, {**row, TEXT_FIELD: made.text_of(row) or ""}
        except ValueError as problem:
            raise DatasetError(f"{where}: {problem}") from None


def parse_columns(text: str) -> dict[str, str]:
    """``query=question,pos=answer`` -> {"query": "question", "pos": "answer"}; raises :class:`InputError`."""
    columns: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or name not in KNOWN or not column:
            raise InputError(
                f"option columns must be NAME=COLUMN,... with NAME one of {', '.join(KNOWN)}; got {part!r}"
            )
        if name in columns:
            raise InputError(f"option columns names {name} twice: {columns[name]} and {column}")
        columns[name] = column
    return columns


def mapped_rows(
    rows: Iterable[tuple[Where, Mapping[str, Any]]],
    columns: Mapping[str, str],
    counts: RowCounts,
    *,
    optional: bool = False,
) -> Iterator[tuple[Where, Row]]:
    """Rows of a table (None in an empty cell) as input rows; columns that are not read are noted in ``counts``.

    Args:
        rows: Of all files, each with its place.
        columns: Field of an input row -> the table's column.
        optional: Whether a row may leave fields out, as JSON objects do; every field must be in some row.

    Raises:
        DatasetError: a column that ``columns`` names is not in the table, or holds a field that a row of this shape
            does not have; no column is called text or query.
    """
    named, seen = set(columns.values()), set[str]()
    for where, row in rows:
        if optional:
            seen |= named & set(row)
            row = {**dict.fromkeys(columns.values()), **row}
        yield where, _mapped(row, columns, where, counts)
    if optional and (never := sorted(named - seen)):
        raise DatasetError(f"no row has the field {', '.join(never)} that the option columns names")


def _mapped(row: Mapping[str, Any], columns: Mapping[str, str], where: Where, counts: RowCounts) -> Row:
    if missing := [column for column in columns.values() if column not in row]:
        raise DatasetError(f"{where}: no column {', '.join(missing)}; it has: {', '.join(row)}")
    sources = {**{name: name for name in KNOWN if name in row}, **columns}
    if not {"query", "text"} & set(sources):
        raise DatasetError(
            f"{where}: none of its columns ({', '.join(row)}) is called text or query; name them with the option "
            "columns, as columns=query=COLUMN,pos=COLUMN or columns=id=COLUMN,text=COLUMN"
        )
    values = {name: row[column] for name, column in sources.items() if row[column] is not None}
    if not {"query", "text"} & set(values):
        values["query" if "query" in sources else "text"] = ""  # an empty cell is a row to drop, not a malformed table
    shape = shape_of(values)
    fields = {*FIELDS[shape], "negs" if shape == "pair" else "", *ID_FIELDS}
    for name in columns:
        if name in values and name not in fields:
            raise DatasetError(
                f"{where}: option columns reads {name} from the column {columns[name]}, but a {shape} row has no "
                f"{name}; it may have {', '.join(FIELDS[shape])}"
            )
    used = {sources[name] for name in fields if name in sources}
    counts.ignored_columns |= set(row) - used
    counts.used_columns |= used
    empty = {name: [] if name in ("pos", "docs", "scores") else "" for name in REQUIRED[shape] if name in sources}
    return {**empty, **{name: value for name, value in values.items() if name in fields}}
