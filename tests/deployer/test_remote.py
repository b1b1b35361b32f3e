"""An encoder beside the cluster: osparse serve, called by ML Commons' connector."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from encoder_service import EncoderService, encoder_service
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import (
    DeployResult,
    ModelOptions,
    deploy,
    heal,
    index_documents,
    read_deployment,
    rollback,
    status,
    undeploy,
)
from osparse.deployer.remote import encoder_step
from osparse.deployer.remote.connector import BULK, Wanted, connections
from osparse.deployer.remote.endpoint import encoder_endpoint, is_private, is_trusted, trusted_pattern
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import CheckError, ClusterError, InputError

from .conftest import TEXTS, client

REGEX = "plugins.ml_commons.trusted_connector_endpoints_regex"


@pytest.fixture
def service(small_bundle: Bundle) -> Iterator[EncoderService]:
    with encoder_service(small_bundle.path) as running:
        yield running


def remote(bundle: Bundle, server: MLCommonsServer, url: str | None, **options: object) -> DeployResult:
    options = {"models": ModelOptions(allow_settings=True, encoder_url=url), "mode": "remote", **options}
    return deploy(bundle, client(server), "products", **options)  # type: ignore[arg-type]


def actions(result: DeployResult) -> list[str]:
    return [finding.action for finding in result.plan.findings]


def rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def documents(server: MLCommonsServer) -> dict[str, dict[str, object]]:
    (index,) = [index for name, index in server.indices.items() if name.startswith("products-")]
    return index.documents


def only_remote_model(server: MLCommonsServer) -> str:
    (model_id,) = [i for i, model in server.models.items() if model["algorithm"] == "REMOTE"]
    return model_id


def test_documents_are_encoded_beside_the_cluster_and_queries_call_nothing(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    result = remote(small_bundle, server, service.url)
    assert result.plan.mode == "remote" and actions(result)[0] == "change"
    done = index_documents(client(server), "products", [rows(tmp_path / "rows.jsonl", TEXTS)])
    assert done.indexed == len(TEXTS) and not done.failed
    for probe, stored in zip(small_bundle.probes(), documents(server).values(), strict=True):
        assert stored["sparse_embedding"] == pytest.approx(probe.document, abs=1e-6)
    calls = service.call("GET", "/metrics").body
    query = {"query": {"neural_sparse": {"sparse_embedding": {"query_text": TEXTS[0]}}}}
    hits = client(server).request("POST", "/products/_search", body=query).body["hits"]["hits"]
    assert hits[0]["_id"] == "0" and service.call("GET", "/metrics").body == calls
    (found,) = status(client(server), "products")
    assert found.ready and service.url in str(found) and read_deployment(client(server), "products").mode == "remote"


def test_no_token_of_a_long_answer_is_damaged(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    """ML Commons decodes an answer in pieces, so that it must not hold characters of several bytes."""
    result = remote(small_bundle, server, service.url)
    texts = [f"{TEXTS[n % len(TEXTS)]} {n}" for n in range(64)]
    index_documents(client(server), "products", [rows(tmp_path / "rows.jsonl", texts)])
    known = set(open_query_encoder(small_bundle.zip_path("tokenizer")).lexicon.tokens)
    stored = [source["sparse_embedding"] for source in documents(server).values()]
    assert result.applied and len(stored) == 64
    assert all(isinstance(vector, dict) and vector.keys() <= known for vector in stored)


def test_a_second_deploy_changes_nothing_and_a_plan_neither(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    planned = remote(small_bundle, server, service.url, plan_only=True)
    assert not server.connectors and not server.models and REGEX not in server.persistent
    assert "added" in str(planned)
    remote(small_bundle, server, service.url)
    before, settings = server.state(), dict(server.persistent)
    for again in (remote(small_bundle, server, service.url), remote(small_bundle, server, None, mode="auto")):
        assert actions(again) == ["keep"] * len(actions(again))
    assert server.state() == before and server.persistent == settings


def test_the_connector_has_time_outs_retries_and_enough_connections(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url)
    (connector,) = server.connectors.values()
    config = connector["client_config"]
    assert config["read_timeout"] == 60 and config["connection_timeout"] == 5 and config["max_retry_times"] > 0
    ((_, pipeline),) = server.ingest.items()
    (batch,) = [p["sparse_encoding"]["batch_size"] for p in pipeline["processors"] if "sparse_encoding" in p]
    assert batch == 16 and config["max_connection"] >= 2 * BULK / batch
    assert connections(1) == 256 and connections(1000) == 16
    encoding = next(p["sparse_encoding"] for p in pipeline["processors"] if "sparse_encoding" in p)
    assert "if" not in encoding, "the server hands documents over one by one to a processor with a condition"


def test_documents_go_in_batches(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    remote(small_bundle, server, service.url)

    def answered() -> int:
        found = re.search(r'requests_total\{status="200"\} (\d+)', service.call("GET", "/metrics").body)
        return int(found[1]) if found else -1

    before = answered()
    done = index_documents(client(server), "products", [rows(tmp_path / "r.jsonl", [f"pear {n}" for n in range(64)])])
    assert done.indexed == 64 and answered() - before == 4
    assert len([call for call in server.calls if call.path.endswith("/_bulk")]) == 1, "256 documents in a request"


def test_settings_change_only_when_allowed_and_lists_grow(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    server.persistent[REGEX] = ["^https://their\\.own/.*$"]
    with pytest.raises(ClusterError) as refused:
        remote(small_bundle, server, service.url, models=ModelOptions(encoder_url=service.url))
    call = json.loads(str(refused.value).partition("PUT /_cluster/settings\n")[2])["persistent"]
    assert call[REGEX][0] == "^https://their\\.own/.*$" and len(call[REGEX]) == 2
    assert not server.connectors
    remote(small_bundle, server, service.url)
    assert server.persistent[REGEX] == call[REGEX]
    assert server.persistent["plugins.ml_commons.connector.private_ip_enabled"] == "true"


def test_another_address_takes_over_without_a_gap(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url)
    model_id = only_remote_model(server)
    with encoder_service(small_bundle.path) as other:
        result = remote(small_bundle, server, other.url)
        assert [f.action for f in result.plan.findings if "remote model" in f.what] == ["change"]
        assert only_remote_model(server) == model_id and len(server.connectors) == 1
        (connector,) = server.connectors.values()
        assert connector["actions"][0]["url"] == other.url
        calls = [str(call) for call in server.calls]
        assert not any(f"{model_id}/_undeploy" in call for call in calls)
        assert read_deployment(client(server), "products").encoder_url == other.url
        before = server.state()
        assert not remote(small_bundle, server, other.url).plan.changes and server.state() == before


@pytest.mark.parametrize("wrong", ["nobody", "other weights"])
def test_an_address_that_is_not_proved_takes_nothing_over(
    wrong: str, server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, service: EncoderService
) -> None:
    """A remote deploy itself succeeds whatever the address is."""
    remote(small_bundle, server, service.url)
    before = server.state()
    with encoder_service(other_bundle.path) as other:
        url = other.url
        if wrong == "other weights":
            with pytest.raises(CheckError, match="not the proved one"):
                remote(small_bundle, server, url)
    if wrong == "nobody":
        with pytest.raises(ClusterError, match=r"Connection refused.*`encoder_url` must be right"):
            remote(small_bundle, server, url)
    assert server.state() == before
    assert not remote(small_bundle, server, service.url).plan.changes


def test_a_token_is_sent_and_a_new_one_replaces_it(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSPARSE_SERVE_TOKEN", "first")
    with encoder_service(small_bundle.path, token="first") as service:
        remote(small_bundle, server, service.url)
        port = int(service.address.rsplit(":", 1)[1])
    assert "first" not in json.dumps([c.path for c in server.calls])
    with encoder_service(small_bundle.path, token="second", port=port) as service:
        (found,) = status(client(server), "products")
        assert not found.ready and "OSPARSE_SERVE_TOKEN" in str(found)
        monkeypatch.setenv("OSPARSE_SERVE_TOKEN", "second")
        remote(small_bundle, server, service.url)
        assert status(client(server), "products")[0].ready and len(server.connectors) == 1
        assert not remote(small_bundle, server, service.url).plan.changes


def test_sparse_vector_gets_ids_through_an_alias_too(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url, serving={"field": "sparse_vector"})
    answer = client(server).request("PUT", "/products/_doc/1", body={"text": TEXTS[0]})
    assert answer.status == 201
    (stored,) = documents(server).values()
    assert stored["sparse_embedding"] and all(key.isdecimal() for key in stored["sparse_embedding"])  # type: ignore[attr-defined]
    assert status(client(server), "products")[0].ready


def test_heal_and_a_restart(server: MLCommonsServer, small_bundle: Bundle, service: EncoderService) -> None:
    remote(small_bundle, server, service.url)
    server.restart()
    assert not status(client(server), "products")[0].ready  # the tokenizer; the remote model deploys itself
    server.persistent["plugins.ml_commons.connector.private_ip_enabled"] = "false"
    server.deploy_remote(only_remote_model(server))  # the switch is read at deploy
    server.persistent["plugins.ml_commons.connector.private_ip_enabled"] = "true"
    assert "private ip address" in str(status(client(server), "products")[0])
    assert all(healed.problem is None for healed in heal(client(server), "products"))
    assert status(client(server), "products")[0].ready


def test_undeploy_removes_the_model_then_its_connector(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url)
    server.calls.clear()
    result = undeploy(client(server), "products", everything=True)
    assert not result.left and not server.models and not server.connectors and not server.ingest
    deleted = [call.path.split("/")[3] for call in server.calls if call.method == "DELETE" and "_ml/" in call.path]
    assert deleted.index("connectors") > deleted.index("models")


def test_a_connector_that_an_interrupted_undeploy_left_is_removed(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    remote(small_bundle, server, service.url)
    model_id = only_remote_model(server)
    server.models.pop(model_id), server.chunks.pop(model_id), server.runtimes.pop(model_id)
    undeploy(client(server), "products", everything=True)
    assert not server.connectors


def test_a_local_and_a_remote_deployment_of_one_bundle_share_the_tokenizer(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService
) -> None:
    deploy(small_bundle, client(server), "local", mode="ml-commons")
    remote(small_bundle, server, service.url)
    undeploy(client(server), "products", everything=True)
    assert status(client(server), "local")[0].ready and not server.connectors
    assert {model["algorithm"] for model in server.models.values()} == {"SPARSE_ENCODING", "SPARSE_TOKENIZE"}


def test_a_local_deployment_becomes_remote_in_place_and_back(
    server: MLCommonsServer, small_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products", mode="ml-commons")
    file = rows(tmp_path / "rows.jsonl", TEXTS)
    index_documents(client(server), "products", [file])
    before = {i: source["sparse_embedding"] for i, source in documents(server).items()}
    remote(small_bundle, server, service.url)
    index_documents(client(server), "products", [file], force=True)
    after = {i: source["sparse_embedding"] for i, source in documents(server).items()}
    for i, weights in before.items():
        assert after[i] == pytest.approx(weights, abs=1e-5)
    deploy(small_bundle, client(server), "products", mode="ml-commons")
    assert status(client(server), "products")[0].ready
    undeploy(client(server), "products", everything=True)
    assert not server.models and not server.connectors


def test_an_upgrade_to_another_bundle_and_back(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, service: EncoderService, tmp_path: Path
) -> None:
    remote(small_bundle, server, service.url)
    index_documents(client(server), "products", [rows(tmp_path / "rows.jsonl", TEXTS)])
    with encoder_service(other_bundle.path) as other:
        with pytest.raises(InputError, match="`mode=remote` needs `encoder_url`"):
            remote(other_bundle, server, None)
        result = remote(other_bundle, server, other.url)
        assert "weights: 4 probes as proved through its pipeline" in result.gate
        rollback(client(server), "products")
        assert read_deployment(client(server), "products").fingerprint == small_bundle.fingerprint
        undeploy(client(server), "products", keep=0)
    assert len(server.connectors) == 1 and status(client(server), "products")[0].ready


@pytest.mark.parametrize("kind", ["drop", "lose"])
def test_a_remote_deploy_killed_at_any_call_converges(kind: str, small_bundle: Bundle, service: EncoderService) -> None:
    from mlcommons_server import Fault

    from osparse.errors import OsparseError

    with mlcommons_server() as whole:
        remote(small_bundle, whole, service.url)
        wanted, total = whole.state(), len(whole.calls)
    interrupted = 0
    tried = range(1 if kind == "drop" else 2, total + 1, 3)
    for k in tried:
        with mlcommons_server() as server:
            rest = Fault("drop", calls=range(k + 1, 10_000))
            server.faults = [Fault(kind, calls=range(k, k + 1)), rest]
            models = ModelOptions(allow_settings=True, encoder_url=service.url)
            try:
                deploy(small_bundle, client(server, retries=0), "products", mode="remote", models=models)
            except OsparseError:
                interrupted += 1
            server.faults = []
            remote(small_bundle, server, service.url)
            assert server.state() == wanted, f"{kind} at call {k}"
            assert len(server.connectors) == 1, f"{kind} at call {k}"
    assert interrupted > 0.8 * len(tried)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://encoder:8765", "http://encoder:8765/encode"), ("https://e.example/", "https://e.example/encode"),
        ("http://[::1]:8765/other", "http://[::1]:8765/other"),
    ],
)  # fmt: skip
def test_an_encoder_s_address(url: str, expected: str) -> None:
    assert encoder_endpoint(url) == expected and is_trusted(expected, [trusted_pattern(expected)])
    assert not is_trusted(expected.replace("e", "x", 1).replace(":8765", ":8766"), [trusted_pattern(expected)])


@pytest.mark.parametrize(
    "url", ["encoder:8765", "ftp://encoder/encode", "http://", "http://u:secret@e/", "http://e/?a=1", "http://e:99999"]
)
def test_an_address_that_no_connector_can_call(url: str) -> None:
    with pytest.raises(InputError, match="`encoder_url` must be") as refused:
        encoder_endpoint(url)
    assert "secret" not in str(refused.value)


def test_private_addresses() -> None:
    assert is_private("http://127.0.0.1:1/encode") and is_private("http://10.1.2.3/encode")
    assert not is_private("http://93.184.216.34/encode") and not is_trusted("http://a/b", ["("])


def test_an_address_needs_the_mode_and_the_mode_an_address(server: MLCommonsServer, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="`encoder_url` goes with `mode=remote`"):
        remote(small_bundle, server, "http://encoder", mode="ml-commons")
    with pytest.raises(InputError, match="`mode=remote` needs `encoder_url`"):
        remote(small_bundle, server, None)
    with pytest.raises(InputError, match="`field=semantic`"):
        remote(small_bundle, server, "http://encoder", serving={"field": "semantic"})


def test_equal_connectors_have_equal_names(small_bundle: Bundle) -> None:
    wanted = Wanted(small_bundle, "remote", "http://e/encode", 16, "token")
    assert wanted.name == Wanted(small_bundle, "remote", "http://e/encode", 16, "another").name
    others = [
        Wanted(small_bundle, "remote-ids", "http://e/encode", 16, "token"),
        Wanted(small_bundle, "remote", "http://f/encode", 16, "token"),
        Wanted(small_bundle, "remote", "http://e/encode", 1, "token"),
        Wanted(small_bundle, "remote", "http://e/encode", 16),
    ]
    assert len({wanted.name, *(other.name for other in others)}) == 5
    assert "token" not in json.dumps(wanted._body()["parameters"]) and wanted.body()["credential"] == {"token": "token"}
    assert encoder_step.TRIAL == "-trial"
