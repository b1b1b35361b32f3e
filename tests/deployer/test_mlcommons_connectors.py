"""The test server's connectors and remote models answer as OpenSearch 3.4.0 does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faulty_encoder import FaultyEncoder, faulty_encoder
from mlcommons_caller import ML, Caller, said
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle

REGEX = "plugins.ml_commons.trusted_connector_endpoints_regex"
PRIVATE = "plugins.ml_commons.connector.private_ip_enabled"
BODY = '{"texts": ${parameters.input}, "sparse_embedding_format": "${parameters.sparse_embedding_format:-WORD}"}'


@pytest.fixture
def encoder(small_bundle: Bundle) -> Iterator[FaultyEncoder]:
    with faulty_encoder(small_bundle.path) as running:
        yield running


def settings(call: Caller, **values: Any) -> None:
    assert call("PUT", "/_cluster/settings", {"persistent": values}).status == 200


def connector(url: str, **more: Any) -> dict[str, Any]:
    action = {"action_type": "predict", "method": "POST", "url": url, "request_body": BODY}
    return {"name": "c", "description": "d", "version": "1", "protocol": "http", "credential": {"key": "s3cret"},
            "parameters": {}, "client_config": {"read_timeout": 5}, "actions": [action], **more}  # fmt: skip


def made(call: Caller, url: str, **more: Any) -> tuple[str, str]:
    """Connector and deployed model."""
    settings(call, **{REGEX: ["^http://127\\.0\\.0\\.1:\\d+.*$"], PRIVATE: True})
    connector_id = call("POST", f"{ML}/connectors/_create", connector(url, **more)).body["connector_id"]
    model = {"name": "r", "function_name": "remote", "connector_id": connector_id}
    model_id = call("POST", f"{ML}/models/_register", model).body["model_id"]
    assert call("POST", f"{ML}/models/{model_id}/_deploy").body["status"] == "COMPLETED"
    return connector_id, model_id


def predict(call: Caller, model_id: str, *texts: str, **parameters: str) -> Any:
    body = {"text_docs": [*texts], "parameters": parameters}
    return call("POST", f"{ML}/_predict/sparse_encoding/{model_id}", body)


def test_a_connector_needs_a_credential_and_a_trusted_address(call: Caller) -> None:
    create = f"{ML}/connectors/_create"
    wrong = "illegal_argument_exception"
    settings(call, **{REGEX: ["^http://a/.*$"]})
    none = call("POST", create, connector("http://a/b", credential={}))
    assert said(none) == (400, wrong, "Connector credential is null or empty list")
    untrusted = call("POST", create, connector("http://b/b"))
    assert said(untrusted) == (400, wrong, "Connector URL is not matching the trusted connector endpoint regex")
    i = call("POST", create, connector("http://a/b")).body["connector_id"]
    assert "s3cret" not in json.dumps(call("GET", f"{ML}/connectors/{i}").body)
    assert call("GET", f"{ML}/connectors").status == 400 and call("GET", f"{ML}/connectors/none").status == 404


def test_predictions_of_a_remote_model(call: Caller, encoder: FaultyEncoder) -> None:
    _, model_id = made(call, encoder.url)
    (result,) = predict(call, model_id, "pear", "moon").body["inference_results"]
    assert len(result["output"][0]["dataAsMap"]["response"]) == 2 and result["status_code"] == 200
    assert encoder.requests[-1] == {"texts": ["pear", "moon"], "sparse_embedding_format": "WORD"}
    predict(call, model_id, "pear", sparse_embedding_format="TOKEN_ID")
    assert encoder.requests[-1]["sparse_embedding_format"] == "TOKEN_ID"
    local = call.predict(model_id, ["pear"])
    assert local.status == 400 and local.body["error"]["reason"].startswith("Invalid payload: {")
    unfilled = predict(call, model_id, "${parameters.foo}")
    assert said(unfilled)[2] == "Some parameter placeholder not filled in payload: foo"
    status, kind, reason = said(predict(call, model_id, "${parameters.input}"))
    assert (status, kind) == (500, "illegal_state_exception") and reason.endswith(": input")
    assert predict(call, model_id, "${parameters.x:-abc}").status == 200 and encoder.requests[-1]["texts"] == ["abc"]


def test_the_private_address_switch_is_read_at_deploy(call: Caller, encoder: FaultyEncoder) -> None:
    _, model_id = made(call, encoder.url)
    settings(call, **{PRIVATE: False})
    assert predict(call, model_id, "pear").status == 200
    call("POST", f"{ML}/models/{model_id}/_undeploy")
    answer = predict(call, model_id, "pear")  # deploys itself
    assert said(answer)[2] == "Remote inference host name has private ip address: 127.0.0.1"


def test_a_connector_in_use_stays_and_a_model_changes_it_while_deployed(
    call: Caller, server: MLCommonsServer, encoder: FaultyEncoder
) -> None:
    connector_id, model_id = made(call, encoder.url)
    path = f"{ML}/connectors/{connector_id}"
    assert said(call("DELETE", path))[::2] == (
        409, f"1 models are still using this connector, please delete or update the models first: [{model_id}]"
    )  # fmt: skip
    assert said(call("PUT", path, {"credential": {"key": "new"}}))[::2] == (
        400, f"1 models are still using this connector, please undeploy the models first: [{model_id}]"
    )  # fmt: skip
    other = call("POST", f"{ML}/connectors/_create", connector(f"{encoder.url}/other")).body["connector_id"]
    assert call("PUT", f"{ML}/models/{model_id}", {"connector_id": other}).status == 200
    assert server.runtimes[model_id].call(["pear"], None)  # type: ignore[union-attr]
    assert call("DELETE", path).body["result"] == "deleted" and call("DELETE", path).body["result"] == "not_found"


def test_only_the_header_makes_it_try_again(call: Caller, encoder: FaultyEncoder) -> None:
    config = {"read_timeout": 5, "max_retry_times": 3}
    _, model_id = made(call, encoder.url, client_config=config)
    encoder.strike("429", 1)
    assert predict(call, model_id, "pear").status == 429 and len(encoder.requests) == 1
    encoder.strike("throttled", 100)
    assert said(predict(call, model_id, "pear"))[1] == "remote_connector_throttling_exception"
    assert len(encoder.requests) == 5
