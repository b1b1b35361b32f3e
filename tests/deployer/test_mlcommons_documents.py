"""The test server's indices, pipelines and documents, against answers of OpenSearch 3.4.0 with neural-search."""

from __future__ import annotations

from typing import Any

import pytest
from mlcommons_caller import ML, NODE, Caller, make, said, texts, zipped

CLOSED = (400, "index_closed_exception", "closed")
NOT_READY = "Model not ready yet. Please deploy the model first."
NO_INTEGER = "[sparse_vector] fields should be valid integer"


def test_sparse_vector_takes_text_under_its_own_name_only(call: Caller, encoding: str) -> None:
    make(call, "sv", "sparse_vector", **{"index.default_pipeline": "in"})
    assert call("PUT", "/sv/_doc/1", {"text": "pear"}).status == 201
    stored = call("GET", "/sv/_doc/1").body["_source"]["e"]
    assert stored and all(token.isdecimal() for token in stored)
    preview = f"Preview of field's value: '{next(iter(stored.values()))}'"
    refused = call("PUT", "/sv-alias/_doc/6", {"text": "pear"})
    reason = f"failed to parse field [e] of type [sparse_vector] in document with id '6'. {preview}"
    assert said(refused) == (400, "mapper_parsing_exception", reason)
    assert refused.body["error"]["caused_by"] == {"type": "illegal_argument_exception", "reason": NO_INTEGER}
    items = call.bulk(
        "/sv-alias/_bulk", {"index": {"_id": "2"}}, {"text": "pear"}, {"index": {"_index": "sv", "_id": "3"}},
        {"text": "pear"}, {"index": {"_index": "sv-alias", "_id": "4"}}, {"text": "pear"},
    )  # fmt: skip
    assert [item["status"] for item in items] == [400, 201, 400]
    assert items[0]["error"]["caused_by"]["reason"] == NO_INTEGER and items[0]["_index"] == "sv"
    assert call("POST", "/sv-alias/_update/1", {"doc": {"text": "pear"}}).status == 400
    assert call("POST", "/sv/_update/1", {"doc": {"text": "pear"}}).status == 200
    for path, status in (("sv", 200), ("sv,sv-alias", 200), ("sv-alias", 400), ("s*", 400)):
        answer = texts(f"/{path}/_search", call, model_id=encoding)
        assert answer.status == status, path
        assert texts(f"/{path}/_search?search_pipeline=ask", call).status == status, path
    assert said(answer) == (400, "search_phase_execution_exception", "all shards failed")
    root = answer.body["error"]["root_cause"][0]
    assert root["type"] == "query_shard_exception"
    assert root["reason"] == "failed to create query: Query tokens should be valid integer"
    by_ids = {"query": {"neural_sparse": {"e": {"query_tokens": dict.fromkeys(stored, 1.0)}}}}
    assert call("POST", "/sv-alias/_search", by_ids).body["hits"]["total"]["value"] == 2


def test_what_a_sparse_vector_refuses(call: Caller) -> None:
    make(call, "sv", "sparse_vector")
    for token, weight, reason in (
        ("hello", 1.0, NO_INTEGER),
        ("1.5", 1.0, NO_INTEGER),
        ("-1", 1.0, "[sparse_vector] fields should be text of non-negative integer"),
        ("5", 0.0, "featureValue must be a positive normal float, got: 0.0 for feature 5 on field e which is less than "
                   "the minimum positive normal float: 1.1754944E-38"),
    ):  # fmt: skip
        answer = call("PUT", "/sv/_doc/7", {"e": {token: weight}})
        assert answer.status == 400 and answer.body["error"]["caused_by"]["reason"] == reason


