"""Code that a checkpoint brings is never run, and nobody is asked whether it may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import world
from plain_gte import DOC_V3_GTE, random_weights, write_folder

from osparse.corpus.mining.teacher_scores import _cross
from osparse.encoders.dense_encoder import DenseEncoder
from osparse.errors import ModelError
from osparse.masked_lm.load import load_masked_lm

CODE = {
    "AutoConfig": "configuration.NewConfig",
    "AutoModel": "modeling.NewModel",
    "AutoModelForMaskedLM": "modeling.NewForMaskedLM",
    "AutoModelForSequenceClassification": "modeling.NewForSequenceClassification",
}
LOADERS: dict[str, Callable[[Path], Any]] = {
    "start of a run": lambda folder: load_masked_lm(folder, "sdpa"),
    "checkpoint to package": lambda folder: load_masked_lm(folder, "eager"),
    "bi-encoder": DenseEncoder,
    "cross-encoder": _cross,
}


@pytest.mark.parametrize("loader", list(LOADERS))
def test_an_unknown_model_is_refused_and_its_code_not_run(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {key: value for key, value in DOC_V3_GTE.items() if key != "rope_scaling"}
    config |= {"model_type": "newest", "auto_map": CODE}
    folder = write_folder(tmp_path / "model", config, random_weights(config))
    world.make_tokenizer(folder / "tokenizer.json")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", lambda *question: pytest.fail("it asks whether the code may be run"))
    with pytest.raises(ModelError):
        LOADERS[loader](folder)
    assert not (folder / "ran").exists()
