"""Measure a deployed index or a model: judged sets -> run -> measures -> report, one road for both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from osparse.contracts.model import Model
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.read_deployment import read_deployment
from osparse.errors import InputError
from osparse.evaluation.measures import ASKED, Benchmark, JudgedSet, measure
from osparse.opensearch_templates import render
from osparse.retrieval.bm25_baseline import Bm25, bm25_run, choose_analyzers, prepare_bm25
from osparse.retrieval.cluster_run import cluster_run, latencies, non_zeros
from osparse.retrieval.model_run import encode_corpus, model_run
from osparse.retrieval.report import Report, Row, rows_of
from osparse.retrieval.searcher import Searcher

log = logging.getLogger("osparse.retrieval.evaluator")

BaselineName = Literal["bm25"]
Run = dict[str, list[str]]
"""Query id -> document ids, best first."""
QUANTISED = "as the index stores them (9 significant bits)"
FULL = "full precision (float32)"


def evaluate_cluster(
    cluster: Cluster,
    index: str,
    data: Benchmark,
    *,
    baseline: BaselineName | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Measure what a deployed index answers; imports no torch.

    Args:
        baseline: "bm25" measures the cluster's own BM25 beside it, in indices ``<index>-bm25-<lang>``.
        output: Where the report is kept; one of the same dataset, deployment, content of the index and baseline is
            returned as it is.
        overwrite: Replace a report of anything else.

    Raises:
        InputError: the index is empty, or ``output`` holds another report.
        ClusterError: see its text.
    """
    deployment = read_deployment(cluster, index)
    api = ClusterApi(cluster)
    documents = api.count(index)
    if documents == 0:
        raise InputError(f"index {index} holds no documents; load them first: osparse index --index {index} DOCUMENTS")
    key = {
        **_data_key(data),
        "deployment": deployment.fingerprint,
        "mode": deployment.mode,
        "search pipeline": deployment.search_pipeline,
        "index": index,
        "documents": documents,
        "content": api.writes(index),
        "baseline": baseline,
        "analyzers": choose_analyzers(cluster, data) if baseline == "bm25" else None,
    }
    if (kept := _kept(output, key, overwrite)) is not None:
        return kept
    searcher = Searcher(cluster, index)
    bm25 = prepare_bm25(cluster, index, data) if baseline == "bm25" else None

    def sparse(judged: JudgedSet) -> Run:
        return _sparse_run(searcher, judged, _filter(data, judged))

    def beside(judged: JudgedSet) -> Run | None:
        return bm25_run(cluster, bm25, judged) if bm25 is not None else None

    rows = _rows(data, sparse, beside)
    report = Report(
        key=key,
        dataset=_dataset(data),
        system={
            "kind": "cluster",
            "name": f"index {index}",
            "bundle": deployment.bundle,
            "fingerprint": deployment.fingerprint,
            "mode": deployment.mode,
            "weights": QUANTISED,
        },
        rows=rows,
        non_zeros=non_zeros(cluster, index, deployment.field),
        latency_ms=_latencies(searcher, bm25, data),
        baseline={"name": "bm25", "analyzers": bm25.analyzers} if bm25 is not None else {},
        notes=_notes(cluster, index, documents, data, bm25),
    )
    return _keep(report, output)