@pytest.mark.parametrize(("first", "second"), [({"5": 1.0}, {}), ({}, {"5": 1.0})])
def test_vectors_and_empty_vectors_do_not_go_together(call: Caller, first: Any, second: Any) -> None:
    """One empty vector as the first document makes the index refuse every other."""
    make(call, "sv", "sparse_vector")
    assert call("PUT", "/sv/_doc/0", {"e": first}).status == 201
    assert call("PUT", "/sv/_doc/1", {"text": "without the field"}).status == 201
    was, now = ("DOCS_AND_FREQS", "NONE") if first else ("NONE", "DOCS_AND_FREQS")
    assert said(call("PUT", "/sv/_doc/2", {"e": second})) == (
        400, "illegal_argument_exception", "Inconsistency of field data structures across documents for field [e] of "
        f"doc [2]. index options: expected '{was}', but it has '{now}'."
    )  # fmt: skip


def test_a_closed_index(call: Caller) -> None:
    make(call, "c")
    call("PUT", "/c/_doc/1", {"text": "x"})
    assert call("POST", "/c/_close").body["indices"] == {"c": {"closed": True}}
    assert call("POST", "/c/_close").body == {"acknowledged": True, "shards_acknowledged": False, "indices": {}}
    for method, path, body in (
        ("GET", "/c/_count", None), ("POST", "/c/_search", {}), ("POST", "/c-alias/_search", {}),
        ("GET", "/c/_doc/1", None), ("PUT", "/c/_doc/2", {}), ("POST", "/c/_refresh", None),
        ("GET", "/c/_stats/store", None),
    ):  # fmt: skip
        assert said(call(method, path, body)) == CLOSED, path
    for item in call.bulk("/c/_bulk", {"index": {"_id": "2"}}, {}, {"delete": {"_id": "1"}}):
        assert (item["status"], item["error"]["type"]) == CLOSED[:2]
    (row,) = call("POST", "/c/_mget", {"ids": ["1"]}).body["docs"]
    assert row["error"]["type"] == "index_closed_exception" and row["_id"] == "1"
    assert call("POST", "/c*/_search", {}).body["hits"]["total"]["value"] == 0
    assert call("GET", "/c*/_count").body["count"] == 0
    (line,) = call("GET", "/_cat/indices/c*", params={"format": "json"}).body
    assert (line["status"], line["health"], line["docs.count"]) == ("close", "red", None)
    assert call("GET", "/_cat/indices/c*", params={"format": "json", "expand_wildcards": "open"}).body == []
    assert call("GET", "/c*/_mapping").body == {}
    assert set(call("GET", "/c*/_mapping", params={"expand_wildcards": "open,closed"}).body) == {"c"}
    assert set(call("GET", "/c/_mapping").body) == set(call("GET", "/_alias/c-alias").body) == {"c"}
    assert call("GET", "/c").body["c"]["settings"]["index"]["verified_before_close"] == "true"
    assert call("PUT", "/c/_mapping", {"_meta": {"x": 1}}).status == 200
    assert call("PUT", "/c/_settings", {"index.search.default_pipeline": None}).status == 200
    assert call("POST", "/c/_open").body == {"acknowledged": True, "shards_acknowledged": True}
    assert call("GET", "/c/_count").body["count"] == 1
    call("POST", "/c/_close")
    only = "The provided expression [c-alias] matches an alias, specify the corresponding concrete indices instead."
    assert said(call("DELETE", "/c-alias")) == (400, "illegal_argument_exception", only)
    assert call("DELETE", "/c").status == 200
    assert said(call("POST", "/c/_open")) == (404, "index_not_found_exception", "no such index [c]")


