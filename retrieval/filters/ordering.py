"""The order of the hits other than by score, and the page that follows a hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osparse.errors import InputError
from osparse.opensearch_templates import render
from osparse.retrieval.filters.index_fields import ID, OBJECTS, TEXTS, WITHOUT_VALUES, IndexFields

Sort = str | Sequence[str | Mapping[str, Any]]
"""``price:asc,released:desc``, such names one by one, or clauses of the query DSL."""
SCORE = "_score"


def sort_clauses(given: Sort, fields: IndexFields) -> list[dict[str, Any]]:
    """The ``sort`` of a search body; ``_id`` comes last, so that no two hits are equal and none is lost between pages.

    Raises:
        InputError: a field that the index does not have or that has no order.
    """
    names = given.split(",") if isinstance(given, str) else given
    clauses = [_clause(name.strip(), fields) if isinstance(name, str) else dict(name) for name in names]
    return (
        clauses
        if any(ID in clause for clause in clauses)
        else [*clauses, dict(render("sort_field", field=ID, order="asc"))]
    )


def _clause(text: str, fields: IndexFields) -> dict[str, Any]:
    name, colon, order = text.rpartition(":")
    if not colon or order not in ("asc", "desc"):
        name, order = text, "desc" if text == SCORE else "asc"
    if not name:
        raise InputError("`sort` must name fields, such as price:asc,released:desc")
    if name in (SCORE, ID):
        return dict(render("sort_field", field=name, order=order))
    try:
        field = fields[name]
    except InputError as problem:
        raise InputError(f"`sort`: {problem}") from None
    path = field.keyword if field.type in TEXTS else field.path
    if path is None or field.type in OBJECTS | WITHOUT_VALUES:
        raise InputError(
            f"`sort`: {name} is a {field.type}, whose values have no order; sort by a keyword, number or date"
        )
    if field.nested is not None:
        return dict(render("sort_nested_field", field=path, order=order, path=field.nested))
    return dict(render("sort_field", field=path, order=order))


def checked_after(after: Sequence[Any] | None, sort: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """The ``search_after`` of a body; raises :class:`InputError` if it is not one value for each part of ``sort``."""
    if after is None:
        return None
    if not sort:
        raise InputError(
            f"`after` continues a sorted search: give the `sort` of the page before too, such as `sort={SCORE}`"
        )
    if isinstance(after, str) or len(after) != len(sort):
        names = ", ".join(name for clause in sort for name in clause)
        raise InputError(f"`after` must be the {len(sort)} sort values of the last hit ({names}), got {after!r}")
    return list(after)
