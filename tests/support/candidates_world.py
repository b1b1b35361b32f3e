"""A dataset with candidates, and batches of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from osparse.contracts.dataset import Dataset, save_dataset
from osparse.trainer.config.run_config import Ranking
from osparse.trainer.data.batch import Batch, BatchMaker
from osparse.trainer.data.batch_sampler import BatchSampler
from osparse.trainer.data.training_records import TrainingRecords

ROWS = [
    # query, document, label, score, origin, scorer
    ("q:pear:en", "bread:en", 0.0, None, "mined", ""),
    ("q:pear:en", "rain:en", None, 3.0, "distilled", "teacher"),
    ("q:pear:en", "pear:en", None, 9.0, "distilled", "teacher"),
    ("q:pear:ko", "bread:ko", 0.0, 1.5, "mined", "bm25"),
    ("q:pear:ko", "moon:ko", -1.0, None, "annotated", ""),
    ("q:bread:en", "tide:en", 0.0, None, "mined", ""),  # judged in the test split
]


def remake(dataset: Dataset, path: Path, rows: Sequence[tuple[object, ...]], source: str | None = None) -> Dataset:
    schema = ["query_id", "document_id", "label", "score", "origin", "scorer"]
    documents = dataset.documents.collect()
    if source:
        documents = documents.with_columns(
            pl.when(pl.col("group") == "pear").then(pl.lit(source)).otherwise("source").alias("source")
        )
    return save_dataset(
        path, documents=documents, queries=dataset.queries.collect(),
        qrels={split: dataset.qrels(split).collect() for split in ("train", "validation", "test")},
        candidates={"train": pl.DataFrame(rows, schema=schema, orient="row")} if rows else None,
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip


def ranking_config(**changes: object) -> Ranking:
    plain: dict[str, object] = {
        "steps": 10, "batch": 5, "lr": 1e-3, "schedule": "linear", "warmup": 0.0, "max_length": 64, "temperature": 1.0,
        "spans": 1, "neighbours": 0, "span_weight": 0.5,
    }  # fmt: skip
    return Ranking(**{**plain, **changes})  # type: ignore[arg-type]


def make(records: TrainingRecords, **changes: object) -> Batch:
    chosen = ranking_config(**changes)
    return BatchMaker(records, BatchSampler(records.groups, chosen.batch, (0,)), chosen, 62).at(
        0, np.random.default_rng(0)
    )


def remake_documents(dataset: Dataset, path: Path, *columns: pl.Expr) -> Dataset:
    """The dataset with changed columns of its documents."""
    return save_dataset(
        path, documents=dataset.documents.collect().with_columns(*columns), queries=dataset.queries.collect(),
        qrels={split: dataset.qrels(split).collect() for split in ("train", "validation", "test")},
        sources=dataset.manifest.sources, split_rule="tests", seed=0,
    )  # fmt: skip