def test_models_that_are_too_many_or_not_deployed(call: Caller, encoding: str, tokenizer_json: bytes) -> None:
    key = "plugins.ml_commons.max_model_on_node"
    call("PUT", "/_cluster/settings", {"persistent": {key: 1}})
    data = zipped({"tokenizer.json": tokenizer_json})
    third = call.register(data)
    call.chunk(third, 0, data)
    assert call.deploy(third)[-2:] == ["FAILED", "Exceed max local model per node limit"]
    assert call.state(third) == "DEPLOY_FAILED"
    make(call, "i")
    refused = (400, "illegal_argument_exception", NOT_READY)
    assert said(call.predict(third, ["x"])) == refused
    assert said(texts("/i/_search", call, model_id=third)) == refused
    body = {"model_id": third, "field_map": {"text": "e"}}
    call("PUT", "/_ingest/pipeline/third", {"processors": [{"sparse_encoding": body}]})
    assert said(call("PUT", "/i/_doc/1?pipeline=third", {"text": "pear"})) == refused
    assert call("PUT", "/i/_doc/1?pipeline=third", {"text": ""}).status == 201
    (item,) = call.bulk("/i/_bulk?pipeline=third", {"index": {"_id": "9"}}, {"text": "pear"})
    assert (item["status"], item["error"]["reason"]) == (400, NOT_READY)
    rows = call("GET", f"{ML}/profile/models").body["nodes"][NODE]["models"]
    assert rows[encoding]["model_state"] == "DEPLOYED" and "model_state" not in rows[third]
    assert call("POST", f"{ML}/models/{third}/_undeploy").body == {NODE: {"stats": {third: "not_found"}}}
    call("PUT", "/_cluster/settings", {"persistent": {key: None}})
    assert call.deploy(third)[-1] == "COMPLETED"


def test_a_vector_with_a_dot_does_not_go_through_the_pipeline_again(call: Caller, encoding: str) -> None:
    make(call, "i", **{"index.default_pipeline": "in"})
    call("PUT", "/i/_doc/1", {"text": "ver. 2.0 pear"})
    stored = call("GET", "/i/_doc/1").body["_source"]
    assert "." in stored["e"]
    refused = (400, "illegal_argument_exception", "Field name '.' contains invalid dot usage")
    assert said(call("POST", "/i/_update/1", {"doc": {"text": "bread"}})) == refused
    assert said(call("PUT", "/i/_doc/1", stored)) == refused
    answer = call("POST", "/i/_update_by_query", {})
    (failure,) = answer.body["failures"]
    assert (answer.status, failure["id"], failure["cause"]["reason"]) == (400, "1", refused[2])
    (item,) = call.bulk("/i/_bulk", {"update": {"_id": "1"}}, {"doc": {"text": "bread"}})
    assert (item["status"], item["result"]) == (200, "updated")
    assert call("GET", "/i/_doc/1").body["_source"] == {"text": "bread", "e": stored["e"]}, "no pipeline saw it"


def test_updates_and_creates(call: Caller, encoding: str) -> None:
    make(call, "i", **{"index.default_pipeline": "in"})
    missing = (404, "document_missing_exception", "[no]: document missing")
    assert said(call("POST", "/i/_update/no", {"doc": {}})) == missing
    (item,) = call.bulk("/i/_bulk", {"update": {"_id": "no"}}, {"doc": {"text": "bread"}})
    assert (item["status"], item["error"]["type"], item["error"]["reason"]) == missing
    upsert = {"doc": {"text": "bread"}, "doc_as_upsert": True}
    assert [i["status"] for i in call.bulk("/i/_bulk", {"update": {"_id": "up"}}, upsert)] == [201]
    assert call("GET", "/i/_doc/up").body["_source"]["e"], "a document that an upsert makes is encoded"
    first, again = call.bulk("/i/_bulk", *({"create": {"_id": "n"}}, {"text": "bread"}) * 2)
    assert (first["status"], again["status"]) == (201, 409)
    assert again["error"]["reason"] == "[n]: version conflict, document already exists (current version [1])"


def test_a_write_makes_the_index_that_is_not_there(call: Caller) -> None:
    assert [i["status"] for i in call.bulk("/new/_bulk", {"index": {"_id": "1"}}, {"text": "x"})] == [201]
    assert [i["status"] for i in call.bulk("/none/_bulk", {"delete": {"_id": "1"}})] == [404]
    call.server.auto_create = False
    (item,) = call.bulk("/none/_bulk", {"index": {"_id": "1"}}, {"text": "x"})
    assert (item["status"], item["error"]["type"]) == (404, "index_not_found_exception")
    assert item["error"]["reason"] == "no such index [none]"
