"""Measuring on the real node: equal to the model in memory, BM25 beside it, kept while it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world
from node_index import loaded_index

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer import Cluster
from osparse.errors import DeploymentConflictError
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import HIT, NDCG, RECALL, Benchmark, measure, open_benchmark
from osparse.retrieval import Searcher, evaluate
from osparse.retrieval.systems.cluster_bm25 import prepare_bm25
from osparse.retrieval.systems.memory import encode_corpus

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "measured"


@pytest.fixture(autouse=True)
def quiet_after() -> Iterator[None]:
    """A command's log handler writes to the captured stream of its own test."""
    yield
    logging.getLogger("osparse").handlers.clear()


@pytest.fixture(scope="module")
def cluster(node: Any, bundle: Bundle, dataset: Dataset) -> Iterator[Cluster]:
    with loaded_index(node.url, bundle, INDEX, dataset.path) as cluster:
        yield cluster


def stored_index(cluster: Cluster, model: Model, data: Benchmark) -> InvertedIndex:
    """The documents as the node holds them."""
    searcher, index = Searcher(cluster, INDEX), InvertedIndex()
    for batch in data.texts():
        for document, _, _ in batch:
            source = cluster.request("GET", f"/{INDEX}/_doc/{document}").body["_source"]
            row = np.zeros((1, len(model.lexicon.tokens)), np.float32)
            for token, weight in searcher.document_weights(source, {}).items():
                row[0, model.lexicon.id_of[token]] = weight
            index.add([document], row)
    return index


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_node_ranks_exactly(split: str, cluster: Cluster, model: Model, dataset: Dataset) -> None:
    """Its top ten and its figures are those of an exact ranking of what it holds, scores being float32 there."""
    data = open_benchmark(dataset.path, split)
    index, searcher = stored_index(cluster, model, data), Searcher(cluster, INDEX)
    report = evaluate(data, cluster=cluster, index=INDEX)
    for judged in data.sets:
        run = {}
        for query, text in judged.queries.items():
            ids = searcher.encoder.ids(text)
            exact = dict(index.search(ids, model.lexicon.idf[ids], 100, only=index.subset(judged.document_ids)))
            hits = searcher.search(text, top=10, lang=judged.document_lang).hits
            assert [exact[hit.id] for hit in hits] == pytest.approx(list(exact.values())[:10], rel=1e-6)
            assert [hit.score for hit in hits] == pytest.approx(list(exact.values())[:10], rel=1e-6)
            run[query] = sorted(exact, key=lambda document, exact=exact: (-np.float32(exact[document]), document))  # type: ignore[misc]
        wanted = measure(judged.qrels, run)
        (row,) = [row for row in report.rows if row.direction == judged.direction and not row.no_shared_word]
        assert list(row.figures.values()) == pytest.approx([wanted.mean(m) for m in (NDCG, HIT, RECALL)])


def test_the_model_alone_measures_the_same(cluster: Cluster, model: Model, dataset: Dataset) -> None:
    """Up to the rounding of a weight: float noise of 1e-6 may be a step of 2^-8 once stored."""
    data = open_benchmark(dataset.path)
    index, searcher = encode_corpus(model, data, quantised=True), Searcher(cluster, INDEX)
    encoder = searcher.encoder
    for judged in data.sets:
        for text in judged.queries.values():
            ids = encoder.ids(text)
            ranked = index.search(ids, model.lexicon.idf[ids], 10, only=index.subset(judged.document_ids))
            hits = searcher.search(text, top=10, lang=judged.document_lang).hits
            assert len(hits) == len(ranked)
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in ranked], rel=2**-8)
    served, local = evaluate(data, cluster=cluster, index=INDEX), evaluate(data, models=[model])
    assert served.systems[0]["non_zeros"] == pytest.approx(local.systems[0]["non_zeros"], abs=0.5)
    for there, here in zip(served.rows, local.rows, strict=True):
        assert (there.direction, there.queries, there.documents) == (here.direction, here.queries, here.documents)
        assert there.figures[RECALL] == here.figures[RECALL]
        assert there.figures[NDCG] == pytest.approx(here.figures[NDCG], abs=0.1)


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
    assert [system["name"] for system in report["systems"]] == ["bm25", f"index {INDEX}"]
    assert report["systems"][0]["analyzers"] == {"en": "english", "ko": "nori"}
    bm25 = [row for row in report["rows"] if row["system"] == "bm25"]
    same = [row for row in bm25 if row["direction"] in ("en->en", "ko->ko")]
    assert all(row["figures"]["hit@1"] > 0 for row in same), "titles share words with their own texts"
    assert [row["figures"]["nDCG@10"] for row in bm25 if row["no_shared_word"]] == [0, 0]
    assert all(system["latency_ms"]["p95"] > 0 for system in report["systems"])
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
