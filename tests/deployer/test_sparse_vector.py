"""A sparse_vector field under an alias: the server looks the field up by the name in the request, and finds no alias."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlcommons_models import Runtime
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer import deploy, index_documents, load_rows, read_deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.deployer.health.document_check import document_problems
from osparse.deployer.index.layout import Serving
from osparse.deployer.load.documents import DocumentRow
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import ClusterError
from osparse.formula.lucene_rounding import score
from osparse.retrieval import explain
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.systems.cluster_run import cluster_run

from .conftest import TEXTS, client

SEISMIC = Serving(field="sparse_vector")


@pytest.fixture
def loaded(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> MLCommonsServer:
    """The bundle's probes, loaded through the alias."""
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    path = tmp_path / "d.jsonl"
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    load = index_documents(client(server), "products", [path])
    assert (load.indexed, load.failed) == (len(TEXTS), 0)
    return server


def test_a_stranger_must_name_the_concrete_index(loaded: MLCommonsServer, small_bundle: Bundle) -> None:
    """What the real server answers: a text through the alias is refused, token ids are not."""
    cluster, concrete = client(loaded), f"products-{small_bundle.short}"
    by_text = {"query": {"neural_sparse": {"sparse_embedding": {"query_text": TEXTS[0]}}}}
    with pytest.raises(ClusterError, match="Query tokens should be valid integer"):
        cluster.request("POST", "/products/_search", body=by_text)
    assert cluster.request("POST", f"/{concrete}/_search", body=by_text).body["hits"]["hits"]
    with pytest.raises(ClusterError, match=r"failed to parse field \[sparse_embedding\] of type \[sparse_vector\]"):
        cluster.request("PUT", "/products/_doc/x", body={"text": TEXTS[0]})
    assert cluster.request("PUT", f"/{concrete}/_doc/x", body={"text": TEXTS[0]}).status == 201


def test_osparse_asks_and_explains_through_the_alias(loaded: MLCommonsServer, small_bundle: Bundle) -> None:
    searcher = Searcher(client(loaded), "products")
    probes = small_bundle.probes()
    for query in probes:
        expected = {str(n): score(query.query, one.document) for n, one in enumerate(probes)}
        found = {hit.id: hit.score for hit in searcher.ask(query.text, explain=True).hits}
        assert found == pytest.approx({i: value for i, value in expected.items() if value}, rel=0.01)
        explained = explain(client(loaded), "products", "0", query.text)
        assert explained.score == pytest.approx(expected["0"], rel=0.01)
    bodies = {str(n): searcher.body(text, size=10) for n, text in enumerate(TEXTS)}
    run = cluster_run(client(loaded), "products", bodies, "ask")
    assert all(run[query] for query in bodies), "what evaluate sends"


def test_documents_are_deleted_and_copied_through_the_alias(
    loaded: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("1\n", encoding="utf-8")
    assert index_documents(client(loaded), "products", [], delete=[tmp_path / "ids.txt"]).deleted == 1
    result = deploy(other_bundle, client(loaded), "products", serving=SEISMIC)
    assert result.applied and read_deployment(client(loaded), "products").fingerprint == other_bundle.fingerprint
    stored = loaded.indices[f"products-{other_bundle.short}"].documents
    assert sorted(stored) == ["0", "2", "3"]
    assert all(name.isdecimal() for source in stored.values() for name in source["sparse_embedding"])


@pytest.mark.parametrize("field", ["rank_features", "sparse_vector"])
@pytest.mark.parametrize("hybrid", ["none", "rrf"])
def test_every_printed_call_works_as_pasted(
    field: str, hybrid: str, server: MLCommonsServer, small_bundle: Bundle
) -> None:
    serving = Serving(field=field, hybrid=hybrid)  # type: ignore[arg-type]
    printed = deploy(small_bundle, client(server), "products", serving=serving).snippets
    calls = 0
    for block in printed.strip().split("\n\n"):
        (head, *body) = [line for line in block.splitlines() if not line.startswith("#")]
        method, _, path = head.partition(" ")
        path, _, query = path.partition("?")
        params = dict([query.split("=")]) if query else {}
        given = json.loads("\n".join(body)) if body else None
        answer = client(server).request("POST" if given else method, f"/{path}", params=params, body=given)
        assert answer.status == 200
        calls += 1
    assert calls == 5 + (hybrid == "rrf")


def served(server: MLCommonsServer) -> tuple[str, Deployment]:
    (one,) = (index for index in server.indices.values() if "products" in index.aliases)
    return one.name, read_deployment(client(server), one.name)


def test_a_document_without_weights_is_stored_without_the_field(
    server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty vector as the first value of a sparse_vector field makes the index refuse every other one."""
    predict, encode = Runtime.predict, FeatureEncoder.encode
    monkeypatch.setattr(Runtime, "predict", lambda s, text, form="WORD": {} if text == "-" else predict(s, text, form))
    monkeypatch.setattr(
        FeatureEncoder,
        "encode",
        lambda s, texts: [
            one._replace(vector=b"{}") if t == "-" else one for t, one in zip(texts, encode(s, texts), strict=True)
        ],
    )
    whole = OnnxEncoder.encode
    monkeypatch.setattr(
        OnnxEncoder, "encode", lambda s, ts: [{} if t == "-" else w for t, w in zip(ts, whole(s, ts), strict=True)]
    )
    rows = [DocumentRow("empty", {"text": "-"}), *(DocumentRow(str(n), {"text": text}) for n, text in enumerate(TEXTS))]
    for running, serving in ((server, SEISMIC), (core, Serving())):
        deploy(small_bundle, client(running), "products", serving=serving)
        load = load_rows(client(running), "products", iter(rows), len(rows), batch=1)
        assert (load.indexed, load.failed) == (len(rows), 0)
        documents = running.indices[f"products-{small_bundle.short}"].documents
        assert "sparse_embedding" not in documents["empty"] and documents["0"]["sparse_embedding"]
        assert load_rows(client(running), "products", iter(rows), len(rows)).unchanged == len(rows)
        assert document_problems(ClusterApi(client(running)), *served(running)) == []
        del documents["0"]["sparse_embedding"]
        (problem,) = document_problems(ClusterApi(client(running)), *served(running))
        assert "have a text and no vector" in problem and "(0)" in problem
