"""Training that starts from a GTE folder as it is published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plain_gte
import pytest
import torch
from plain_gte import DOC_V3_GTE, random_weights, write_folder
from safetensors.numpy import load_file

from osparse.contracts.dataset import Dataset
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import ConfigError
from osparse.formula.activation import document_weights
from osparse.trainer import train

MASKED_LM = (
    "{task: mlm, steps: 2, batch: 3, lr: 1e-3, schedule: linear, warmup: 0.2, max_length: 32, masked: 0.2, "
    "translated: 0.3, kept: 0.1, active_terms: 60, columns: 40}"
)
RANKING = (
    "{task: ranking, steps: 3, batch: 3, lr: 1e-3, schedule: cosine, warmup: 0.2, max_length: 32, temperature: 2.0, "
    "spans: 1, neighbours: 1, span_weight: 0.5}"
)
TEXT = "Trams run on lines that join the city station and the harbour."


def started(folder: Path, *more: str) -> list[str]:
    return [f"encoder={{start: {folder}}}", f"stages=[{MASKED_LM}, {RANKING}]", *more]


def test_a_run_that_starts_from_it(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    """The model directory has the published names; written again in numpy it gives what osparse encodes."""
    weights = random_weights(DOC_V3_GTE)
    folder = write_folder(tmp_path / "gte", DOC_V3_GTE, weights)
    made = train(yaml, dataset, tmp_path / "model", overrides=started(folder))
    trained = load_file(made.path / "model.safetensors")
    config = json.loads((made.path / "config.json").read_text())
    assert trained.keys() == weights.keys() and config["architectures"] == ["NewForMaskedLM"]
    moved = {name for name in trained if not np.array_equal(trained[name], weights[name])}
    assert moved == weights.keys()  # every tensor has a gradient
    encoder = TextEncoder.open(made)
    ids = encoder._tokenizer.encode(TEXT).ids
    logits = plain_gte.logits(ids, trained, config).astype(np.float32)
    wanted = document_weights(logits, np.ones(len(ids), bool), made.head)
    found = np.zeros(408, np.float32)
    for token, weight in encoder.encode([TEXT])[0].items():
        found[made.lexicon.id_of[token]] = weight
    assert (found > 0).any() and not (folder / "ran").exists()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("setting", ["loop.gradient_checkpointing=true", "loop.precision=bf16", "loop.micro_batch=2"])
def test_the_loop_s_settings(setting: str, yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "gte", DOC_V3_GTE, random_weights(DOC_V3_GTE))
    made = train(yaml, dataset, tmp_path / "model", overrides=started(folder, setting))
    assert all(torch.isfinite(p).all() for p in TextEncoder.open(made).encoder.parameters())


def test_what_is_not_computed_is_refused_before_training(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    config = DOC_V3_GTE | {"logn_attention_scale": True}
    folder = write_folder(tmp_path / "gte", config, random_weights(config))
    with pytest.raises(ConfigError, match=r"(?s)encoder\.start.*logn_attention_scale is True"):
        train(yaml, dataset, tmp_path / "model", overrides=started(folder))
