"""Clauses of the test server that look at a document's values, and what is made of the hits: order, pages, fields."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Source = Mapping[str, Any]
KINDS = {"term", "terms", "range", "exists", "match_phrase"}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T[\d:.]+Z?)?)?)?")


class BadDate(Exception):
    """A bound or value of a date field that is no date."""


def values_of(source: Any, path: str) -> Iterator[Any]:
    """Every value under a dotted path, through lists and objects."""
    if isinstance(source, list):
        for each in source:
            yield from values_of(each, path)
    elif not path:
        yield source
    elif isinstance(source, Mapping):
        for name, value in source.items():
            if path == name or path.startswith(f"{name}."):
                yield from values_of(value, path[len(name) + 1 :])


def field_type(properties: Mapping[str, Any], path: str) -> str:
    """The type that a mapping gives a path; "" for a field it does not have."""
    name, _, below = path.partition(".")
    body = properties.get(name, {})
    if not below:
        return str(body.get("type", ""))
    return field_type({**body.get("properties", {}), **body.get("fields", {})}, below)


def stored_path(properties: Mapping[str, Any], path: str) -> str:
    """Where a document has the values of a path: a sub-field such as title.keyword has those of its parent."""
    name, _, below = path.partition(".")
    body = properties.get(name, {})
    if below and below.partition(".")[0] in body.get("fields", {}):
        return name
    return f"{name}.{stored_path(body.get('properties', {}), below)}" if below else name


def matches(kind: str, clause: Mapping[str, Any], source: Source, properties: Mapping[str, Any]) -> bool:
    """Raises :class:`BadDate`."""
    if kind == "exists":
        return any(value is not None for value in values_of(source, clause["field"]))
    ((path, asked),) = clause.items()
    here = [value for value in values_of(source, stored_path(properties, path)) if value is not None]
    type_ = field_type(properties, path)
    if kind == "range":
        return any(all(_bound(name, value, bound, type_) for name, bound in asked.items()) for value in here)
    if kind == "match_phrase":
        phrase = _words(asked)
        return any(f" {phrase} " in f" {_words(value)} " for value in here)
    asked = asked["value"] if isinstance(asked, Mapping) else asked
    wanted = asked if kind == "terms" else [asked]
    return any(_equal(value, each, type_) for value in here for each in wanted)


def _equal(value: Any, asked: Any, type_: str) -> bool:
    if type_ == "text":
        return str(asked) in re.findall(r"\w+", str(value).lower())
    if type_ == "date":  # a day is all of its hours
        return str(value).startswith(_date(asked))
    if isinstance(value, bool) or isinstance(asked, bool):
        return str(value).lower() == str(asked).lower()
    if isinstance(value, int | float):
        return float(value) == float(asked)
    return str(value) == str(asked)


def _words(text: Any) -> str:
    return " ".join(re.findall(r"\w+", str(text).lower()))


def _bound(name: str, value: Any, bound: Any, type_: str) -> bool:
    if type_ == "date":
        value, bound = str(value), _date(bound)
        value = value[: len(bound)] if name in ("lte", "gt") else value
    elif isinstance(value, int | float):
        bound = float(bound)
    return bool({"lt": value < bound, "lte": value <= bound, "gt": value > bound, "gte": value >= bound}[name])


def _date(asked: Any) -> str:
    """What a date starts with; a year or month without rounding is its first day."""
    text, rounded, _ = str(asked).partition("||/")
    if not _DATE.fullmatch(text):
        raise BadDate(f"failed to parse date field [{asked}] with format [strict_date_optional_time||epoch_millis]")
    return text if rounded else text + {4: "-01-01", 7: "-01"}.get(len(text), "")


def shown(source: Source, asked: Any) -> dict[str, Any]:
    """The ``_source`` of a hit; includes and excludes may hold patterns."""
    if asked is False:
        return {}
    chosen = asked if isinstance(asked, Mapping) else {"includes": asked} if isinstance(asked, list) else {}
    includes, excludes = chosen.get("includes"), chosen.get("excludes", [])
    return _cut(source, "", includes, excludes)


def _cut(source: Source, prefix: str, includes: list[str] | None, excludes: list[str]) -> dict[str, Any]:
    kept = {}
    for name, value in source.items():
        path = f"{prefix}{name}"
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in excludes):
            continue
        if includes is None or any(fnmatch.fnmatchcase(path, pattern) for pattern in includes):
            kept[name] = value
        elif isinstance(value, Mapping) and (below := _cut(value, f"{path}.", includes, excludes)):
            kept[name] = below
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            rows = [_cut(each, f"{path}.", includes, excludes) for each in value if isinstance(each, Mapping)]
            if any(rows):
                kept[name] = rows
    return kept


def sort_values(
    document_id: str, score: float, seq_no: int, source: Source, properties: Mapping[str, Any], sort: list[Any]
) -> list[Any]:
    """One value for each part of the sort; None where the document has none."""
    own = {"_id": document_id, "_score": score, "_seq_no": seq_no, "_doc": seq_no}
    found = []
    for clause in sort:
        path = clause if isinstance(clause, str) else next(iter(clause))
        values = [*values_of(source, stored_path(properties, path))]
        found.append(own[path] if path in own else min(values) if values else None)
    return found


def sort_key(values: list[Any], sort: list[Any]) -> list[Any]:
    """Comparable; a missing value comes last in either direction."""
    return [_Ordered(value, _is_descending(clause)) for value, clause in zip(values, sort, strict=True)]


def _is_descending(clause: str | Mapping[str, Any]) -> bool:
    ((name, order),) = [(clause, None)] if isinstance(clause, str) else clause.items()
    given = order.get("order") if isinstance(order, Mapping) else order
    return given == "desc" if given is not None else name == "_score"


class _Ordered:
    def __init__(self, value: Any, descending: bool) -> None:
        self.value, self.descending = value, descending

    def __lt__(self, other: _Ordered) -> bool:
        if self.value is None or other.value is None:
            return self.value is not None and other.value is None
        return bool(self.value > other.value if self.descending else self.value < other.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ordered) and self.value == other.value


def aggregations(asked: Mapping[str, Any], sources: Sequence[Source], properties: Mapping[str, Any]) -> dict[str, Any]:
    """``terms`` and the ``max`` of numbers; any other kind raises :class:`KeyError`."""
    answers: dict[str, Any] = {}
    for name, body in asked.items():
        ((kind, how),) = body.items()
        values = [{*values_of(source, stored_path(properties, how["field"]))} for source in sources]
        answers[name] = {"terms": _terms, "max": _largest}[kind](how, values)
    return answers


def _terms(how: Mapping[str, Any], values: list[set[Any]]) -> dict[str, Any]:
    counts = Counter(value for each in values for value in each)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))[: how.get("size", 10)]
    buckets = [{"key": key, "doc_count": count} for key, count in ranked]
    return {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": buckets}


def _largest(how: Mapping[str, Any], values: list[set[Any]]) -> dict[str, Any]:
    return {"value": max((float(value) for each in values for value in each), default=None)}
