"""Fine-tuning: the start is measured before the first step, may be the best model, and its languages are watched."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from small_run import ONE_STEP

from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.model import Model
from osparse.corpus import compute_idf
from osparse.corpus.mining.retrained import save_retrained
from osparse.errors import ConfigError
from osparse.trainer import run_folder, train, training
from osparse.trainer.config.inputs import idf_provenance, read_inputs, sources_of
from osparse.trainer.report.run_log import read_log

RUINOUS = ONE_STEP.replace("steps: 1", "steps: 3").replace("lr: 1e-3", "lr: 0.5")
"""Three steps that destroy a model."""


def fine_tuning(start: Path, stage: str = ONE_STEP, *more: str) -> list[str]:
    return [f"encoder={{start: {start}}}", f"stages=[{stage}]", *more]


def weights(model: Model) -> dict[str, torch.Tensor]:
    return dict(load_file(model.path / "model.safetensors"))


def same(a: Model, b: Model) -> bool:
    return all(torch.equal(tensor, weights(b)[name]) for name, tensor in weights(a).items())


def ruined(yaml: Path, dataset: Dataset, start: Model, output: Path, **more: Any) -> Model:
    return train(yaml, dataset, output, overrides=fine_tuning(start.path, RUINOUS), **more)


def test_the_start_is_measured_as_its_own_run_measured_it(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    model = train(yaml, dataset, tmp_path / "model", overrides=fine_tuning(trained.path))
    measured = ("ndcg", "directions", "nonzeros", "posting_max", "flops", "empty", "prune_ratio")
    assert {name: model.metrics["start"][name] for name in measured} == {n: trained.metrics[n] for n in measured}
    first = read_log(run_folder(model.path))[0]
    assert (first["kind"], first["stage"], first["step"]) == ("validation", "start", 0)
    card = (model.path / "README.md").read_text(encoding="utf-8")
    assert f"| mean | {trained.metrics['ndcg']:.3f} | {model.metrics['ndcg']:.3f} |" in card


def test_a_run_that_ends_below_its_start_writes_the_start_and_says_so(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "osparse"):
        model = ruined(yaml, dataset, trained, tmp_path / "model")
    assert model.metrics["last"]["ndcg"] < model.metrics["start"]["ndcg"] == model.metrics["ndcg"]
    assert (model.metrics["stage"], model.metrics["step"]) == ("start", 0) and same(trained, model)
    assert "below_start" in [alarm["name"] for alarm in model.metrics["alarms"]]
    assert "training ended below its start" in caplog.text
    card = (model.path / "README.md").read_text(encoding="utf-8")
    assert "the start itself, unchanged" in card and "training ended below its start" in card


def test_measuring_the_start_changes_no_trained_weight(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step is kept, so that equal weights are the trained ones; dropout draws from the random state."""
    sets = fine_tuning(
        trained.path, ONE_STEP.replace("steps: 1", "steps: 3, dropout: 0.3"), "validation.trained_on=true"
    )
    measured = train(yaml, dataset, tmp_path / "measured", overrides=sets)
    monkeypatch.setattr(training, "measure_start", lambda *_: None)
    monkeypatch.setattr(training, "_warn_of_start", lambda *_: None)
    plain = train(yaml, dataset, tmp_path / "plain", overrides=sets)
    assert measured.metrics["start"] and not plain.metrics["start"]
    assert same(measured, plain) and not same(measured, trained)


