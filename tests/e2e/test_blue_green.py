"""An upgrade on the real node: no query fails while the name moves, there and back; then the old index is removed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lookup_bundle import make_lookup_bundle

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, Gate, Upgrade, deploy, index_documents, open_cluster, rollback, status, undeploy
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import CheckError
from osparse.evaluation.measures import open_benchmark
from osparse.opensearch_templates import render
from osparse.retrieval import evaluate
from osparse.retrieval.searcher import Searcher

pytestmark = [pytest.mark.e2e, pytest.mark.network]
NAME = "switched"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("second"), seed=1)


@pytest.fixture
def cluster(node: Any) -> Iterator[Cluster]:
    cluster = open_cluster(node.url)
    yield cluster
    api = ClusterApi(cluster)
    for name in [name for name in api.all_meta() if name.startswith(f"{NAME}-")]:
        api.delete_index(name)


class Asker:
    """Asks the name again and again with one connection that never tries twice; the answers' indices in order."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        self.cluster, self.body = Cluster(url, retries=0), body
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                found = self.cluster.request("POST", f"/{NAME}/_search", body=self.body).body
                assert found["_shards"]["failed"] == 0 and found["hits"]["hits"]
                self.answered.append(found["hits"]["hits"][0]["_index"])
            except Exception as problem:  # noqa: BLE001 - whatever it was, it is a failed query
                self.failed.append(repr(problem))


@contextmanager
def asking(url: str, body: dict[str, Any], threads: int = 2) -> Iterator[list[Asker]]:
    askers = [Asker(url, body) for _ in range(threads)]
    for asker in askers:
        asker.thread.start()
    try:
        yield askers
    finally:
        for asker in askers:
            asker.stop.set()
        for asker in askers:
            asker.thread.join()


def test_no_query_fails_while_the_name_moves(
    cluster: Cluster, bundle: Bundle, other_bundle: Bundle, dataset: Dataset
) -> None:
    old = deploy(bundle, cluster, NAME).plan.index
    index_documents(cluster, NAME, [dataset.path])
    everything = {"size": 1, "query": {"match_all": {}}}
    with asking(cluster.url, everything) as askers:
        time.sleep(0.3)
        new = deploy(other_bundle, cluster, NAME).plan.index
        for _ in range(10):
            assert rollback(cluster, NAME).serves == old
            assert rollback(cluster, NAME).serves == new
        time.sleep(0.3)
    assert [failure for asker in askers for failure in asker.failed] == []
    for asker in askers:
        assert len(asker.answered) > 50 and {*asker.answered} == {old, new}
        assert (asker.answered[0], asker.answered[-1]) == (old, new)
    assert ClusterApi(cluster).indices_of_alias(f"{NAME}-previous") == [old]
    assert not deploy(other_bundle, cluster, NAME).plan.changes
    assert status(cluster, NAME)[0].ready
    assert Searcher(cluster, NAME).search("growing pears in spring").hits


def test_the_gate_measures_both_indices(
    cluster: Cluster, bundle: Bundle, other_bundle: Bundle, dataset: Dataset, tmp_path: Path
) -> None:
    old = deploy(bundle, cluster, NAME).plan.index
    index_documents(cluster, NAME, [dataset.path])
    data = open_benchmark(dataset.path, "test")
    asked: list[str] = []

    def measure(index: str) -> float:
        asked.append(index)
        rows = evaluate(data, cluster=cluster, index=index).rows
        return sum(row.figures["nDCG@10"] for row in rows) / len(rows) - (0.5 if index != old else 0)

    with pytest.raises(CheckError, match="lower by more than the margin"):
        deploy(other_bundle, cluster, NAME, upgrade=Upgrade(gate=Gate(measure, "world")))
    assert ClusterApi(cluster).indices_of_alias(NAME) == [old] and len(asked) == 2
    assert (
        deploy(other_bundle, cluster, NAME, upgrade=Upgrade(gate=Gate(measure, "world", margin=1.0)))
        .gate[-1]
        .startswith("nDCG@10")
    )


