"""Days as people's rows have them: as YYYY-MM-DD, or in the format that the option ``date_format`` names."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from osparse.corpus.sources.records import Option
from osparse.errors import DatasetError

DATE_FORMAT = Option("", "how dates are written if not as 2026-10-01, as %d.%m.%Y")
DAYS = (
    "%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d", "%Y. %m. %d", "%Y. %m. %d.", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y",
    "%m-%d-%Y", "%Y년 %m월 %d일", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
"""Formats that are proposed, in the order in which they are tried."""
TIMES = ("", " %H:%M", " %H:%M:%S")


def day_of(value: str | None, where: str) -> datetime.date | None:
    """The day an ISO date or time begins with; raises :class:`DatasetError`."""
    try:
        return datetime.date.fromisoformat(value[:10]) if value else None
    except ValueError:
        raise DatasetError(f"{where}: date must begin as YYYY-MM-DD, found {value!r}") from None


def with_days(rows: Iterable[tuple[str, dict[str, Any]]], date_format: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows, each with its place, with dates as YYYY-MM-DD.

    Raises :class:`DatasetError` for a date that is not of the format, or without one for a date that is no ISO date,
    then with the formats that it may be of.
    """
    for where, row in rows:
        if isinstance(value := row.get("date"), str) and value.strip():
            row = {**row, "date": _iso(value.strip(), date_format, where)}
        yield where, row


def likely_formats(value: str) -> list[str]:
    """Formats that a date may be of: none, one, or two where days and months can be exchanged."""
    return [day + time for day in DAYS for time in TIMES if _parsed(value, day + time) is not None]


def _iso(value: str, date_format: str, where: str) -> str:
    if not date_format:
        try:
            day_of(value, where)
        except DatasetError as problem:
            named = [f"date_format={one}" for one in likely_formats(value)[:2]] or ["date_format=%d.%m.%Y"]
            raise DatasetError(f"{problem}; name how dates are written by an option, as {' or '.join(named)}") from None
        return value
    day = _parsed(value, date_format)
    if day is None:
        raise DatasetError(f"{where}: the date {value!r} is not written as date_format={date_format} says")
    return day.isoformat()


def _parsed(value: str, date_format: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(value, date_format).date()
    except ValueError:
        return None
