"""What an id is, wherever rows are read: a text, or a whole number; under ``id``, or ``_id`` as BEIR has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ID_FIELDS = ("id", "_id")


def plain_id(value: object) -> str | None:
    """A text as it is, a whole number in decimal digits; None for anything else and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def id_of(row: Mapping[str, Any], field: str | None = None) -> object:
    """The value that a row has as its id, under ``field`` or, with None, under the first of :data:`ID_FIELDS`."""
    names = ID_FIELDS if field is None else (field,)
    return next((row[name] for name in names if row.get(name) is not None), None)
