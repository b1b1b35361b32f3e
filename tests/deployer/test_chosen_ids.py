"""From OpenSearch 3.9 on osparse chooses the ids of its models: the same bundle has the same ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler
from typing import Any

import pytest
from local_http import serving
from mlcommons_caller import Caller
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, deploy, status, undeploy
from osparse.deployer.mlcommons.chosen_ids import MAX_BYTES, PATTERN, model_id_of

from .conftest import client
from .test_versions import set_version

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def newer(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> MLCommonsServer:
    """A 3.9."""
    set_version(server, "3.9.0", monkeypatch)
    server.takes_ids = True
    return server


def ids(bundle: Bundle) -> set[str]:
    return {model_id_of(bundle, part) for part in ("encoder", "tokenizer")}


def test_the_ids_are_the_names(newer: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(newer), "products")
    assert (
        set(newer.models) == ids(small_bundle) == {f"tiny-{small_bundle.short}-{p}" for p in ("encoder", "tokenizer")}
    )
    assert all(found.ready for found in status(client(newer), "products"))


def test_every_name_of_a_bundle_makes_an_id(make_bundle: MakeBundle) -> None:
    for name in ("a.b_c-d", "0", "x" * 80):
        for found in ids(make_bundle(name)):
            assert PATTERN.fullmatch(found) and len(found.encode()) <= MAX_BYTES, found


def test_the_same_ids_after_an_undeploy_and_on_another_cluster(
    newer: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(small_bundle, client(newer), "products")
    undeploy(client(newer), "products", everything=True)
    assert not newer.models
    deploy(small_bundle, client(newer), "products")
    assert set(newer.models) == ids(small_bundle)
    with mlcommons_server() as other:
        set_version(other, "3.9.1", monkeypatch)
        other.takes_ids = True
        deploy(small_bundle, client(other), "shop")
        assert set(other.models) == ids(small_bundle)


def test_an_older_version_is_sent_no_id(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_version(server, "3.8.0", monkeypatch)
    sent: list[Any] = []
    register = server.model_register_meta

    def noted(request: Any) -> Any:
        sent.append(request.json)
        return register(request)

    monkeypatch.setattr(server, "model_register_meta", noted)
    deploy(small_bundle, client(server), "products")
    assert len(sent) == 2 and all("model_id" not in body for body in sent)


def test_a_node_that_is_older_than_the_one_that_answers(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a rolling upgrade: the id is not looked at, and the server's own counts."""
    set_version(server, "3.9.0", monkeypatch)
    deploy(small_bundle, client(server), "products")
    assert not ids(small_bundle) & set(server.models)
    assert all(found.ready for found in status(client(server), "products"))


def test_an_id_that_a_stranger_has(
    newer: MLCommonsServer, small_bundle: Bundle, call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    taken = model_id_of(small_bundle, "encoder")
    assert call.register(b"zip", name="mine", model_id=taken) == taken
    versions = {group["name"]: group["latest_version"] for group in newer.groups.values()}
    deploy(small_bundle, client(newer), "products")
    assert newer.models[taken]["name"] == "mine" and len(newer.models) == 3
    assert f"model id '{taken}' already exists; the server chooses the id" in caplog.text
    assert versions["mine"] == 1


def test_a_conflict_with_the_same_model_is_that_model(
    newer: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine registers between the look and the call: its model is completed, none is made beside it."""
    register, done = newer.model_register_meta, set[str]()

    def twice(request: Any) -> Any:
        if request.json["name"] not in done:
            done.add(request.json["name"])
            register(request)
        return register(request)

    monkeypatch.setattr(newer, "model_register_meta", twice)
    deploy(small_bundle, client(newer), "products")
    assert set(newer.models) == ids(small_bundle)
    assert all(found.ready for found in status(client(newer), "products"))


def test_a_lost_answer_leaves_one_model(newer: MLCommonsServer, small_bundle: Bundle) -> None:
    newer.faults = [Fault("lose", matching="POST .*_register_meta")]
    deploy(small_bundle, client(newer), "products")
    assert set(newer.models) == ids(small_bundle)


def test_models_that_the_server_fetches(newer: MLCommonsServer, small_bundle: Bundle, call: Caller) -> None:
    taken = model_id_of(small_bundle, "tokenizer")
    call.register(b"zip", name="mine", model_id=taken)

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with serving(functools.partial(Files, directory=str(small_bundle.path))) as url:  # type: ignore[arg-type]  # a handler's class, with its folder
        deploy(small_bundle, client(newer), "products", models=ModelOptions(allow_settings=True, via_url=url))
    assert newer.models[model_id_of(small_bundle, "encoder")]["model_state"] == "DEPLOYED"
    assert newer.models[taken]["name"] == "mine" and len(newer.models) == 3


@pytest.mark.parametrize("wrong", ["_a", "-a", "a.b", "a b", "", "x" * 513])
def test_ids_that_the_server_refuses(newer: MLCommonsServer, call: Caller, wrong: str) -> None:
    body = {
        "name": "n", "function_name": "SPARSE_TOKENIZE", "model_format": "ONNX", "model_content_hash_value": "x",
        "total_chunks": 1, "model_id": wrong,
    }  # fmt: skip
    answer = call("POST", "/_plugins/_ml/models/_register_meta", body)
    assert answer.status == 400 and answer.reason.startswith("model id ")
