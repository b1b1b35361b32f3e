from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Answer
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import InputError
from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import HIT, MEASURES, NDCG, RECALL, judged_sets, measure, open_benchmark
from osparse.formula.lucene_rounding import quantise
from osparse.retrieval import Report, evaluate
from osparse.retrieval.figures import measure_system, rows_of
from osparse.retrieval.systems import cluster_bm25
from osparse.retrieval.systems.cluster_bm25 import ClusterBm25, analyzers_of, choose_analyzers
from osparse.retrieval.systems.cluster_run import latencies

KINDS = ["client", "plugin", "ml-commons"]
Make = Callable[[str], Any]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_and_its_model_measure_the_same(
    kind: str, make_cluster: Make, model: Model, dataset: Dataset
) -> None:
    data = open_benchmark(dataset.path)
    served = evaluate(data, cluster=make_cluster(kind), index="world")
    local = evaluate(data, models=[model])
    assert [replace(row, system="") for row in served.rows] == [replace(row, system="") for row in local.rows]
    (index,), (alone,) = served.systems, local.systems
    assert index["non_zeros"] == alone["non_zeros"] and alone["kind"] == "model"
    assert served.notes == [] and index["latency_ms"]["p95"] > 0
    assert [(r.direction, r.no_shared_word, r.queries, r.documents) for r in local.rows] == [
        ("en->en", False, 2, 8), ("ko->ko", False, 2, 8),
        ("en->ko", False, 2, 8), ("en->ko", True, 2, 8), ("ko->en", False, 2, 8), ("ko->en", True, 2, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(("split", "trained_on"), [("validation", True), ("validation", False), ("test", True)])
def test_figures_of_a_split_that_was_learnt_from_are_noticed(
    split: str, trained_on: bool, model: Model, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(open_benchmark(dataset.path, split), models=[replace(model, metrics={"trained_on": trained_on})])
    assert ("trained on the validation split too" in caplog.text) == (split == "validation" and trained_on)


@pytest.mark.parametrize("quantised", [True, False])
def test_a_model_is_measured_by_brute_force_too(quantised: bool, model: Model, dataset: Dataset) -> None:
    data = open_benchmark(dataset.path, "train")
    report = evaluate(data, models=[model], quantised=quantised)
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
        assert list(row.figures.values()) == pytest.approx([wanted.mean(m) for m in (NDCG, HIT, RECALL)])
        assert row.margin == pytest.approx(wanted.margin(NDCG))


def test_a_report_that_holds_is_not_measured_again(make_cluster: Make, dataset: Dataset, tmp_path: Path) -> None:
    cluster, data, output = make_cluster("client"), open_benchmark(dataset.path), tmp_path / "report.json"
    first = evaluate(data, cluster=cluster, index="world", output=output)
    before = len(cluster.requests)
    assert evaluate(data, cluster=cluster, index="world", output=output) == first == Report.open(output)
    assert not any("search" in path for path, _ in cluster.requests[before:])
    cluster.index.documents.popitem()
    with pytest.raises(InputError, match="a report of another documents; pass `overwrite=True`"):
        evaluate(data, cluster=cluster, index="world", output=output)
    again = evaluate(data, cluster=cluster, index="world", output=output, overwrite=True)
    assert again.notes == ["the index holds 15 documents, the dataset 16: the figures are not those of the dataset"]
    assert again.notes[0] in str(again)


def test_a_report_of_other_content_does_not_hold(make_cluster: Make, dataset: Dataset, tmp_path: Path) -> None:
    cluster, data, output = make_cluster("client"), open_benchmark(dataset.path), tmp_path / "report.json"
    evaluate(data, cluster=cluster, index="world", output=output)
    document, source = next(iter(cluster.index.documents.items()))
    cluster.index.put(document, {**source, "sparse_embedding": {}})
    with pytest.raises(InputError, match="a report of another content; pass `overwrite=True`"):
        evaluate(data, cluster=cluster, index="world", output=output)
    evaluate(data, cluster=cluster, index="world", output=output, overwrite=True)
    cluster.uuid = "u2"
    with pytest.raises(InputError, match="a report of another content; pass `overwrite=True`"):
        evaluate(data, cluster=cluster, index="world", output=output)


def test_the_analyzers_follow_the_cluster(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    assert choose_analyzers(cluster, data) == {"en": "english", "ko": "nori"}
    cluster.analyzers.clear()
    assert choose_analyzers(cluster, data) == {"en": "standard", "ko": "standard"}
    assert analyzers_of("de-AT") == ("german", "standard") and analyzers_of("EN-GB")[0] == "english"
    assert analyzers_of("tlh") == ("standard",)


@pytest.mark.parametrize(("wrong", "told"), [(0, True), (2, False)])
def test_queries_that_every_system_answers_are_noticed(wrong: int, told: bool, tmp_path: Path) -> None:
    """``wrong`` of 20 queries ask for the words of another document than their answer."""
    rows = [{"_id": str(i), "text": f"article{i} of the catalogue"} for i in range(20)]
    asked = [{"_id": f"q{i}", "text": f"article{(i + 1) % 20 if i < wrong else i}"} for i in range(20)]
    for name, lines in (("corpus", rows), ("queries", asked)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    qrels = "\n".join(["query-id\tcorpus-id\tscore", *(f"q{i}\t{i}\t1" for i in range(20))])
    (tmp_path / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    notes = evaluate(open_benchmark(tmp_path), baseline="bm25").notes
    assert any("en->en: no nDCG@10 is below 0.99, so these queries cannot" in note for note in notes) == told


def test_documents_without_a_language_are_noticed(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    for source in cluster.index.documents.values():
        if source["lang"] == "ko":
            del source["lang"]
    (note,) = evaluate(data, cluster=cluster, index="world").notes
    assert "no document of the index has lang ko" in note


def test_a_baseline_without_stemming_is_noticed(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path)
    plain = replace(data, documents=data.documents.with_columns(lang=pl.lit("und")))
    (note,) = ClusterBm25(cluster, "world", plain).notes()
    assert "BM25 took the standard analyzer, which does not stem" in note


def test_a_baseline_that_vanishes_is_made_again(dataset: Dataset) -> None:
    calls: list[tuple[str, tuple[int, ...]]] = []

    class Vanishing:
        url = "memory:"

        def request(self, method: str, path: str, *, allow: tuple[int, ...] = (), **_: Any) -> Answer:
            calls.append((method, allow))
            meta = {"mappings": {"_meta": {"osparse_baseline": {"dataset": "old"}}}}
            return Answer(404, {}, {}) if method == "DELETE" else Answer(200, {"n": meta, "count": 1}, {})

    assert not cluster_bm25._is_whole(ClusterApi(Vanishing()), "n", {"dataset": "new"}, 1)  # type: ignore[arg-type]
    assert calls[-1] == ("DELETE", (404,))


def test_what_cannot_be_measured_is_said(make_cluster: Make, dataset: Dataset, tmp_path: Path, model: Model) -> None:
    data = open_benchmark(dataset.path)
    cluster = make_cluster("client")
    cluster.index.documents.clear()
    with pytest.raises(InputError, match="index world holds no documents; load them first: osparse index"):
        evaluate(data, cluster=cluster, index="world")
    (tmp_path / "other.json").write_text('{"schema": 1, "rows": []}')
    with pytest.raises(InputError, match="is not a report of this version of osparse evaluate"):
        evaluate(data, models=[model], output=tmp_path / "other.json")


def test_the_first_system_is_the_reference_of_each_row(dataset: Dataset) -> None:
    judged, names = judged_sets(dataset, "test")[-1], list(MEASURES)
    good = {query: dict.fromkeys(grades, 1.0) for query, grades in judged.qrels.items()}
    systems = {"nothing": measure_system(judged, {}, names), "good": measure_system(judged, good, names)}
    rows = rows_of(judged, systems, names)
    assert [(row.system, row.no_shared_word) for row in rows] == [
        ("nothing", False), ("good", False), ("nothing", True), ("good", True)
    ]  # fmt: skip
    for row in rows[1::2]:
        assert list(row.figures.values()) == [1.0] * 3 and row.margin == 0 and row.judged10 == 1
        assert row.difference is not None and row.difference.gain == 1 and row.difference.reference == "nothing"
        assert row.difference.p == row.difference.p_adjusted == paired_randomisation_test([1, 1], [0, 0])
    assert all(row.difference is None and not any(row.figures.values()) for row in rows[::2])
    described = [
        {"name": "nothing", "kind": "bm25", "analyzers": {"ko": "nori"}},
        {"name": "good", "kind": "index", "weights": "w", "latency_ms": {"p50": 1.0, "p95": 2.0},
         "non_zeros": {"mean": 1.5, "max": 2, "documents": 3}},
    ]  # fmt: skip
    report = Report({}, {"name": "d", "split": "test", "documents": {"ko": 1}}, names, described, rows)
    for part in ("ko->en", "no shared word", "1.000 ±0.000", "+1.000", "mean 1.5, max 2", "p95 2.0 ms", "nori for ko"):
        assert part in str(report)


def test_latencies_are_those_after_the_warm_up() -> None:
    sent: dict[str, list[str]] = {"a": [], "b": []}
    times = latencies({name: texts.append for name, texts in sent.items()}, [str(i) for i in range(1000)])
    assert sent["a"] == sent["b"] and 200 <= len(sent["a"]) <= 250
    assert set(times) == {"a", "b"} and 0 <= times["a"]["p50"] <= times["a"]["p95"]
    assert latencies({"a": sent["a"].append}, []) == {}
