"""The gate of a deployment: it measures what evaluate measures, and only where it can tell anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from osparse.contracts.dataset import Dataset
from osparse.errors import CheckError, DatasetError
from osparse.evaluation.measures import open_benchmark
from osparse.retrieval import evaluate, gate, quality_gate

Make = Callable[[str], Any]


def test_it_measures_what_evaluate_does(make_cluster: Make, dataset: Dataset) -> None:
    cluster = make_cluster("client")
    rows = evaluate(dataset.path, cluster=cluster, index="world").rows
    values = [row.figures["nDCG@10"] for row in rows if not row.no_shared_word for _ in range(row.queries)]
    made = gate(cluster, dataset.path, margin=0.25)
    assert made.measure("world") == pytest.approx(sum(values) / len(values)) and 0 < made.measure("world") < 1
    assert (made.dataset, made.margin) == (f"{dataset.path.name} (test)", 0.25)


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_judged_documents_that_are_not_there(
    make_cluster: Make,
    dataset: Dataset,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    monkeypatch.setattr(quality_gate, "LOOKED_UP", batch)
    cluster = make_cluster("client")
    made = gate(cluster, dataset.path)
    judged = {d for s in open_benchmark(dataset.path).sets for grades in s.qrels.values() for d in grades}
    with caplog.at_level(logging.WARNING):
        made.measure("world")
    assert not caplog.records
    for document in sorted(judged)[1:]:
        cluster.index.documents.pop(document)
    with caplog.at_level(logging.WARNING):
        made.measure("world")
    assert f"{len(judged) - 1} of {len(judged)} relevant documents" in caplog.text
    cluster.index.documents.pop(min(judged))
    assert cluster.index.documents, "others are there"
    with pytest.raises(CheckError, match=f"none of the {len(judged)} relevant documents of .* is in world") as raised:
        made.measure("world")
    assert raised.value.exit_code == 3
    cluster.index.documents.clear()
    with pytest.raises(CheckError, match="none of the"):
        made.measure("world")


def test_a_dataset_without_that_split_is_refused_at_once(make_cluster: Make, dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="nosuch"):
        gate(make_cluster("client"), dataset.path, split="nosuch")
