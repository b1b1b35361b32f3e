"""What a run leaves: the model card with curves and its exact configuration, events for TensorBoard, learnt weights."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world
import yaml as pyyaml

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import MissingExtraError
from osparse.io.settings import read_settings, to_plain
from osparse.trainer import TrainConfig, run_folder, train
from osparse.trainer.report.curves import draw_curves
from osparse.trainer.report.model_output import card
from osparse.trainer.report.run_log import RunLog, read_log


def test_the_card_holds_the_exact_configuration(trained: Model, yaml: Path, tmp_path: Path) -> None:
    """Its YAML, with the paths put back, reads as the configuration that was run."""
    card = (trained.path / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", card, re.DOTALL)
    (tmp_path / "card.yaml").write_text(text, encoding="utf-8")
    mine, ran = (to_plain(read_settings(TrainConfig, path)) for path in (tmp_path / "card.yaml", yaml))
    assert mine["tokenizer"] == Path(ran["tokenizer"]).name and mine["idf"] == "idf.json"
    for key in ("tokenizer", "idf"):
        del mine[key], ran[key]
    assert mine == ran
    assert pyyaml.safe_load(text)["stages"][1]["steps"] == 5


def test_the_card_shows_the_curves(trained: Model, tmp_path: Path) -> None:
    import matplotlib.image

    assert "](curves.png)" in (trained.path / "README.md").read_text(encoding="utf-8")
    rows = read_log(run_folder(trained.path))
    draw_curves(rows[:-1], tmp_path / "again.png")  # the last line came after
    assert (tmp_path / "again.png").read_bytes() == (trained.path / "curves.png").read_bytes()
    pixels = matplotlib.image.imread(trained.path / "curves.png")
    colours = {tuple(pixel) for pixel in np.round(pixels[..., :3], 2).reshape(-1, 3)}
    assert pixels.shape == (1000, 1000, 4) and len(colours) > 20  # curves, not an empty page
    rows[0]["loss"] = 1e9
    draw_curves(rows[:-1], tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "again.png").read_bytes()


def test_the_card_of_a_model_without_a_cap_says_so(trained: Model) -> None:
    encoder = TextEncoder.open(trained).encoder
    assert "at most 30 non-zeros out" in card("m", encoder, trained.training, trained.metrics)
    encoder.head = replace(encoder.head, top_k=None)
    text = card("m", encoder, trained.training, trained.metrics)
    assert "any number of non-zeros out" in text and "at most any" not in text


def test_a_run_without_numbers_has_a_picture_too(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 0


def test_steps_are_timed_and_gradients_logged(trained: Model) -> None:
    rows = [row for row in read_log(run_folder(trained.path)) if row["kind"] == "step"]
    assert all(row["step_seconds"] > 0 and row["gradient"] > 0 and row["lr"] > 0 for row in rows)


def test_tensorboard_holds_the_log_s_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    def write(log: RunLog, step: int, loss: float) -> None:
        log.write("step", part=1, stage="ranking", step=step, steps=9, loss=loss, gradient=None)

    log = RunLog(tmp_path, tensorboard=True)
    write(log, 1, 4.0)
    write(log, 5, 9.0)
    log.write("validation", part=1, stage="ranking", step=5, ndcg=0.5, directions={"ko->en": 0.4})
    resumed = RunLog(tmp_path, keep=lambda row: row["step"] < 5, tensorboard=True)
    write(resumed, 5, 2.0)
    resumed.close()
    log.close()
    assert not [thread for thread in threading.enumerate() if "EventLogger" in type(thread).__name__]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found["1-ranking/step/loss"] == [(1, 4.0), (5, 2.0)]
    assert set(found) == {"1-ranking/step/loss", "1-ranking/step/seconds"}


def test_a_missing_tensorboard_is_said_before_anything_is_done(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tensorboard" else find(name, *more)
    )
    with pytest.raises(MissingExtraError, match=r"osparse\[tensorboard\]"):
        train(yaml, dataset, tmp_path / "model", overrides=["loop.tensorboard=true"])
    assert not list(tmp_path.iterdir())


def test_learnt_query_weights_are_those_of_the_model(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    sets: Any = ["stages.ranking.idf_lr=0.05", "stages.mlm.steps=1"]
    model = train(yaml, dataset, tmp_path / "model", overrides=sets)
    before = world.make_lexicon(yaml.parent / "tokenizer.json").idf
    changed = np.abs(np.log(model.lexicon.idf / before)) > 1e-3
    assert 0 < changed.sum() < len(before)  # tokens that no query asked for keep theirs
    again = train(yaml, dataset, tmp_path / "again", overrides=sets)
    assert np.array_equal(again.lexicon.idf, model.lexicon.idf)
    assert "learnt" in json.dumps(model.idf)
