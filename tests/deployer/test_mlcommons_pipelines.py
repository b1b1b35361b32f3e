"""The test server's pipelines and templates, against answers of OpenSearch 3.4.0 with neural-search."""

from __future__ import annotations

import json

from mlcommons_caller import ML, Caller, make, said

NOT_READY = "Model not ready yet. Please deploy the model first."
TOO_LONG = (
    "The number of tokens produced by calling _analyze has exceeded the allowed maximum of [10000]. This limit can be set "
    "by changing the [index.analyze.max_token_count] index level setting."
)


def test_a_default_search_pipeline_that_was_deleted(call: Caller, encoding: str) -> None:
    gone = (400, "illegal_argument_exception", "Pipeline gone is not defined")
    make(call, "i", **{"index.search.default_pipeline": "gone"})
    make(call, "other")
    call("PUT", "/i/_doc/1", {"text": "x"})
    for path in ("i", "i-alias", "i,other"):
        assert said(call("GET", f"/{path}/_count")) == gone
        assert said(call("POST", f"/{path}/_search", {})) == gone
    assert said(call("POST", "/i/_search?scroll=1m", {})) == gone
    assert said(call("POST", "/i/_update_by_query", {})) == gone
    for path in ("i", "i-alias"):
        assert call("POST", f"/{path}/_search?search_pipeline=_none", {}).body["hits"]["total"]["value"] == 1
    assert said(call("GET", "/i/_count?search_pipeline=_none")) == (
        400, "illegal_argument_exception", "request [/i/_count] contains unrecognized parameter: [search_pipeline]"
    )  # fmt: skip
    assert said(call("POST", "/i/_search?search_pipeline=nosuch", {}))[2] == "Pipeline nosuch is not defined"
    lines = b'{}\n{}\n{}\n{"search_pipeline": "_none"}\n'
    answer = call("POST", "/i/_msearch", lines, content_type="application/x-ndjson")
    assert [row["status"] for row in answer.body["responses"]] == [400, 200]
    answer = call("POST", "/i/_msearch", b'{"search_pipeline": "_none"}\n{}\n', content_type="application/x-ndjson")
    assert said(answer)[2] == "key [search_pipeline] is not supported in the metadata section"
    assert call("GET", "/i/_doc/1").status == call("POST", "/i/_mget", {"ids": ["1"]}).status == 200
    assert call("PUT", "/i/_settings", {"index.search.default_pipeline": None}).status == 200
    assert call("GET", "/i/_count").body["count"] == 1


def test_an_ingest_pipeline_that_is_not_there(call: Caller) -> None:
    gone = {"type": "illegal_argument_exception", "reason": "pipeline with id [gone] does not exist"}
    make(call, "i", **{"index.default_pipeline": "gone"})
    assert said(call("PUT", "/i/_doc/1", {"text": "x"})) == (400, gone["type"], gone["reason"])
    row = ({"index": {"_id": "1"}}, {"text": "x"})
    assert [(item["status"], item["error"]) for item in call.bulk("/i/_bulk", *row)] == [(400, gone)]
    assert [item["status"] for item in call.bulk("/i/_bulk?pipeline=_none", *row)] == [201]
    (named,) = call.bulk("/i/_bulk?pipeline=nosuch", *row)
    assert named["error"]["reason"] == "pipeline with id [nosuch] does not exist"
    assert said(call("POST", "/i/_update/1", {"doc": {"text": "y"}}))[2] == gone["reason"]
    assert [i["status"] for i in call.bulk("/i/_bulk", {"update": {"_id": "1"}}, {"doc": {"text": "y"}})] == [200]
    assert [i["status"] for i in call.bulk("/i/_bulk", {"delete": {"_id": "1"}})] == [200]


def chunks(call: Caller, limit: int) -> None:
    algorithm = {"fixed_token_length": {"token_limit": limit, "tokenizer": "standard"}}
    body = {"algorithm": algorithm, "field_map": {"text": "pieces"}}
    call("PUT", "/_ingest/pipeline/cut", {"processors": [{"text_chunking": body}]})