def test_the_command_brings_the_measure(
    cluster: Cluster, bundle: Bundle, other_bundle: Bundle, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """nDCG@10 of both indices by osparse's own evaluation; a bundle against itself passes, whatever it is worth."""
    target = ["--cluster", cluster.url, "--index", NAME]
    deploy(bundle, cluster, NAME)
    index_documents(cluster, NAME, [dataset.path])
    command = ["deploy", str(other_bundle.path), *target, "--gate", str(dataset.path), "--gate-margin", "1"]
    with pytest.raises(SystemExit) as done:
        main([*command, "--json"])
    gate = json.loads(capsys.readouterr().out.splitlines()[-1])["gate"]
    assert not done.value.code and len(gate) == 3 and "nDCG@10 on dataset (test): 0." in gate[-1]


def test_undeploy_leaves_nothing_of_the_old_bundle(cluster: Cluster, bundle: Bundle, other_bundle: Bundle) -> None:
    deploy(bundle, cluster, NAME)
    new = deploy(other_bundle, cluster, NAME).plan.index
    api = ClusterApi(cluster)
    assert len(undeploy(cluster, NAME, keep=0).removed) in (1, 2), "another test's index may use the parts"
    assert [name for name in api.all_meta() if name.startswith(f"{NAME}-")] == [new]
    assert status(cluster, NAME)[0].ready


def test_a_blank_text_goes_by_the_pipeline_s_condition(cluster: Cluster) -> None:
    """The script of osparse's ingest pipelines, on a processor that the node has."""
    body = render("ingest_sparse_encoding", bundle="b", encoder_id="m", text_field="text", field="f")
    (encoding,) = (processor["sparse_encoding"] for processor in body["processors"] if "sparse_encoding" in processor)
    condition = encoding["if"]
    pipeline = {"processors": [{"set": {"field": "encoded", "value": True, "if": condition}}]}
    cluster.request("PUT", "/_ingest/pipeline/osparse-test-if", body=pipeline)
    api = ClusterApi(cluster)
    try:
        texts: list[Any] = ["a", "", " \t\n", ["a"], 1]
        simulated = api.simulate("osparse-test-if", [{"text": text} for text in texts] + [{}])
        assert ["encoded" in document["_source"] for document in simulated] == [True, False, False, True, True, True]
        assert "osparse-test-if" in api.ingest_pipelines()
        index = {"settings": {"index.default_pipeline": "osparse-test-if"}}
        cluster.request("PUT", f"/{NAME}-piped", body=index)
        api.delete_ingest_pipeline("osparse-test-if")
        assert "osparse-test-if" not in api.ingest_pipelines(), "also while an index names it"
    finally:
        cluster.request("DELETE", f"/{NAME}-piped", allow=(404,))
        api.delete_ingest_pipeline("osparse-test-if")


@pytest.mark.parametrize("template", ["index_rank_features", "index_chunks"])
def test_an_index_template_is_taken_and_asked(cluster: Cluster, template: str) -> None:
    """Nested pieces: the best one's score is the document's."""
    nested = template == "index_chunks"
    pieces = {"path": "chunks", "leaf": "sparse_encoding", "max_tokens": 1_000_000}
    field = pieces if nested else {"field": "sparse_embedding"}
    analyzers = {"korean_analyzer": "nori", "english_analyzer": "standard"}
    body = render(template, alias="unused", meta={}, **analyzers, **field)
    del body["aliases"]
    cluster.request("PUT", f"/{NAME}-laid", body=body)
    try:
        weights = {"a": 1.0, "b": 2.0}
        source = {"chunks": [{"sparse_encoding": {t: w}} for t, w in weights.items()]} if nested else {
            "sparse_embedding": weights
        }  # fmt: skip
        cluster.request(
            "PUT", f"/{NAME}-laid/_doc/1?refresh=true", body={**source, "text": "배나무", "chunk_texts": ["x"]}
        )
        path = "chunks.sparse_encoding" if nested else "sparse_embedding"
        clauses = [render("clause_rank_feature", field=path, feature=t, weight=2.0) for t in weights]
        query = render("query_rank_features", size=1, field=path, clauses=clauses)["query"]
        query = render("query_nested", path="chunks", query=query) if nested else query
        (hit,) = ClusterApi(cluster).search(f"{NAME}-laid", {"query": query})["hits"]["hits"]
        assert hit["_score"] == (4.0 if nested else 6.0)
    finally:
        cluster.request("DELETE", f"/{NAME}-laid", allow=(404,))
