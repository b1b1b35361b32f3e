"""A filter as clauses of the query DSL, checked against the fields of the index."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, assert_never

from osparse.errors import InputError
from osparse.opensearch_templates import render
from osparse.retrieval.filters.index_fields import (
    DATES,
    ID,
    INTEGERS,
    NUMBERS,
    OBJECTS,
    TEXTS,
    WITHOUT_VALUES,
    IndexField,
    IndexFields,
)
from osparse.retrieval.filters.syntax import Between, Comparison, Exists, Group, Name, Node, Not, fail, parse

Filter = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""The filter language, a clause of the query DSL, or several of these, all of which must match."""
YEAR, MONTH = re.compile(r"\d{4}"), re.compile(r"\d{4}-\d\d")
BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class FilterPart(NamedTuple):
    """One of the conditions that a document must satisfy."""

    text: str
    """As the user wrote it."""
    clause: dict[str, Any]


def filter_parts(given: Filter | None, fields: Callable[[], IndexFields]) -> list[FilterPart]:
    """The conditions of a filter; those that ``and`` joins one by one, so that the server caches each.

    Args:
        fields: Reads the fields of the index; called only where the filter language is used.

    Raises:
        InputError: the filter is malformed, names a field that the index does not have, or compares it wrongly.
    """
    if given is None:
        return []
    if isinstance(given, str):
        return list(_parts_of_text(given, fields()))
    if isinstance(given, Mapping):
        return [FilterPart(json.dumps(given, ensure_ascii=False), _checked_clause(given))]
    return [part for each in given for part in filter_parts(each, fields)]


def _checked_clause(given: Mapping[str, Any]) -> dict[str, Any]:
    if "query" in given and len(given) == 1:
        raise InputError("`filter_json` must be a query clause such as a term: leave out the query around it")
    if len(given) != 1 or not isinstance(next(iter(given.values())), Mapping):
        raise InputError(
            "`filter_json` must be one query clause, an object with one name and an object in it, such as "
            f'{{"term": {{"brand": "acme"}}}}, got {json.dumps(given, ensure_ascii=False)}'
        )
    return dict(given)


def _parts_of_text(text: str, fields: IndexFields) -> Iterator[FilterPart]:
    tree, compiler = parse(text), _Compiler(text, fields)
    if isinstance(tree, Group) and tree.joined_by == "and":
        for part, (start, end) in zip(tree.parts, tree.spans, strict=True):
            yield FilterPart(text[start:end].strip(), compiler.clause(part))
    else:
        yield FilterPart(text.strip(), compiler.clause(tree))


class _Compiler:
    def __init__(self, text: str, fields: IndexFields) -> None:
        self.text, self.fields = text, fields

    def clause(self, node: Node) -> dict[str, Any]:
        match node:
            case Group(joined_by="and"):
                return dict(render("filter_all", clauses=[self.clause(part) for part in node.parts]))
            case Group():
                return dict(render("filter_any", clauses=[self.clause(part) for part in node.parts]))
            case Not():
                return dict(render("filter_not", clause=self.clause(node.part)))
            case Exists():
                return self._exists(self._field(node.field))
            case Comparison(operator=":" | "="):
                return self._equal(node)
            case Comparison():
                return self._range(node.field, {BOUNDS[node.operator]: node.value})
            case Between():
                bounds = {"gte": node.low, "lte": node.high}
                return self._range(node.field, {name: value for name, value in bounds.items() if value is not None})
        assert_never(node)

    def _field(self, name: Name) -> IndexField:
        try:
            field = self.fields[name.text]
        except InputError as problem:
            fail(self.text, name.at, str(problem))
        if field.type in WITHOUT_VALUES:
            fail(self.text, name.at, f"{field.path} is a {field.type}, which a filter of this language cannot compare")
        return field

    def _exists(self, field: IndexField) -> dict[str, Any]:
        if field.type == "nested":
            return _within(field, render("filter_all", clauses=[]))
        return _within(field, render("filter_exists", field=field.path))

    def _equal(self, node: Comparison) -> dict[str, Any]:
        field, value = self._field(node.field), node.value
        if field.path == ID:
            return dict(render("filter_ids", ids=[value.text]))
        if field.type not in TEXTS:
            return _within(field, render("filter_term", field=field.path, value=self._value(field, node.field, value)))
        if node.operator == ":":
            return _within(field, render("filter_phrase", field=field.path, text=value.text))
        if field.keyword is None:
            fail(
                self.text, node.field.at, f"{field.path} is text, of which the index keeps words, not the whole; "
                f"use {field.path}:{json.dumps(value.text, ensure_ascii=False)} for texts with these words",
            )  # fmt: skip
        return _within(field, render("filter_term", field=field.keyword, value=value.text))

    def _range(self, name: Name, bounds: Mapping[str, Name]) -> dict[str, Any]:
        field = self._field(name)
        path = field.path
        if field.type in TEXTS or field.type == "boolean" or path == ID:
            if field.keyword is None:
                fail(self.text, name.at, f"{path} is a {field.type}, whose values have no order; use : or in")
            path = field.keyword
        values = {bound: self._value(field, name, value) for bound, value in bounds.items()}
        return _within(field, render("filter_range", field=path, bounds=values))

    def _value(self, field: IndexField, name: Name, value: Name) -> str | int | float | bool:
        if field.type in OBJECTS:
            fail(self.text, name.at, f"{field.path} has no value itself; name one of the fields below it")
        if field.type in NUMBERS:
            return self._number(field, value)
        if field.type == "boolean":
            if value.text.lower() not in ("true", "false"):
                fail(self.text, value.at, f"{field.path} is true or false, got {value.text!r}")
            return value.text.lower() == "true"
        return _date(field, value.text) if field.type in DATES else value.text

    def _number(self, field: IndexField, value: Name) -> int | float:
        for kind in (int, float) if field.type in INTEGERS else (float,):
            try:
                number: int | float = kind(value.text)
            except ValueError:
                continue
            if math.isfinite(number):
                return number
        fail(self.text, value.at, f"{field.path} holds numbers ({field.type}), got {value.text!r}")


def _date(field: IndexField, text: str) -> str:
    """A year or month alone means all of it: the server would take its first moment."""
    if field.date_format is not None and "date_optional_time" not in field.date_format:
        return text
    unit = "y" if YEAR.fullmatch(text) else "M" if MONTH.fullmatch(text) else None
    return text if unit is None else f"{text}||/{unit}"


def _within(field: IndexField, clause: Any) -> dict[str, Any]:
    """A field of a nested object is reached through that object only."""
    return dict(clause if field.nested is None else render("filter_nested", path=field.nested, clause=clause))
