"""Where the query weights of a run were counted: another dataset is said, a held-back split is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import world

from osparse.contracts.dataset import Dataset
from osparse.corpus import compute_idf
from osparse.errors import ConfigError
from osparse.trainer import train

CONFIG = """
seed: 3
threads: 1
tokenizer: {folder}
idf: {folder}/idf.json
checkpoint_every: 2
encoder: {{layers: 1, hidden: 16, heads: 2, feed_forward: 32, dropout: 0.1}}
head: {{activation: log1p_relu, max_length: 64, top_k: 30}}
stages:
- {{task: ranking, steps: 1, batch: 3, lr: 1e-3, schedule: cosine, warmup: 0.2, max_length: 32,
   temperature: 2.0, spans: 1, neighbours: 1, span_weight: 0.5}}
sparsity: {{weight: 1e-3, warmup: 0.5, columns: 100}}
validation: {{every: 1, documents: 2}}
"""


def inputs(folder: Path, dataset: Dataset, split: str) -> Path:
    world.make_tokenizer(folder / "tokenizer.json")
    compute_idf(dataset, folder, folder / "idf.json", split=split, overwrite=True)
    (folder / "run.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    return folder / "run.yaml"


@pytest.mark.parametrize("split", ["validation", "test", "all"])
def test_weights_counted_on_a_held_back_split_are_refused_before_any_work(
    split: str, dataset: Dataset, tmp_path: Path
) -> None:
    yaml = inputs(tmp_path, dataset, split)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f"idf.json was counted on the {split} split of the dataset trained on"):
        train(yaml, dataset, tmp_path / "model")
    assert sorted(tmp_path.iterdir()) == before


def test_weights_of_another_dataset_are_said_and_kept_with_the_model(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yaml = inputs(tmp_path, dataset, "train")
    with caplog.at_level(logging.WARNING, "osparse.trainer.config.inputs"):
        assert train(yaml, dataset, tmp_path / "model").idf["dataset"] == dataset.fingerprint
        assert "counted on another dataset" not in caplog.text
        meta = tmp_path / "idf.meta.json"
        other = {**json.loads(meta.read_text(encoding="utf-8")), "dataset": "0" * 64, "split": "test"}
        meta.write_text(json.dumps(other), encoding="utf-8")
        assert train(yaml, dataset, tmp_path / "other").idf["dataset"] == "0" * 64
    assert f"{tmp_path}/idf.json was counted on another dataset than is trained on" in caplog.text
    meta.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no JSON object"):
        train(yaml, dataset, tmp_path / "third")
