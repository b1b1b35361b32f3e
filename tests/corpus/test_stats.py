"""Statistics against counts made by hand, and the alarm when splits overlap."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import polars as pl
import pytest
import world

from osparse.contracts.dataset import QRELS, Dataset, save_dataset
from osparse.corpus import dataset_stats


def test_counts_and_lengths(dataset: Dataset) -> None:
    stats = dataset_stats(dataset)
    assert stats.shared_groups == 0
    test = stats.splits["test"]
    texts = [record[4] for record in world.RECORDS[6:]]
    assert test["documents"]["en"] == {
        "rows": 2,
        "mean": pytest.approx(sum(map(len, texts)) / 2),
        "p50": min(map(len, texts)),
        "p99": min(map(len, texts)),
    }
    assert (test["groups"], test["judgements"], test["dates"]) == (2, {"annotated": 8}, [None, None])
    assert stats.splits["train"]["queries"]["ko"]["rows"] == 5
    assert stats.sources == [{"name": "world", "licence": "Apache-2.0", "rows_in": 16, "rows_kept": 16, "dropped": {}}]


def leaky(dataset: Dataset, path: Path) -> Dataset:
    """The same dataset with a training query judged on a test document."""
    more = pl.DataFrame([("q:pear:ko", "clay:ko", 1.0, "annotated")], schema=QRELS, orient="row")
    qrels = {split: dataset.qrels(split).collect() for split in ("train", "validation", "test")}
    return save_dataset(
        path,
        documents=dataset.documents.collect(),
        queries=dataset.queries.collect(),
        qrels={**qrels, "train": pl.concat([qrels["train"], more])},
        sources=dataset.manifest.sources,
        split_rule="leaky",
        seed=0,
    )


def test_an_overlap_is_counted(dataset: Dataset, tmp_path: Path) -> None:
    stats = dataset_stats(leaky(dataset, tmp_path / "leaky"))
    assert stats.overlap["train and test"] == {"groups": 1, "queries": 0, "relevant_texts": 1}
    assert stats.overlap["train and validation"] == {"groups": 0, "queries": 0, "relevant_texts": 0}
    assert stats.shared_groups == 1
    assert dataclasses.asdict(stats)["splits"].keys() == {"train", "validation", "test"}
    shutil.rmtree(tmp_path / "leaky")
