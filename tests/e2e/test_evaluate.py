"""Measuring on the real node: equal to the model in memory, BM25 beside it, kept while it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import world

from osparse.bundle import Bundle
from osparse.cli import main
from osparse.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents, open_cluster
from osparse.errors import DeploymentConflictError
from osparse.evaluation import open_benchmark
from osparse.model import Model
from osparse.retrieval import Searcher, evaluate_cluster, evaluate_model
from osparse.retrieval.bm25 import prepare_bm25
from osparse.retrieval.model_run import encode_corpus, model_run

pytestmark = pytest.mark.e2e
INDEX = "measured"


@pytest.fixture(scope="module")
def cluster(node: Any, bundle: Bundle, dataset: Dataset) -> Iterator[Cluster]:
    cluster = open_cluster(node.url)
    deploy(bundle, cluster, INDEX, mode="client")
    index_documents(cluster, INDEX, [dataset.path])
    yield cluster
    cluster.request("DELETE", f"/{INDEX}-{bundle.short}")
    for lang in ("ko", "en"):
        cluster.request("DELETE", f"/{INDEX}-bm25-{lang}", allow=(404,))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_node_and_the_model_measure_the_same(split: str, cluster: Cluster, model: Model, dataset: Dataset) -> None:
    data = open_benchmark(dataset.path, split)
    served, local = evaluate_cluster(cluster, INDEX, data), evaluate_model(model, data)
    assert len(served.rows) == len(local.rows) >= 4
    for there, here in zip(served.rows, local.rows, strict=True):
        assert (there.direction, there.queries, there.documents) == (here.direction, here.queries, here.documents)
        assert [there.ndcg10, there.hit1, there.r100] == pytest.approx([here.ndcg10, here.hit1, here.r100])
    assert served.non_zeros == local.non_zeros
    searcher, index = Searcher(cluster, INDEX), encode_corpus(model, data, quantised=True)
    for judged in data.sets:
        for query, ranked in model_run(model, index, judged).items():
            hits = searcher.ask(judged.queries[query], top=10, lang=judged.document_lang).hits
            assert [hit.id for hit in hits] == ranked[:10]


def test_bm25_stands_beside_and_the_report_is_kept(
    cluster: Cluster, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.json"
    command = [
        "evaluate",
        "--dataset",
        str(dataset.path),
        "--cluster",
        cluster.url,
        "--index",
        INDEX,
        "--baseline",
        "bm25",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--output", str(output), "--json"])
    assert not stopped.value.code
    report = json.loads(capsys.readouterr().out)
    assert json.loads(output.read_text(encoding="utf-8")) == report
    assert report["baseline"]["analyzers"] == {"en": "english", "ko": "nori"}
    same = [row for row in report["rows"] if row["direction"] in ("en->en", "ko->ko")]
    assert all(row["baseline"]["hit1"] > 0 for row in same), "titles share words with their own texts"
    assert [row["baseline"]["ndcg10"] for row in report["rows"] if row["no_shared_word"]] == [0, 0]
    assert report["latency_ms"].keys() == {"sparse", "BM25"}
    with pytest.raises(SystemExit):
        main([*command, "--output", str(output)])
    shown = capsys.readouterr()
    assert "up to date" in shown.err and "no shared word" in shown.out and "nori for ko" in shown.out


def test_the_baseline_follows_the_dataset(cluster: Cluster, dataset: Dataset, tmp_path: Path) -> None:
    data = open_benchmark(dataset.path)
    bm25 = prepare_bm25(cluster, INDEX, data)
    cluster.request("DELETE", f"/{bm25.indices['ko']}/_doc/tide:ko", params={"refresh": "true"})
    assert prepare_bm25(cluster, INDEX, data) == bm25
    for name in bm25.indices.values():
        assert cluster.request("GET", f"/{name}/_count").body["count"] == len(world.RECORDS)
    cluster.request("DELETE", f"/{bm25.indices['ko']}")
    cluster.request("PUT", f"/{bm25.indices['ko']}")
    with pytest.raises(DeploymentConflictError, match="which osparse did not make"):
        prepare_bm25(cluster, INDEX, data)