def test_a_resumed_run_knows_its_start(trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    def stop(task: str, step: int) -> None:
        if step == 1:
            signal.raise_signal(signal.SIGTERM)

    whole = ruined(yaml, dataset, trained, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        ruined(yaml, dataset, trained, tmp_path / "model", on_step=stop)
    model = ruined(yaml, dataset, trained, tmp_path / "model", resume=True)
    assert model.metrics == whole.metrics and same(model, whole)
    rows = read_log(run_folder(model.path))
    assert [row["step"] for row in rows if row.get("stage") == "start"] == [0]


def english_training(dataset: Dataset, path: Path, *, validation: str) -> Dataset:
    """English pairs alone to train on; ``validation`` matches "query id document id" of the pairs to measure."""
    english = pl.col("query_id").str.ends_with(":en") & pl.col("document_id").str.ends_with(":en")
    ids = pl.concat_str("query_id", "document_id", separator=" ")
    qrels = {
        "train": dataset.qrels("train").collect().filter(english),
        "validation": dataset.qrels("validation").collect().filter(ids.str.contains(validation)),
    }
    return save_dataset(
        path, documents=dataset.documents.collect(), queries=dataset.queries.collect(), qrels=qrels,
        sources=dataset.manifest.sources, split_rule="", seed=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ("", "(measured: ko->ko "),
        (":en$", "(measured: ko->en "),
        (":en .*:en$", "(not measured: no validation pairs"),
    ],
)
def test_a_language_that_the_data_lack_is_named(
    validation: str, said: str, trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    data = english_training(dataset, tmp_path / "data", validation=validation)
    with caplog.at_level(logging.WARNING, "osparse"):
        model = train(yaml, data, tmp_path / "model", overrides=fine_tuning(trained.path))
    assert model.metrics["languages_not_trained"] == ["ko"] and model.training["languages"] == ["en"]
    assert "encoder.start was trained for 'ko' and the training split has no pairs in it" in caplog.text
    assert said in caplog.text
    assert "lacks: ko" in (model.path / "README.md").read_text(encoding="utf-8")


def test_the_languages_of_a_start_outside_the_validation_are_known_from_its_training(
    trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    assert read_inputs(yaml, dataset, fine_tuning(trained.path)).languages_not_trained == ()
    copy = Path(shutil.copytree(trained.path, tmp_path / "copy"))
    description = json.loads((copy / "osparse.json").read_text(encoding="utf-8"))
    description["training"]["languages"] = ["en", "ja"]
    (copy / "osparse.json").write_text(json.dumps(description), encoding="utf-8")
    assert read_inputs(yaml, dataset, fine_tuning(copy)).languages_not_trained == ("ja",)
    (copy / "osparse.json").unlink()  # a masked-LM of another origin
    assert read_inputs(yaml, dataset, fine_tuning(copy)).languages_not_trained == ()


def derived(dataset: Dataset, path: Path) -> Dataset:
    candidates = {"query_id": ["q:pear:en"], "document_id": ["bread:en"], "label": [0.0], "score": [None],
                  "origin": ["mined"], "scorer": [""]}  # fmt: skip
    schema = {"label": pl.Float32, "score": pl.Float32}
    rows = pl.DataFrame(candidates, schema_overrides=schema)
    return save_retrained(dataset, path, candidates=rows, notes={})


def test_a_derived_dataset_counts_as_its_source_for_the_idf(
    dataset: Dataset, yaml: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = derived(dataset, tmp_path / "once")
    twice = derived(once, tmp_path / "twice")
    assert once.fingerprint != dataset.fingerprint and sources_of(dataset) == ()
    assert sources_of(twice) == (dataset.fingerprint, once.fingerprint)
    for split in ("train", "validation"):
        compute_idf(dataset, yaml.parent, tmp_path / f"{split}.json", split=split)
    with caplog.at_level(logging.WARNING, "osparse.trainer.config.inputs"):
        for data in (once, twice):
            idf_provenance(tmp_path / "train.json", data.fingerprint, sources_of(data))
            with pytest.raises(ConfigError, match="counted on the validation split"):
                idf_provenance(tmp_path / "validation.json", data.fingerprint, sources_of(data))
        assert "counted on another dataset" not in caplog.text
        idf_provenance(tmp_path / "train.json", "0" * 64, ())
        assert "counted on another dataset" in caplog.text


def test_a_start_that_learnt_the_validation_split_of_the_source_is_refused(
    dataset: Dataset, yaml: Path, tmp_path: Path
) -> None:
    last = train(yaml, dataset, tmp_path / "last", overrides=["validation.trained_on=true", f"stages=[{ONE_STEP}]"])
    with pytest.raises(ConfigError, match="trained on the validation split"):
        read_inputs(yaml, derived(dataset, tmp_path / "derived"), fine_tuning(last.path))


def test_an_untrained_start_is_said_before_the_first_step_and_at_the_end(
    yaml: Path, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untrained = train(yaml, dataset, tmp_path / "untrained", overrides=[f"stages=[{ONE_STEP}]"])
    caplog.clear()
    with caplog.at_level(logging.WARNING, "osparse"):
        model = train(yaml, dataset, tmp_path / "model", overrides=fine_tuning(untrained.path))
    assert "so it looks untrained" in caplog.text
    (alarm,) = [alarm for alarm in model.metrics["alarms"] if alarm["name"] == "untrained"]
    assert "the start was untrained too" in alarm["remedy"] and alarm["finding"] in caplog.text
