"""Every configuration in configs/ reads, and says where its numbers come from."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from candidates_world import remake

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, train
from osparse.trainer.config.run_config import Ranking

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_reads(path: Path) -> None:
    assert read_settings(TrainConfig, path).stages


def test_quickstart_keeps_its_promise_of_non_zeros() -> None:
    (path,) = (path for path in CONFIGS if path.stem == "quickstart")
    top_k = read_settings(TrainConfig, path).head.top_k
    assert top_k is not None and top_k <= 250


@pytest.fixture(scope="module")
def scored(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """With hard negatives and one teacher's scores of every query's candidates."""
    rows: list[tuple[object, ...]] = []
    trained = dataset.qrels("train").collect()
    documents = sorted(set(trained["document_id"]))
    for number, query in enumerate(sorted(set(trained["query_id"]))):
        positives = set(trained.filter(pl.col("query_id") == query)["document_id"])
        for place, document in enumerate(documents):
            label = None if document in positives else 0.0
            rows.append((query, document, label, float((number + place) % 7), "distilled", "teacher"))
    return remake(dataset, tmp_path_factory.mktemp("configs") / "dataset", rows)


@pytest.mark.parametrize("path", [p for p in CONFIGS if "start:" in p.read_text()], ids=lambda path: path.stem)
def test_a_config_that_goes_on_from_a_checkpoint_trains(
    path: Path, scored: Dataset, model: Model, tmp_path: Path
) -> None:
    """Two steps of each ranking stage with its losses, teachers and sparsity; sizes cut down to the test's world."""
    changes = [
        f"encoder.start={model.path}", f"tokenizer={model.path}", f"idf={model.path / 'idf.json'}", "threads=1",
        "head.max_length=64", "stages.ranking.max_length=64", "stages.ranking.steps=2", "stages.ranking.batch=3",
        "validation.documents=10", "loop.compile=false",
    ]  # fmt: skip
    distillation = next(
        (s.distillation for s in read_settings(TrainConfig, path).stages if isinstance(s, Ranking)), None
    )
    for number, teacher in enumerate(distillation.teachers if distillation else ()):
        if teacher.path is not None:  # the dense one is the tests' model too: its body is a BERT
            changes.append(f"stages.ranking.distillation.teachers.{number}.path={model.path}")
    made = train(path, scored, tmp_path / "model", overrides=changes)
    assert made.metrics["split"] == "validation"
    log = [json.loads(line) for line in (tmp_path / "model.run" / "metrics.jsonl").read_text().splitlines()]
    (last,) = (row for row in log if row.get("step") == 2 and "loss" in row)
    assert ("distillation" in last) == (distillation is not None)
