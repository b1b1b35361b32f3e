"""A last model, which learns from the validation split too: only when asked, said in its card, and no help to choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_run import ONE_STEP

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError
from osparse.formula.lexicon import Lexicon
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, train
from osparse.trainer.loop.build_stages import training_records
from osparse.trainer.loop.validation import Validation


def test_the_validation_split_is_learnt_from_only_when_asked(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then the last step is kept, whatever is measured on it, and the card says that it is no measure."""
    config = read_settings(TrainConfig, yaml, ["validation.every=1"])
    held = {d for d in dataset.split_documents("validation").select("id").collect()["id"]}
    seen = {}
    for trained_on in (False, True):
        asked = dataclasses.replace(config, validation=dataclasses.replace(config.validation, trained_on=trained_on))
        tokenizer = config.tokenizer / "tokenizer.json"
        records = training_records(asked, dataset, tokenizer, Lexicon.open(tokenizer, config.idf))
        seen[trained_on] = {d.id for record in records.records for d in record.documents}
    assert not seen[False] & held and held <= seen[True] and seen[False] < seen[True]
    measured: list[float] = []

    def falling(self: Validation, encoder: Any) -> dict[str, Any]:
        found = {**measure(self, encoder), "ndcg": 0.9 - len(measured) / 10}  # the first would be the best
        measured.append(found["ndcg"])
        encoder.train()
        return found

    measure = Validation.measure
    monkeypatch.setattr(Validation, "measure", falling)
    model = train(asked, dataset, tmp_path / "model")
    assert model.metrics["step"] == 7 and model.metrics["trained_on"] is True
    assert "the model was trained on it too" in (model.path / "README.md").read_text(encoding="utf-8")
    chosen = train(config, dataset, tmp_path / "chosen")
    assert chosen.metrics["step"] < 7 and chosen.metrics["trained_on"] is False


def test_what_learnt_from_the_validation_split_may_not_help_to_choose_by_it(
    yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    knows = train(yaml, dataset, tmp_path / "knows", overrides=["validation.trained_on=true"])
    start = [f"encoder={{start: {knows.path}}}", f"stages=[{ONE_STEP}]"]
    teacher = (
        "stages.ranking.distillation={loss: kl, weight: 1, over: batch, scale: 10, "
        f"teachers: [{{kind: sparse, path: {knows.path}}}]}}"
    )
    for overrides, where in ((start, "encoder.start"), ([teacher], "distillation.teachers")):
        with pytest.raises(ConfigError, match=rf"{where}[\s\S]*was trained on the validation split"):
            train(yaml, dataset, tmp_path / "model", overrides=overrides)
    both = train(yaml, dataset, tmp_path / "both", overrides=[teacher, "validation.trained_on=true"])
    assert both.metrics["trained_on"] is True  # and the teacher knows the validation queries' texts