def evaluate_model(
    model: Model,
    data: Benchmark,
    *,
    quantised: bool = True,
    device: str = "cpu",
    output: Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Measure a model without a cluster: encode the corpus, rank exactly in memory.

    Args:
        quantised: Round the document weights as the index does, so that the figures are the served ones.

    Raises:
        InputError: ``output`` holds another report.
        MissingExtraError: torch is not installed.
    """
    if data.split == "validation" and model.metrics.get("trained_on"):
        log.warning("%s learnt from the validation split it was given: these figures may be no measure", model.path)
    key = {**_data_key(data), "model": model.fingerprint, "quantised": quantised}
    if (kept := _kept(output, key, overwrite)) is not None:
        return kept
    index = encode_corpus(model, data, quantised=quantised, device=device)
    rows = _rows(data, lambda judged: model_run(model, index, judged), lambda _: None)
    sizes = index.non_zeros()
    report = Report(
        key=key,
        dataset=_dataset(data),
        system={
            "kind": "model",
            "name": f"model {model.path.resolve().name}",
            "fingerprint": model.fingerprint,
            "weights": QUANTISED if quantised else FULL,
        },
        rows=rows,
        non_zeros={"mean": float(sizes.mean()), "max": float(sizes.max()), "documents": len(sizes)},
    )
    return _keep(report, output)


def _rows(data: Benchmark, run: Callable[[JudgedSet], Run], beside: Callable[[JudgedSet], Run | None]) -> list[Row]:
    rows: list[Row] = []
    for judged in data.sets:
        other = beside(judged)
        baseline = measure(judged.qrels, other) if other is not None else None
        rows += rows_of(judged, measure(judged.qrels, run(judged)), baseline)
    return rows


def _sparse_run(searcher: Searcher, judged: JudgedSet, lang: str | None) -> Run:
    bodies = {query: searcher.body(text, size=ASKED, lang=lang) for query, text in judged.queries.items()}
    return cluster_run(searcher.cluster, searcher.index, bodies, f"ask {judged.direction}")


def _latencies(searcher: Searcher, bm25: Bm25 | None, data: Benchmark) -> dict[str, dict[str, float]]:
    """Ten hits without their text, the first language's own queries on its own documents."""
    judged = data.sets[0]
    lang = _filter(data, judged)
    systems: dict[str, Callable[[str], object]] = {
        "sparse": lambda text: _ask(searcher.cluster, searcher.index, searcher.body(text, size=10, lang=lang))
    }
    if bm25 is not None:
        name = bm25.indices[judged.document_lang]
        systems["BM25"] = lambda text: _ask(searcher.cluster, name, render("query_match", text=text, size=10))
    return latencies(systems, list(judged.queries.values()))


def _ask(cluster: Cluster, index: str, body: dict[str, Any] | None) -> None:
    if body is not None:
        ClusterApi(cluster).search(index, {**body, "_source": False})


def _filter(data: Benchmark, judged: JudgedSet) -> str | None:
    """A corpus of one language needs no filter, and its documents may carry no language."""
    return judged.document_lang if len(data.languages) > 1 else None


def _notes(cluster: Cluster, index: str, documents: int, data: Benchmark, bm25: Bm25 | None) -> list[str]:
    notes, wanted = [], sum(data.languages.values())
    if documents != wanted:
        notes.append(
            f"the index holds {documents:,} documents, the dataset {wanted:,}: the figures are not those of the dataset"
        )
    for lang in sorted({lang for judged in data.sets if (lang := _filter(data, judged)) is not None}):
        if not ClusterApi(cluster).count(index, render("filter_lang", lang=lang)):
            notes.append(
                f"no document of the index has lang {lang}, so nothing is found in that language: load the documents "
                "with their lang, as the dataset has it"
            )
    from osparse.evaluation.beir import NO_LANGUAGE  # late: it brings polars, which asking does not need

    if bm25 is not None and NO_LANGUAGE in bm25.analyzers:
        notes.append(
            "BM25 took the standard analyzer, which does not stem, for documents without a language: give the corpus "
            "a lang to compare with the analyzer made for it"
        )
    return notes


def _data_key(data: Benchmark) -> dict[str, Any]:
    return {"dataset": data.fingerprint, "split": data.split}


def _dataset(data: Benchmark) -> dict[str, Any]:
    return {"name": data.name, "fingerprint": data.fingerprint, "split": data.split, "documents": data.languages}


def _kept(output: Path | None, key: Mapping[str, Any], overwrite: bool) -> Report | None:
    """The report at ``output`` if it is of the same key; an error if it is of another and may not be replaced."""
    if output is None or not output.exists():
        return None
    if overwrite:
        return None
    report = Report.open(output)
    if report.key == key:
        log.info("%s is up to date", output)
        return report
    differs = ", ".join(sorted(name for name in {*key, *report.key} if key.get(name) != report.key.get(name)))
    raise InputError(f"{output} is a report of another {differs}; pass --overwrite, or another --output")


def _keep(report: Report, output: Path | None) -> Report:
    for note in report.notes:
        log.warning("%s", note)
    if output is not None:
        report.save(output)
    return report
