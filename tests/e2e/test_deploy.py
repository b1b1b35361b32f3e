"""Client mode on the real node: deploy, index, search, all of it again, and what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.deployment import FIELD, token_of
from osparse.deployer import Cluster, deploy, index_documents, open_cluster, query_encoder, read_deployment, status
from osparse.deployer.load.load import HASH_FIELD
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import ClusterError, DeploymentConflictError, MissingPluginError
from osparse.formula.lucene_rounding import score
from osparse.opensearch_templates.queries import tokens_body

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "deployed"


@dataclass
class Served:
    cluster: Cluster
    bundle: Bundle
    concrete: str


@pytest.fixture(scope="module")
def served(node: Any, bundle: Bundle) -> Iterator[Served]:
    cluster = open_cluster(node.url)
    result = deploy(bundle, cluster, INDEX)
    assert result.plan.mode == "client" and result.applied and "without opensearch-ml" in result.plan.why
    yield Served(cluster, bundle, result.plan.index)
    cluster.request("DELETE", f"/{result.plan.index}", allow=(404,))


def test_the_index_is_as_the_design_says(served: Served) -> None:
    body = served.cluster.request("GET", f"/{INDEX}").body
    assert list(body) == [served.concrete] == [f"{INDEX}-{served.bundle.short}"]
    mapping = body[served.concrete]["mappings"]
    assert mapping["properties"][FIELD] == {"type": "rank_features"}
    assert mapping["properties"]["text"]["fields"]["ko"]["analyzer"] == "nori", "the embedded node has it"
    assert read_deployment(served.cluster, INDEX).key_style == "u2024"


def test_documents_queries_and_scores(served: Served, dataset: Dataset) -> None:
    """Scores of a query written by hand are the formula's, to 1e-6."""
    load = index_documents(served.cluster, INDEX, [dataset.path], batch=5)
    assert (load.indexed, load.failed) == (dataset.documents.collect().height, 0)
    rows = dataset.documents.select("id", "text").collect().rows()
    vectors = OnnxEncoder.open(served.bundle.zip_path("onnx")).encode([text for _, text in rows])
    expected = dict(zip([i for i, _ in rows], vectors, strict=True))
    deployment = read_deployment(served.cluster, INDEX)
    encoder = query_encoder(served.cluster, deployment)
    for text in ("growing pears in spring", "비와 구름", "tram ver. 2.0"):
        query = encoder.encode(text)
        body = tokens_body(deployment, query, size=50)
        hits = served.cluster.request("POST", f"/{INDEX}/_search", body=body).body["hits"]["hits"]
        assert hits and FIELD not in hits[0]["_source"]
        for hit in hits:
            source = served.cluster.request("GET", f"/{served.concrete}/_doc/{hit['_id']}").body["_source"]
            stored = {token_of(key, "u2024"): weight for key, weight in source[FIELD].items()}
            assert stored == pytest.approx(expected[hit["_id"]], abs=1e-5)
            assert hit["_score"] == pytest.approx(score(query, stored), rel=1e-6)
        matched = {i for i, vector in expected.items() if query.keys() & vector.keys()}
        assert {hit["_id"] for hit in hits} == matched
    assert "." in encoder.encode("tram ver. 2.0"), "a token with a dot was among them"


def test_a_second_run_changes_nothing(served: Served, dataset: Dataset) -> None:
    index_documents(served.cluster, INDEX, [dataset.path])
    before = served.cluster.request("GET", f"/{served.concrete}").body
    started = time.monotonic()
    result = deploy(served.bundle, served.cluster, INDEX)
    assert not result.plan.changes and time.monotonic() - started < 2
    load = index_documents(served.cluster, INDEX, [dataset.path])
    assert (load.indexed, load.unchanged) == (0, dataset.documents.collect().height)
    assert served.cluster.request("GET", f"/{served.concrete}").body == before
    (found,) = status(served.cluster, INDEX)
    assert found.ready and found.documents == load.unchanged


def test_one_document_changes(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    for text, counts in (("first", (1, 0)), ("first", (0, 1)), ("second", (1, 0)), ("", (1, 0))):
        path.write_text(json.dumps({"id": "a/b c?", "text": text, "date": "2024-02-29"}), encoding="utf-8")
        load = index_documents(served.cluster, INDEX, [path])
        assert (load.indexed, load.unchanged) == counts
    hits = served.cluster.request("POST", f"/{INDEX}/_search", body={"query": {"ids": {"values": ["a/b c?"]}}}).body
    (hit,) = hits["hits"]["hits"]
    assert FIELD not in hit["_source"] and len(hit["_source"][HASH_FIELD]) == 32


def test_refused_documents_are_told(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"id": "bad-date", "text": "x", "date": "yesterday"}, {"id": "good", "text": "x", "date": "2024-01-01"}]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    load = index_documents(served.cluster, INDEX, [path], failures=tmp_path / "failed.jsonl")
    assert (load.indexed, load.failed) == (1, 1)
    (line,) = (tmp_path / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["id"] == "bad-date" and "date" in json.loads(line)["reason"]


def test_odd_texts_are_indexed(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"id": f"odd-{n}", "text": text} for n, text in enumerate(world.ODD_TEXTS)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    load = index_documents(served.cluster, INDEX, [path])
    assert (load.indexed, load.failed) == (len(rows), 0)


def test_another_machine_needs_nothing_but_the_cluster(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    encoder = query_encoder(served.cluster, read_deployment(served.cluster, INDEX))
    probe = next(p for p in served.bundle.probes() if p.query)
    assert encoder.encode(probe.text) == pytest.approx(probe.query, rel=1e-6)
    assert len(list((tmp_path / "elsewhere" / "osparse" / "bundles").glob("*/tokenizer.zip"))) == 1


def test_conflicts_and_missing_plugins(served: Served) -> None:
    with pytest.raises(MissingPluginError, match="opensearch-ml and opensearch-neural-search"):
        deploy(served.bundle, served.cluster, INDEX, mode="ml-commons")
    served.cluster.request("PUT", "/foreign", body={})
    try:
        with pytest.raises(DeploymentConflictError, match="osparse did not make it"):
            deploy(served.bundle, served.cluster, "foreign")
        with pytest.raises(ClusterError, match="was not deployed by osparse"):
            read_deployment(served.cluster, "foreign")
    finally:
        served.cluster.request("DELETE", "/foreign")


def test_a_plan_touches_nothing(served: Served) -> None:
    before = set(served.cluster.request("GET", "/_all/_alias").body)
    result = deploy(served.bundle, served.cluster, "planned", plan_only=True)
    assert [finding.action for finding in result.plan.findings] == ["keep", "create"]
    assert set(served.cluster.request("GET", "/_all/_alias").body) == before
