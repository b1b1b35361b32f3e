"""The test server itself, against facts measured on OpenSearch 3.4.0 with ML Commons."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlcommons_caller import ML, NODE, Caller, zipped
from mlcommons_server import Fault

from osparse.deployer.cluster.client import Answer

GSON = "\nSee https://github.com/google/gson/blob/main/Troubleshooting.md#unexpected-json-structure"


def test_the_road_of_a_tokenizer(call: Caller, tokenizer_json: bytes) -> None:
    idf = b'{"the": 3.5, "zero": 0.0}'
    data = zipped({"tokenizer.json": tokenizer_json, "idf.json": idf})
    model_id = call.register(data, chunks=2, description="lost on the way")
    assert call("GET", f"{ML}/models/{model_id}").body["description"] == "lost on the way"
    assert call.chunk(model_id, 0, data[:100]).body == {"status": "Uploaded"}
    assert call.state(model_id) == "REGISTERING"
    call.chunk(model_id, 1, data[100:])
    assert call.state(model_id) == "REGISTERED"
    assert "description" not in call("GET", f"{ML}/models/{model_id}").body
    refused = call("PUT", f"{ML}/models/{model_id}", {"description": "again"})
    assert (refused.status, refused.reason) == (
        403,
        "The function category SPARSE_TOKENIZE is not supported at this time.",
    )
    not_ready = call.predict(model_id, ["the"])
    assert (not_ready.status, not_ready.reason) == (400, "Model not ready yet. Please deploy the model first.")
    assert call.deploy(model_id) == ["CREATED", "RUNNING", "COMPLETED"]
    found = call.predict(model_id, ["The pear the", ""]).body["inference_results"]
    first = found[0]["output"][0]["dataAsMap"]["response"][0]
    assert first["the"] == 3.5 and set(first.values()) == {3.5, 1.0}, "a token without weight counts 1"
    assert found[1] == {"output": [{"dataAsMap": {"response": [{}]}}]}
    assert "[CLS]" not in first
    refused = call("DELETE", f"{ML}/models/{model_id}")
    assert refused.status == 400 and refused.reason.startswith("Model cannot be deleted in deploying or deployed state")
    stats = call("POST", f"{ML}/models/{model_id}/_undeploy").body
    assert stats == {NODE: {"stats": {model_id: "undeployed"}}}
    assert call("DELETE", f"{ML}/models/{model_id}").status == 200


@pytest.mark.parametrize(
    ("members", "function_name", "reason"),
    [
        ({"idf.json": b"{}"}, "SPARSE_TOKENIZE", "Tokenizer file not exits: <data>/ml_cache/models_cache/models/{id}/1/g-test/tokenizer.json"),
        ({"x/tokenizer.json": b"T"}, "SPARSE_TOKENIZE", "Tokenizer file not exits: <data>/ml_cache/models_cache/models/{id}/1/g-test/tokenizer.json"),
        ({"tokenizer.json": b"T"}, "SPARSE_ENCODING", "g-test.pt file not found in: <data>/ml_cache/models_cache/models/{id}/1/g-test"),
        ({"tokenizer.json": b"T", "m.onnx": b"x"}, "SPARSE_ENCODING", "g-test.pt file not found in: <data>/ml_cache/models_cache/models/{id}/1/g-test"),
        ({"tokenizer.json": b"T", "a.pt": b"x", "b.pt": b"x"}, "SPARSE_ENCODING", "found multiple models"),
        ({"m.pt": b"x"}, "SPARSE_ENCODING", "PytorchStreamReader failed reading zip archive: failed finding central directory"),
        ({"tokenizer.json": b'{"version":"1.0"}'}, "SPARSE_TOKENIZE", "Model missing. at line 1 column 17"),
        ({"tokenizer.json": b"T", "idf.json": b"[1]"}, "SPARSE_TOKENIZE", "Expected BEGIN_ARRAY but was NUMBER at line 1 column 3 path $[0]" + GSON),
        ({"tokenizer.json": b"T", "idf.json": b"no"}, "SPARSE_TOKENIZE", "Expected BEGIN_OBJECT but was STRING at line 1 column 1 path $" + GSON),
        ({"tokenizer.json": b"T", "idf.json": b'{"a":{}}'}, "SPARSE_TOKENIZE", "Expected a double but was BEGIN_OBJECT at line 1 column 9 path $." + GSON),
    ],
)  # fmt: skip
def test_what_a_bad_zip_fails_with(
    call: Caller, tokenizer_json: bytes, members: dict[str, bytes], function_name: str, reason: str
) -> None:
    data = zipped({name: tokenizer_json if content == b"T" else content for name, content in members.items()})
    model_id = call.register(data, function_name)
    assert call.chunk(model_id, 0, data).status == 200, "nothing is checked at upload"
    assert call.state(model_id) == "REGISTERED"
    assert call.deploy(model_id)[-2:] == ["FAILED", reason.replace("{id}", model_id)]
    assert call.state(model_id) == "DEPLOY_FAILED"


def test_what_is_not_whole(call: Caller, tokenizer_json: bytes) -> None:
    data = zipped({"tokenizer.json": tokenizer_json})
    parts = [data[:50], data[50:100], data[100:]]
    middle = call.register(data, chunks=3)
    for number in (0, 2):
        call.chunk(middle, number, parts[number])
    assert call.state(middle) == "REGISTERED", "the last chunk decides"
    assert call.deploy(middle)[-1] == "Failed to deploy model"
    last = call.register(data, chunks=3)
    for number in (0, 1):
        call.chunk(last, number, parts[number])
    assert call.state(last) == "REGISTERING"
    assert call.deploy(last)[-1] == f"Fail to find model chunk {last}_2"
    late = call.register(data, chunks=3)
    for number in (2, 0, 1, 1):
        assert call.chunk(late, number, parts[number]).status == 200
    assert call.deploy(late)[-1] == "COMPLETED"
    none = call.register(data)
    assert call.deploy(none)[-1] == f"Fail to find model chunk {none}_0"
    changed = call.register(data, model_content_hash_value="0" * 64)
    call.chunk(changed, 0, data)
    assert call.deploy(changed)[-1] == "model content changed"
    broken = call.register(data[:200])
    call.chunk(broken, 0, data[:200])
    assert call.deploy(broken)[-1] == "Archive is not a ZIP archive"


def test_what_a_chunk_is_refused_with(call: Caller) -> None:
    model_id = call.register(b"x")
    for number, data, options, wanted in (
        (0, b"", {}, (500, "Chunk size either 0 or null")),
        (0, bytes(10_000_001), {}, (500, "Chunk size exceeds 10MB")),
        (1, b"x", {}, (500, "Chunk number exceeds total chunks")),
        ("x", b"x", {}, (400, 'For input string: "x"')),
        (0, b"x", {"content_type": "application/octet-stream"}, (406, "Content-Type header [application/octet-stream] is not supported")),
    ):  # fmt: skip
        answer = call.chunk(model_id, number, data, **options)
        assert (answer.status, answer.reason) == wanted
    assert call.chunk("nosuch", 0, b"x").reason == "Failed to find model"
    assert call.chunk(model_id, -1, b"x").status == 200, "as the real one does"
    assert call.chunk(model_id, 0, bytes(10_000_000)).status == 200


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"name": None}, (400, "model name is null")),
        ({"model_format": None}, (400, "model format is null")),
        ({"model_format": "torch_script"}, (400, "Wrong model format")),
        ({"function_name": None}, (400, "model config is null")),
        ({"function_name": "SPARSE"}, (400, "Wrong function name")),
        ({"model_content_hash_value": None}, (400, "model content hash value is null")),
        ({"total_chunks": None}, (400, "total chunks field is null")),
        ({"model_group_id": "nosuch"}, (500, "Fail to find model group")),
        ({"model_config": {}}, (400, "model type is null")),
        ({"version": None, "model_content_size_in_bytes": None, "function_name": "sparse_tokenize"}, (200, "")),
    ],
)
def test_what_a_registration_is_refused_with(call: Caller, change: dict[str, Any], wanted: tuple[int, str]) -> None:
    body = {
        "name": "n", "function_name": "SPARSE_TOKENIZE", "version": "1", "model_format": "TORCH_SCRIPT",
        "model_content_hash_value": "x", "model_content_size_in_bytes": 1, "total_chunks": 1, **change,
    }  # fmt: skip
    answer = call("POST", f"{ML}/models/_register_meta", {k: v for k, v in body.items() if v is not None})
    assert answer.status == wanted[0] and (answer.status == 200 or answer.reason == wanted[1])


def test_unknown_ids(call: Caller) -> None:
    for method, path, reason in (
        ("GET", "models/nosuch", "Failed to find model with the provided model id: nosuch"),
        ("POST", "models/nosuch/_deploy", "Failed to find model"),
        ("POST", "models/nosuch/_undeploy", "Failed to find model"),
        ("DELETE", "models/nosuch", "Failed to find model"),
        ("GET", "tasks/nosuch", "Failed to find task"),
        ("GET", "model_groups/nosuch", "Failed to find model group with the provided model group id: nosuch"),
    ):
        answer = call(method, f"{ML}/{path}")
        assert (answer.status, answer.reason) == (404, reason)
    answer = call("POST", "/nosuch/_search", {})
    assert (answer.status, answer.reason) == (404, "no such index [nosuch]")


def test_group_names_are_taken_once(call: Caller) -> None:
    made = call("POST", f"{ML}/model_groups/_register", {"name": "g", "description": "d"}).body["model_group_id"]
    again = call("POST", f"{ML}/model_groups/_register", {"name": "g", "description": "d"})
    assert (again.status, again.reason) == (
        400,
        f"The name you provided is already being used by a model group with ID: {made}.",
    )
    assert call("POST", f"{ML}/model_groups/_register", {"name": "a;b"}).reason.startswith(
        "Validation Failed: 1: Model group name"
    )


def test_query_weights_and_features_have_limits(call: Caller) -> None:
    call("PUT", "/i", {"mappings": {"properties": {"e": {"type": "rank_features"}}}})
    call("PUT", "/i/_doc/1", {"e": {"a": 1.3, "b.c": 2.0}})

    def ask(body: dict[str, Any], field: str = "e") -> Answer:
        return call("POST", "/i/_search", {"query": {"neural_sparse": {field: body}}})

    for weight, said in ((0, "0.0"), (65, "65.0")):
        answer = ask({"query_tokens": {"a": weight}})
        assert answer.status == 400 and answer.reason.endswith(f"weight must be in (0, 64.0], got: {said}")
    assert ask({"query_text": ""}).reason == "query_text field can not be empty"
    assert ask({"query_tokens": {"a": 1}}, "none").reason.endswith(
        "[neural_sparse] query only works on [rank_features] fields"
    )
    assert ask({"query_text": "x", "model_id": "nosuch"}).status == 404
    assert ask({"query_tokens": {"a": 2.0, "b.c": 1.0}}).body["hits"]["hits"][0]["_score"] == 2 * 1.296875 + 2.0
    assert ask({"query_tokens": {}}).body["hits"]["hits"] == []
    lines = b'{"index":{"_id":"2"}}\n{"e":{"a":0.0}}\n'
    (item,) = call("POST", "/i/_bulk", lines, content_type="application/x-ndjson").body["items"]
    assert item["index"]["status"] == 400 and "must be a positive normal float, got: 0.0" in json.dumps(item)


def test_pipelines(call: Caller) -> None:
    body = {"processors": [{"sparse_encoding": {"model_id": "nosuch", "field_map": {"text": "e"}}}]}
    assert call("PUT", "/_ingest/pipeline/p", body).body == {"acknowledged": True}, "the model is not looked for"
    assert call("GET", "/_ingest/pipeline/p").body == {"p": body}
    assert call("GET", "/_ingest/pipeline/none").status == 404
    call("PUT", "/i", {"settings": {"index": {"default_pipeline": "p"}}})
    assert call("PUT", "/i/_doc/1", {"text": "x"}).reason == "Failed to find model"
    assert call("PUT", "/i/_doc/1", {"text": ""}).status == 201, "an empty text is stored without features"
    bad = {"processors": [{"sparse_encoding": {"field_map": {"text": "e"}}}]}
    assert call("PUT", "/_ingest/pipeline/q", bad).reason == "[model_id] required property is missing"
    assert (
        call("PUT", "/_search/pipeline/s", {"request_processors": [{"nosuch": {}}]}).reason
        == "Invalid processor type nosuch"
    )


def test_faults_strike_where_they_should(call: Caller) -> None:
    call.server.faults = [Fault("status", calls=range(2, 3), status=500)]
    assert [call("GET", "/").status for _ in range(3)] == [200, 500, 200]


def test_settings_layers(call: Caller) -> None:
    key = "plugins.ml_commons.only_run_on_ml_node"
    flat = {"include_defaults": "true", "flat_settings": "true"}
    call("PUT", "/_cluster/settings", {"persistent": {key: None}})
    body = call("GET", "/_cluster/settings", params=flat).body
    assert body["defaults"][key] == "true" and key not in body["persistent"]
    assert call("PUT", "/_cluster/settings", {"persistent": {"plugins.ml_commons.nosuch": 1}}).status == 400
