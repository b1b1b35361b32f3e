from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Answer
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import InputError
from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import HIT, NDCG, RECALL, judged_sets, measure, open_benchmark
from osparse.formula.weights import quantise
from osparse.retrieval import Report, bm25_baseline, evaluate_cluster, evaluate_model, evaluator
from osparse.retrieval.bm25_baseline import Bm25, choose_analyzers
from osparse.retrieval.cluster_run import latencies
from osparse.retrieval.report import rows_of

KINDS = ["client", "plugin", "ml-commons"]
Make = Callable[[str], Any]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_and_its_model_measure_the_same(
    kind: str, make_cluster: Make, model: Model, dataset: Dataset
) -> None:
    data = open_benchmark(dataset.path)
    served = evaluate_cluster(make_cluster(kind), "world", data)
    local = evaluate_model(model, data)
    assert served.rows == local.rows
    assert served.non_zeros == local.non_zeros
    assert served.notes == [] and served.latency_ms["sparse"]["p95"] > 0
    assert [(r.direction, r.no_shared_word, r.queries, r.documents) for r in local.rows] == [
        ("en->en", False, 2, 8), ("ko->ko", False, 2, 8),
        ("en->ko", False, 2, 8), ("en->ko", True, 2, 8), ("ko->en", False, 2, 8), ("ko->en", True, 2, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(("split", "trained_on"), [("validation", True), ("validation", False), ("test", True)])
def test_figures_of_a_split_that_was_learnt_from_are_noticed(
    split: str, trained_on: bool, model: Model, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate_model(replace(model, metrics={"trained_on": trained_on}), open_benchmark(dataset.path, split))
    assert ("no measure" in caplog.text) == (split == "validation" and trained_on)


@pytest.mark.parametrize("quantised", [True, False])
def test_a_model_is_measured_by_brute_force_too(quantised: bool, model: Model, dataset: Dataset) -> None:
    data = open_benchmark(dataset.path, "train")
    report = evaluate_model(model, data, quantised=quantised)
    encoder = TextEncoder.open(model)
    texts = dict(dataset.documents.select("id", "text").collect().iter_rows())
    for judged in judged_sets(dataset, "train"):
        vectors = np.zeros((len(judged.document_ids), len(encoder.tokens)), np.float32)
        for rows, weights in encoder.batches([texts[i] for i in judged.document_ids]):
            vectors[rows] = weights[:, : len(encoder.tokens)]
        kept = quantise(vectors) if quantised else vectors
        run = {}
        for query, text in judged.queries.items():
            ids = [i for i in set(encoder._tokenizer.encode(text).ids) if i not in model.lexicon.special_ids]
            scores = kept[:, ids].astype(np.float64) @ model.lexicon.idf[ids]
            ranked = sorted(zip(-scores, judged.document_ids, strict=True))
            run[query] = [document for minus, document in ranked if minus < 0]
        wanted = measure(judged.qrels, run)
        (row,) = [r for r in report.rows if r.direction == judged.direction and not r.no_shared_word]
        assert [row.ndcg10, row.hit1, row.r100] == pytest.approx([wanted.mean(m) for m in (NDCG, HIT, RECALL)])
        assert row.margin == pytest.approx(wanted.margin(NDCG))


def test_a_report_that_holds_is_not_measured_again(make_cluster: Make, dataset: Dataset, tmp_path: Path) -> None:
    cluster, data, output = make_cluster("client"), open_benchmark(dataset.path), tmp_path / "report.json"
    first = evaluate_cluster(cluster, "world", data, output=output)
    before = len(cluster.requests)
    assert evaluate_cluster(cluster, "world", data, output=output) == first == Report.open(output)
    assert not any("search" in path for path, _ in cluster.requests[before:])
    cluster.index.documents.popitem()
    with pytest.raises(InputError, match="a report of another documents; pass --overwrite"):
        evaluate_cluster(cluster, "world", data, output=output)
    again = evaluate_cluster(cluster, "world", data, output=output, overwrite=True)
    assert again.notes == ["the index holds 15 documents, the dataset 16: the figures are not those of the dataset"]
    assert again.notes[0] in str(again)


def test_a_report_of_other_content_does_not_hold(make_cluster: Make, dataset: Dataset, tmp_path: Path) -> None:
    cluster, data, output = make_cluster("client"), open_benchmark(dataset.path), tmp_path / "report.json"
    evaluate_cluster(cluster, "world", data, output=output)
    document, source = next(iter(cluster.index.documents.items()))
    cluster.index.put(document, {**source, "sparse_embedding": {}})
    with pytest.raises(InputError, match="a report of another content; pass --overwrite"):
        evaluate_cluster(cluster, "world", data, output=output)
    evaluate_cluster(cluster, "world", data, output=output, overwrite=True)
    cluster.uuid = "u2"
    with pytest.raises(InputError, match="a report of another content; pass --overwrite"):
        evaluate_cluster(cluster, "world", data, output=output)


def test_the_analyzers_follow_the_cluster(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    assert choose_analyzers(cluster, data) == {"en": "english", "ko": "nori"}
    cluster.analyzers.clear()
    assert choose_analyzers(cluster, data) == {"en": "standard", "ko": "standard"}


def test_documents_without_a_language_are_noticed(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    for source in cluster.index.documents.values():
        if source["lang"] == "ko":
            del source["lang"]
    (note,) = evaluate_cluster(cluster, "world", data).notes
    assert "no document of the index has lang ko" in note


def test_a_baseline_without_stemming_is_noticed(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    (note,) = evaluator._notes(cluster, "world", 16, data, Bm25({"und": "i"}, {"und": "standard"}))
    assert "BM25 took the standard analyzer, which does not stem" in note


def test_a_baseline_that_vanishes_is_made_again(dataset: Dataset) -> None:
    calls: list[tuple[str, tuple[int, ...]]] = []

    class Vanishing:
        url = "memory:"

        def request(self, method: str, path: str, *, allow: tuple[int, ...] = (), **_: Any) -> Answer:
            calls.append((method, allow))
            meta = {"mappings": {"_meta": {"osparse_baseline": {"dataset": "old"}}}}
            return Answer(404, {}, {}) if method == "DELETE" else Answer(200, {"n": meta, "count": 1}, {})

    assert not bm25_baseline._is_whole(ClusterApi(Vanishing()), "n", {"dataset": "new"}, 1)  # type: ignore[arg-type]
    assert calls[-1] == ("DELETE", (404,))


def test_what_cannot_be_measured_is_said(make_cluster: Make, dataset: Dataset, tmp_path: Path, model: Model) -> None:
    data = open_benchmark(dataset.path)
    cluster = make_cluster("client")
    cluster.index.documents.clear()
    with pytest.raises(InputError, match="index world holds no documents; load them first: osparse index"):
        evaluate_cluster(cluster, "world", data)
    (tmp_path / "other.json").write_text('{"schema": 1, "rows": []}')
    with pytest.raises(InputError, match="is not a report of osparse evaluate"):
        evaluate_model(model, data, output=tmp_path / "other.json")


def test_a_baseline_stands_beside_each_row(dataset: Dataset) -> None:
    judged = judged_sets(dataset, "test")[-1]
    good = measure(judged.qrels, {query: list(found) for query, found in judged.qrels.items()})
    none = measure(judged.qrels, {})
    for row in rows_of(judged, good, none):
        assert row.ndcg10 == row.hit1 == row.r100 == 1.0 and row.margin == 0
        assert row.baseline is not None and row.baseline.ndcg10 == 0 and row.baseline.difference == 1
        assert row.baseline.p == paired_randomisation_test([1, 1], [0, 0])
    report = Report({}, {"name": "d", "split": "test", "documents": {"ko": 1}}, {"name": "s", "weights": "w"},
                    rows_of(judged, good, none), {"mean": 1.5, "max": 2, "documents": 3},
                    {"sparse": {"p50": 1.0, "p95": 2.0}}, {"name": "bm25", "analyzers": {"ko": "nori"}})  # fmt: skip
    for part in ("ko->en", "no shared word", "1.000 ±0.000", "+1.000", "mean 1.5, max 2", "p95 2.0 ms", "nori for ko"):
        assert part in str(report)


def test_latencies_are_those_after_the_warm_up() -> None:
    asked: dict[str, list[str]] = {"a": [], "b": []}
    found = latencies({name: calls.append for name, calls in asked.items()}, [str(i) for i in range(1000)])
    assert asked["a"] == asked["b"] and 200 <= len(asked["a"]) <= 250
    assert set(found) == {"a", "b"} and 0 <= found["a"]["p50"] <= found["a"]["p95"]
    assert latencies({"a": asked["a"].append}, []) == {}
