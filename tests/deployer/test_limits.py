"""Limits of the server that are seen before anything is sent, and batches that let queries through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, Upgrade, deploy, index_documents, undeploy
from osparse.errors import ClusterError

from .conftest import client

LIMIT = "plugins.ml_commons.max_model_on_node"


def test_models_that_would_not_fit_are_refused_before_the_upload(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    server.persistent[LIMIT] = "3"
    deploy(small_bundle, client(server), "products")
    assert not deploy(small_bundle, client(server), "products").plan.changes, "those that run need no slot more"
    plan = deploy(other_bundle, client(server), "products", plan_only=True).plan
    assert f"{LIMIT}=4" in str(plan) and "node n1 runs 2 models, at most 3 may run there" in str(plan)
    calls = len(server.calls)
    with pytest.raises(ClusterError, match=r"brings 2 more \(osparse undeploy(.|\n)*PUT /_cluster/settings"):
        deploy(other_bundle, client(server), "products")
    assert not [call for call in server.calls[calls:] if "upload_chunk" in call.path or "_register" in call.path]
    assert deploy(other_bundle, client(server), "products", models=ModelOptions(allow_settings=True)).applied
    assert server.persistent[LIMIT] == "4"


def test_slots_that_undeploy_freed_are_seen(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "products")
    deploy(other_bundle, client(server), "products")
    undeploy(client(server), "products", keep=0)
    server.persistent[LIMIT] = "4"
    assert deploy(small_bundle, client(server), "products").applied


def test_models_that_run_elsewhere_do_not_count(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.persistent[LIMIT] = "2"
    rows = {f"r{n}": {"predictor": "org.opensearch.ml.engine.algorithms.remote.RemoteModel@1"} for n in range(9)}
    monkeypatch.setattr(server, "profile_models", lambda request: {"nodes": {"n": {"models": rows}}})
    assert "max_model_on_node" not in str(deploy(small_bundle, client(server), "products", plan_only=True).plan)
    rows["local"] = {"predictor": "org.opensearch.ml.engine.algorithms.tokenize.SparseTokenizerModel@1"}
    assert f"{LIMIT}=3" in str(deploy(small_bundle, client(server), "products", plan_only=True).plan)


@pytest.mark.parametrize(("mode", "batch", "bulks"), [("ml", None, 3), ("ml", 40, 1), ("client", None, 1)])
def test_batches_are_small_where_the_cluster_encodes(
    mode: str,
    batch: int | None,
    bulks: int,
    server: MLCommonsServer,
    core: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
) -> None:
    running = server if mode == "ml" else core
    deploy(small_bundle, client(running), "products")
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": "pears"}) + "\n" for n in range(40)), encoding="utf-8")
    assert index_documents(client(running), "products", [path], batch=batch).indexed == 40
    assert sum(call.path.endswith("/_bulk") for call in running.calls) == bulks


def test_a_copy_that_the_cluster_encodes_is_made_in_small_batches(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products")
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": "pears"}) + "\n" for n in range(40)), encoding="utf-8")
    index_documents(client(server), "products", [path])
    before = len(server.calls)
    deploy(other_bundle, client(server), "products", upgrade=Upgrade(encode="cluster"))
    assert sum(call.path.endswith("/_bulk") for call in server.calls[before:]) == 3
