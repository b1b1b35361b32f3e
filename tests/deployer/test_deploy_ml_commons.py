"""Deploying to a server that answers as ML Commons does."""

from __future__ import annotations

import json
import re

import pytest
from mlcommons_models import Runtime
from mlcommons_server import DEFAULTS, Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import DeployResult, ModelOptions, deploy, read_deployment, status
from osparse.deployer.index.layout import Serving
from osparse.deployer.mlcommons import model_steps
from osparse.errors import CheckError, ClusterError, DeploymentConflictError, MissingPluginError, OsparseError
from osparse.formula.lucene_rounding import score

from .conftest import TEXTS, client


def actions(result: DeployResult) -> list[str]:
    return [finding.action for finding in result.plan.findings]


def test_a_fresh_deploy_serves_queries_by_text(server: MLCommonsServer, small_bundle: Bundle) -> None:
    cluster = client(server)
    result = deploy(small_bundle, cluster, "products")
    assert result.plan.mode == "ml-commons" and "opensearch-ml" in result.plan.why
    assert actions(result) == ["keep", *["create"] * 7]
    assert read_deployment(cluster, "products").fingerprint == small_bundle.fingerprint
    for number, text in enumerate(TEXTS):
        cluster.request("PUT", f"/products/_doc/{number}", body={"text": text})
    body = {"query": {"neural_sparse": {"sparse_embedding": {"query_text": TEXTS[0]}}}}
    hits = cluster.request("POST", "/products/_search", body=body).body["hits"]["hits"]
    query = small_bundle.probes()[0].query
    expected = {str(n): score(query, probe.document) for n, probe in enumerate(small_bundle.probes())}
    assert {hit["_id"]: hit["_score"] for hit in hits} == pytest.approx(
        {k: v for k, v in expected.items() if v}, rel=1e-6
    )