def test_text_chunking_takes_10000_tokens(call: Caller) -> None:
    chunks(call, 300)
    make(call, "i", **{"index.default_pipeline": "cut"})
    long = {"text": "word " * 10_001}
    rows = ({"index": {"_id": "1"}}, long, {"index": {"_id": "2"}}, {"text": "word " * 10_000})
    refused, stored = call.bulk("/i/_bulk", *rows)
    cause = {"type": "illegal_state_exception", "reason": TOO_LONG}
    reason = f"analyzer standard throws exception: {TOO_LONG}"
    assert (refused["status"], refused["error"]) == (500, {**cause, "reason": reason, "caused_by": cause})
    assert stored["status"] == 201
    assert said(call("PUT", "/i/_doc/1", long)) == (500, "illegal_state_exception", reason)
    call("PUT", "/i/_settings", {"index.analyze.max_token_count": 20_000})
    assert call("PUT", "/i/_doc/1", long).status == 201
    assert call("PUT", "/i-alias/_doc/3", long).status == 500, "an alias does not lead to the index's setting"
    docs = call(
        "POST", "/_ingest/pipeline/cut/_simulate", {"docs": [{"_source": long}, {"_index": "i", "_source": long}]}
    )
    assert docs.body["docs"][0]["error"]["reason"] == reason and "doc" in docs.body["docs"][1]


def test_where_text_chunking_cuts(call: Caller) -> None:
    chunks(call, 3)
    given = ("One, two. three-four  five's! (six) 서울 사람.", "", " ", "... !!", None)
    docs = [{"_source": {} if text is None else {"text": text}} for text in given]
    rows = call("POST", "/_ingest/pipeline/cut/_simulate", {"docs": docs}).body["docs"]
    found = [row["doc"]["_source"]["pieces"] for row in rows]
    assert found == [["One, two. three-", "four  five's! (six) ", "서울 사람."], [], [], [], []]


def test_skip_existing_looks_the_document_up(call: Caller, encoding: str) -> None:
    body = {"model_id": encoding, "field_map": {"text": "e"}, "skip_existing": True}
    call("PUT", "/_ingest/pipeline/skip", {"processors": [{"sparse_encoding": body}]})
    make(call, "i", **{"index.default_pipeline": "skip"})
    docs = [{"_source": {"text": "pear"}}, {"_index": "i", "_source": {"text": "pear"}}]
    nowhere, found = call("POST", "/_ingest/pipeline/skip/_simulate", {"docs": docs}).body["docs"]
    assert nowhere["error"]["reason"] == "no such index [_index]"
    assert (found["doc"]["_index"], found["doc"]["_id"]) == ("i", "_id") and found["doc"]["_source"]["e"]
    call("PUT", "/i/_doc/1", {"text": "pear"})
    call("POST", f"{ML}/models/{encoding}/_undeploy")
    assert call("PUT", "/i/_doc/1", {"text": "pear"}).status == 200, "the stored vector is kept, no model is asked"
    assert call("PUT", "/i/_doc/1", {"text": "bread"}).reason == NOT_READY


def test_index_templates(call: Caller, encoding: str) -> None:
    settings = {"index.default_pipeline": "in", "index.search.default_pipeline": "ask", "index.final_pipeline": "fin"}
    template = {"settings": settings, "mappings": {"properties": {"z": {"type": "keyword"}}}, "aliases": {"al": {}}}
    call("PUT", "/_index_template/t", {"index_patterns": ["t*"], "priority": 5, "template": template})
    nested = {"index": {"default_pipeline": "in", "search": {"default_pipeline": "ask"}, "final_pipeline": "fin"}}
    assert call("POST", "/_index_template/_simulate_index/t1").body == {
        "template": {**template, "settings": nested}, "overlapping": []
    }  # fmt: skip
    assert call("POST", "/_index_template/_simulate_index/other").body == {}
    (row,) = call("GET", "/_index_template/t").body["index_templates"]
    assert row["index_template"]["template"]["settings"] == nested
    call("PUT", "/t1", {"settings": {"number_of_shards": 1}})
    made = call("GET", "/t1").body["t1"]
    assert made["settings"]["index"]["search"] == {"default_pipeline": "ask"} and made["aliases"] == {"al": {}}
    call("PUT", "/t2", {"settings": dict.fromkeys(settings, "_none")})
    assert (
        call("PUT", "/t2/_doc/1", {"text": "pear"}).status == 201
        and "e" not in call("GET", "/t2/_doc/1").body["_source"]
    )
    assert call("POST", "/t2/_search", {}).status == 200, "_none is no pipeline that must be there"
    assert said(call("GET", "/_index_template/no")) == (
        404, "resource_not_found_exception", "index template matching [no] not found"
    )  # fmt: skip
    assert call("DELETE", "/_index_template/t").status == 200
    assert said(call("DELETE", "/_index_template/t")) == (
        404, "index_template_missing_exception", "index_template [t] missing"
    )  # fmt: skip
    call("PUT", "/_template/old", {"index_patterns": ["t*"], "settings": {"index.default_pipeline": "in"}})
    assert call("POST", "/_index_template/_simulate_index/t3").body == {}, "a legacy template is not simulated"
    call("PUT", "/t3", {})
    assert json.dumps(call("GET", "/t3").body["t3"]["settings"]).count('"default_pipeline": "in"') == 1
