"""The filter language: what it becomes, and what it says of a filter that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from osparse.errors import InputError
from osparse.retrieval.filters.clauses import filter_parts
from osparse.retrieval.filters.index_fields import IndexFields
from osparse.retrieval.filters.ordering import checked_after, sort_clauses

PROPERTIES = {
    "price": {"type": "double"},
    "stock": {"type": "integer"},
    "brand": {"type": "keyword"},
    "sale": {"type": "boolean"},
    "released": {"type": "date"},
    "seconds": {"type": "date", "format": "epoch_second"},
    "in": {"type": "keyword"},
    "ip": {"type": "ip"},
    "title": {"type": "text", "fields": {"raw": {"type": "keyword"}, "ko": {"type": "text"}}},
    "body": {"type": "text"},
    "spec": {"properties": {"size": {"type": "keyword"}}},
    "offers": {"type": "nested", "properties": {"price": {"type": "float"}}},
    "tags": {"type": "flat_object"},
    "cost": {"type": "alias", "path": "offers.price"},
    "sparse_embedding": {"type": "rank_features"},
}
FIELDS = IndexFields({"properties": PROPERTIES}, "products")


def clauses(text: str) -> list[dict[str, Any]]:
    return [part.clause for part in filter_parts(text, lambda: FIELDS)]


def term(field: str, value: Any) -> dict[str, Any]:
    return {"term": {field: value}}


def limits(field: str, **bounds: Any) -> dict[str, Any]:
    return {"range": {field: bounds}}


def negated(clause: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"must_not": [clause]}}


def any_of(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"should": list(parts), "minimum_should_match": 1}}


def below(clause: dict[str, Any]) -> dict[str, Any]:
    return {"nested": {"path": "offers", "query": clause}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 100", [limits("price", lt=100.0)]),
        ("price<=100", [limits("price", lte=100.0)]),
        ("stock > 3", [limits("stock", gt=3)]),
        ("stock >= -3", [limits("stock", gte=-3)]),
        ("stock:1.5", [term("stock", 1.5)]),
        ("brand:acme", [term("brand", "acme")]),
        ("brand = 007", [term("brand", "007")]),
        ("brand == acme", [term("brand", "acme")]),
        ("brand != acme", [negated(term("brand", "acme"))]),
        ('brand:"a \\"b\\" c"', [term("brand", 'a "b" c')]),
        ("brand:'it is'", [term("brand", "it is")]),
        ("brand:'and'", [term("brand", "and")]),
        ("brand:한글상사", [term("brand", "한글상사")]),
        ("sale:TRUE", [term("sale", True)]),
        ("in:stock", [term("in", "stock")]),
        ("ip:10.0.0.0/8", [term("ip", "10.0.0.0/8")]),
        ("ip:::1", [term("ip", "::1")]),
        ("price:10..20", [limits("price", gte=10.0, lte=20.0)]),
        ("price:10 .. 20", [limits("price", gte=10.0, lte=20.0)]),
        ("price:10..", [limits("price", gte=10.0)]),
        ("price = ..20", [limits("price", lte=20.0)]),
        ("released >= 2024-01-31T10:00:00Z", [limits("released", gte="2024-01-31T10:00:00Z")]),
        ("released > now-7d/d", [limits("released", gt="now-7d/d")]),
        ("released:2024-01..2024-02", [limits("released", gte="2024-01||/M", lte="2024-02||/M")]),
        ("released:2024", [term("released", "2024||/y")]),
        ("seconds > 2024", [limits("seconds", gt="2024")]),
        ("brand in (acme, 'Bolt & Co')", [any_of(term("brand", "acme"), term("brand", "Bolt & Co"))]),
        ("brand in (acme)", [term("brand", "acme")]),
        ("brand not in (a, b)", [negated(any_of(term("brand", "a"), term("brand", "b")))]),
        ("stock in (1, 5..7)", [any_of(term("stock", 1), limits("stock", gte=5, lte=7))]),
        ("exists brand", [{"exists": {"field": "brand"}}]),
        ("not exists spec", [negated({"exists": {"field": "spec"}})]),
        ("spec.size:L", [term("spec.size", "L")]),
        ("'spec.size':L", [term("spec.size", "L")]),
        ("tags.colour:red", [term("tags.colour", "red")]),
        ("title:'video player'", [{"match_phrase": {"title": "video player"}}]),
        ("title = 'Video player'", [term("title.raw", "Video player")]),
        ("title >= m", [limits("title.raw", gte="m")]),
        ("_id in (p1, p2)", [any_of({"ids": {"values": ["p1"]}}, {"ids": {"values": ["p2"]}})]),
        ("offers.price < 5", [below(limits("offers.price", lt=5.0))]),
        ("exists offers", [below({"bool": {"filter": []}})]),
        ("cost < 5", [below(limits("offers.price", lt=5.0))]),
        ("price < 9 AND brand:a", [limits("price", lt=9.0), term("brand", "a")]),
        ("brand:a or brand:b and sale:true",
         [any_of(term("brand", "a"), {"bool": {"filter": [term("brand", "b"), term("sale", True)]}})]),
        ("(brand:a or brand:b) and sale:true", [any_of(term("brand", "a"), term("brand", "b")), term("sale", True)]),
        ("not (not brand:a)", [negated(negated(term("brand", "a")))]),
    ],
)  # fmt: skip
def test_a_filter_becomes_clauses(text: str, expected: list[dict[str, Any]]) -> None:
    assert clauses(text) == expected


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("", 1, "expected a field, got the end"),
        ("price", 6, "expected an operator"),
        ("price <", 8, "expected a value after <, got the end"),
        ("price < and brand:a", 9, "got 'and'; write it in quotes"),
        ("price < 5 brand:a", 11, "expected and, or, or the end of the filter, got 'brand:a'"),
        ("price < 5 and", 14, "expected a field, got the end"),
        ("(price < 5", 11, "expected and, or, or )"),
        ("price < 5)", 10, "expected and, or, or the end"),
        ("brand:'acme", 7, "this quote is not closed"),
        ("brand in acme", 10, "expected ( after in"),
        ("brand in (a b)", 13, "expected , or )"),
        ("brand in ()", 11, "expected a value"),
        ("brand:(a or b)", 7, "expected a value, got '(a'"),
        ("price:..", 9, "expected a value before or after .."),
        ("price =< 5", 8, "expected a value, got '<'"),
        ("sale:true and prise < 5", 15, "index products has no field prise; it has, for example: price"),
        ("price < cheap", 9, "price holds numbers (double), got 'cheap'"),
        ("price < nan", 9, "price holds numbers (double), got 'nan'"),
        ("sale:1", 6, "sale is true or false, got '1'"),
        ("sale < true", 1, "sale is a boolean, whose values have no order"),
        ("body < m", 1, "body is a text, whose values have no order"),
        ("body = 'a b'", 1, 'use body:"a b" for texts with these words'),
        ("spec:1", 1, "spec has no value itself; name one of the fields below it"),
        ("sparse_embedding:1", 1, "sparse_embedding is a rank_features"),
        ("not " * 60 + "sale:true", 201, "more than 50 parentheses"),
    ],
)
def test_a_wrong_filter_names_the_character(text: str, at: int, problem: str) -> None:
    with pytest.raises(InputError) as raised:
        clauses(text)
    message = str(raised.value)
    assert message.startswith(f"`filter`: at character {at}, ") and problem in message
    assert message.endswith(f"{text[: at - 1]}\u25b8{text[at - 1 :]}")


def test_each_condition_keeps_its_words() -> None:
    parts = filter_parts(["price < 9 and  not brand:a ", {"term": {"x": 1}}], lambda: FIELDS)
    assert [part.text for part in parts] == ["price < 9", "not brand:a", '{"term": {"x": 1}}']


def test_query_dsl_is_passed_as_it_is_and_needs_no_mapping() -> None:
    def unread() -> IndexFields:
        raise AssertionError("the mapping is not needed")

    geo = {"geo_distance": {"distance": "5km", "place": "1,2"}}
    assert [part.clause for part in filter_parts(geo, unread)] == [geo]
    malformed: list[dict[str, Any]] = [{}, {"term": 1}, {"a": {}, "b": {}}]
    for wrong in malformed:
        with pytest.raises(InputError, match="must be one query clause"):
            filter_parts(wrong, unread)
    with pytest.raises(InputError, match="leave out the query around it"):
        filter_parts({"query": geo}, unread)


def test_a_sort_ends_with_the_id_and_a_page_has_its_values() -> None:
    by = sort_clauses("price:desc,released,_score", FIELDS)
    assert by == [
        {"price": {"order": "desc"}}, {"released": {"order": "asc"}}, {"_score": {"order": "desc"}}, {"_id": {"order": "asc"}},
    ]  # fmt: skip
    assert sort_clauses("title", FIELDS)[0] == {"title.raw": {"order": "asc"}}
    assert sort_clauses(["offers.price"], FIELDS)[0] == {"offers.price": {"order": "asc", "nested": {"path": "offers"}}}
    assert sort_clauses([{"_id": "desc"}], FIELDS) == [{"_id": "desc"}]
    for wrong, problem in (
        ("prise", "no field prise"),
        ("body", "no order"),
        ("spec", "no order"),
        ("a,", "no field a"),
    ):
        with pytest.raises(InputError, match=problem):
            sort_clauses(wrong, FIELDS)
    assert checked_after([1, 2, 3, "p"], by) == [1, 2, 3, "p"]
    with pytest.raises(InputError, match=r"must be the 4 sort values of the last hit \(price, released, _score, _id\)"):
        checked_after([1], by)
    with pytest.raises(InputError, match="give the `sort` of the page before"):
        checked_after([1], [])