def test_a_second_deploy_changes_nothing(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    before, calls = server.state(), len(server.calls)
    result = deploy(small_bundle, client(server), "products")
    assert actions(result) == ["keep"] * 8 and "nothing to change" in str(result)
    assert server.state() == before and result.seconds < 2
    sent = {str(call) for call in server.calls[calls:]}
    assert not [call for call in sent if call.startswith(("PUT", "DELETE"))]
    assert not [call for call in sent if re.search("register|upload_chunk|_deploy|_aliases", call)]


def test_a_plan_touches_nothing(server: MLCommonsServer, small_bundle: Bundle) -> None:
    before = server.state()
    result = deploy(small_bundle, client(server), "products", plan_only=True)
    assert not result.applied and "nothing was touched" in str(result)
    assert actions(result)[1:] == ["create"] * 7
    assert server.state() == before
    sent = {str(call) for call in server.calls}
    assert not [call for call in sent if call.startswith(("PUT", "DELETE"))]


def test_what_is_registered(server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_steps, "CHUNK", 100_000)
    deploy(small_bundle, client(server), "products")
    names = {model["name"] for model in server.models.values()}
    assert names == {f"tiny-{small_bundle.short}-encoder", f"tiny-{small_bundle.short}-tokenizer"}
    assert [group["name"] for group in server.groups.values()] == ["osparse-tiny"]
    chunks = [int(c.path.rsplit("/", 1)[1]) for c in server.calls if "upload_chunk" in c.path]
    assert len(chunks) > 4 and chunks[:-1] == list(range(len(chunks) - 1)), "one after the other, the last one last"
    assert all(
        headers["content-type"] == "application/json"
        for call, headers in zip(server.calls, server.headers_seen, strict=True)
        if "upload_chunk" in call.path
    )


@pytest.mark.parametrize("kind", ["drop", "lose"])
def test_a_deploy_killed_at_any_call_converges(
    kind: str, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From call k on nothing gets through (drop), or call k is done but unheard of (lose); the next run finishes it."""
    monkeypatch.setattr(model_steps, "CHUNK", 300_000)
    with mlcommons_server() as whole:
        deploy(small_bundle, client(whole), "products")
        wanted, total = whole.state(), len(whole.calls)
    interrupted = 0
    tried = range(1 if kind == "drop" else 3, total + 1, 5)  # a sample; benchmarks/faults.py strikes all by all
    for k in tried:
        with mlcommons_server() as server:
            rest = Fault("drop", calls=range(k + 1, 10_000))
            server.faults = [Fault(kind, calls=range(k, k + 1)), rest]
            try:
                deploy(small_bundle, client(server, retries=0), "products")
            except OsparseError:
                interrupted += 1
            server.faults = []
            deploy(small_bundle, client(server), "products")
            assert server.state() == wanted, f"{kind} at call {k}"
    assert interrupted > 0.8 * len(tried), "polls vary, so the last numbers may not come"


@pytest.mark.parametrize("fault", [(429, None), (503, None), (429, "0")])
def test_a_busy_cluster_is_asked_again(
    server: MLCommonsServer, small_bundle: Bundle, fault: tuple[int, str | None]
) -> None:
    status_code, retry_after = fault
    server.faults = [
        Fault("status", matching=pattern, times=2, status=status_code, retry_after=retry_after)
        for pattern in ("GET /$", "upload_chunk", "_deploy", "tasks/", "PUT /products")
    ]
    deploy(small_bundle, client(server), "products")
    assert len([call for call in server.calls if call.status == status_code]) == 10
    assert status(client(server), "products")[0].ready


def test_the_reason_of_a_failed_task_is_shown_with_its_remedy(server: MLCommonsServer, small_bundle: Bundle) -> None:
    server.fail_deploy = lambda name: "Native Memory Circuit Breaker is open, please check your resources!"
    with pytest.raises(ClusterError) as raised:
        deploy(small_bundle, client(server), "products")
    message = str(raised.value)
    assert "node n1: Native Memory Circuit Breaker is open" in message and "native_memory_threshold" in message
    assert len([call for call in server.calls if str(call).endswith("_deploy")]) == 1
    server.fail_deploy = lambda name: None
    deploy(small_bundle, client(server), "products")
    assert len(server.models) == 2


def test_changed_content_is_deployed_again_then_uploaded_again(server: MLCommonsServer, small_bundle: Bundle) -> None:
    failing = iter(["model content changed", "model content changed", None, None])
    server.fail_deploy = lambda name: next(failing)
    deploy(small_bundle, client(server), "products")
    sent = [str(call).rsplit("/", 1)[1] for call in server.calls if "_deploy" in call.path or "chunk" in call.path]
    assert sent == ["0", "_deploy", "_deploy", "0", "_deploy", "0", "_deploy"]


def test_a_damaged_chunk_is_mended(server: MLCommonsServer, small_bundle: Bundle) -> None:
    server.faults = [Fault("drop", matching="_deploy", times=10)]
    with pytest.raises(ClusterError):
        deploy(small_bundle, client(server, retries=0), "products")
    server.faults = []
    for chunks in server.chunks.values():
        chunks[0] = b"damaged" + chunks[0]
    deploy(small_bundle, client(server), "products")
    assert status(client(server), "products")[0].ready


def test_after_a_restart_the_models_are_deployed_again(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    server.restart()
    (found,) = status(client(server))
    assert not found.ready and {m.state for m in found.models} == {"DEPLOYED"} and "does not answer" in str(found)
    result = deploy(small_bundle, client(server), "products")
    assert actions(result) == ["keep", "keep", "change", "change", "keep", "keep", "keep", "keep"]
    assert status(client(server))[0].ready


def test_weights_that_were_not_proved_stop_the_deploy(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    (runtime,) = [r for r in server.runtimes.values() if isinstance(r, Runtime) and not r.encodes]
    token = next(iter(small_bundle.probes()[0].query))
    assert runtime.idf is not None
    runtime.idf[token] = small_bundle.probes()[0].query[token] + 0.001
    with pytest.raises(CheckError, match=re.escape(repr(token))):
        deploy(small_bundle, client(server), "products")


def test_a_foreign_index_is_a_conflict(server: MLCommonsServer, small_bundle: Bundle) -> None:
    client(server).request("PUT", "/products", body={})
    with pytest.raises(DeploymentConflictError, match="osparse did not make it"):
        deploy(small_bundle, client(server), "products")


def test_an_index_without_its_alias_gets_it_back(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    wanted = server.state()
    server.indices[f"products-{small_bundle.short}"].aliases.clear()
    assert not status(client(server))[0].ready
    deploy(small_bundle, client(server), "products")
    assert server.state() == wanted


def test_default_settings_are_refused_with_the_call_that_mends_them(small_bundle: Bundle) -> None:
    with mlcommons_server(settings={}) as server:
        server.memory_percent = 97
        planned = deploy(small_bundle, client(server), "products", plan_only=True)
        assert actions(planned)[0] == "change" and "`allow_settings=True`" in str(planned)
        with pytest.raises(ClusterError) as raised:
            deploy(small_bundle, client(server), "products")
        message = str(raised.value)
        assert "PUT /_cluster/settings" in message and "97 %" in message
        assert not server.groups and not server.persistent
        call = json.loads(message.split("PUT /_cluster/settings\n")[1])
        assert call["persistent"].keys() < DEFAULTS.keys() and len(call["persistent"]) == 3
        result = deploy(small_bundle, client(server), "products", models=ModelOptions(allow_settings=True))
        assert actions(result)[0] == "change" and len(server.persistent) == 3


def test_ml_commons_mode_needs_both_plugins(small_bundle: Bundle) -> None:
    with mlcommons_server(plugins=("opensearch-ml",)) as server:
        with pytest.raises(MissingPluginError, match="without opensearch-neural-search"):
            deploy(small_bundle, client(server), "products", mode="ml-commons")
        assert deploy(small_bundle, client(server), "products", plan_only=True).plan.mode == "client"


def test_an_orphan_of_the_same_name_is_cleared_away(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    wanted = server.state()
    (model,) = [m for m in server.models.values() if m["algorithm"] == "SPARSE_ENCODING"]
    server.models["orphan"] = {**model, "model_state": "REGISTERING"}
    server.chunks["orphan"] = {}
    deploy(small_bundle, client(server), "products")
    assert server.state() == wanted


def test_two_phase_goes_into_the_search_pipeline(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products", serving=Serving(two_phase=True))
    ((_, pipeline),) = server.pipelines.items()
    assert [next(iter(p)) for p in pipeline["request_processors"]] == [
        "neural_query_enricher", "neural_sparse_two_phase_processor",
    ]  # fmt: skip


def test_a_packaged_model_is_served_as_torchscript(server: MLCommonsServer, bundle: Bundle) -> None:
    """The packager's own zip runs under the server's rules and gives the probes' weights."""
    deploy(bundle, client(server), "products")
    (encoder,) = [model for model in server.models.values() if model["algorithm"] == "SPARSE_ENCODING"]
    assert encoder["model_format"] == "TORCH_SCRIPT"
    assert encoder["model_content_hash_value"] == bundle.files["torchscript"].sha256
    assert not deploy(bundle, client(server), "products").plan.changes


def test_models_that_are_gone_are_made_again_and_wired_anew(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    wanted, before = server.state(), set(server.models)
    for store in (server.models, server.chunks, server.runtimes):
        store.clear()
    deploy(small_bundle, client(server), "products")
    assert server.state() == wanted and not before & set(server.models)
    client(server).request("PUT", "/products/_doc/1", body={"text": TEXTS[0]})
