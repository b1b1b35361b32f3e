"""HTML for notebooks: what an object is, as a table. Everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any


def described(title: str, facts: Mapping[str, Any], tables: Iterable[str] = ()) -> str:
    """A heading, a table of two columns without the facts that are empty, and further tables of :func:`table`."""
    left = "style='text-align:left'"
    rows = [
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(shown(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "", {}, [], ())
    ]
    return f"<div><b>{escape(title)}</b><table>{''.join(rows)}</table>{''.join(tables)}</div>"


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table with a row of headings; numbers stand right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def shown(value: Any) -> str:
    """A value for people: thousands with commas, fractions with three places, lists and mappings in a line."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)


def _cell(value: Any) -> str:
    side = "right" if isinstance(value, int | float) else "left"
    return f"<td style='text-align:{side}'>{escape(shown(value))}</td>"
