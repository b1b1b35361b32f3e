"""What a bundle takes over from the model beside its weights: the list of training texts, and the run's alarms."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.seen import SEEN, SeenTexts
from osparse.errors import InputError
from osparse.packager import package

ALARM = {
    "name": "collapsed", "finding": "documents have collapsed: 5.0 non-zeros on average", "remedy": "lower sparsity.weight",
    "settings": {"sparsity.weight": 1e-4}, "usable": False,
}  # fmt: skip


def changed(model: Model, folder: Path, **changes: Any) -> Model:
    """A copy of the model whose osparse.json says more."""
    shutil.copytree(model.path, folder)
    texts = changes.pop("texts", None)
    description = json.loads((folder / "osparse.json").read_text(encoding="utf-8")) | changes
    if texts is not None:
        description["seen"] = asdict(texts.write(folder))
    (folder / "osparse.json").write_text(json.dumps(description), encoding="utf-8")
    return Model.open(folder)


def test_the_list_of_training_texts_goes_along(model: Model, bundle: Bundle, tmp_path: Path) -> None:
    texts = SeenTexts.of(["the moon"], ["moon"], ["start bert"])
    made = package(changed(model, tmp_path / "model", texts=texts), tmp_path / "bundle", ["onnx"])
    carried = Bundle.open(made.path).training_texts()
    assert carried is not None and (carried.hashes == texts.hashes).all() and carried.unknown == ("start bert",)
    assert bundle.training_texts() is None and not (bundle.path / SEEN).exists()


def test_a_bundle_without_the_list_of_its_model_is_not_up_to_date(model: Model, tmp_path: Path) -> None:
    plain = changed(model, tmp_path / "plain")
    without = package(plain, tmp_path / "bundle", ["onnx"], "tiny")
    knowing = changed(model, tmp_path / "knowing", texts=SeenTexts.of(["a"], []))
    with pytest.raises(InputError, match="overwrite=True"):
        package(knowing, tmp_path / "bundle", ["onnx"], "tiny")
    made = package(knowing, tmp_path / "bundle", ["onnx"], "tiny", overwrite=True)
    assert made.fingerprint == without.fingerprint, "what is served is the same"
    assert made.seen == knowing.seen and package(knowing, tmp_path / "bundle", ["onnx"], "tiny").seen == knowing.seen


@pytest.mark.parametrize("usable", [True, False])
def test_alarms_are_repeated_and_the_next_step_fits(
    usable: bool, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = changed(model, tmp_path / "model", metrics={"alarms": [{**ALARM, "usable": usable}]})
    with caplog.at_level(logging.WARNING):
        made = package(bad, tmp_path / "bundle", ["onnx"])
    assert "documents have collapsed: 5.0 non-zeros on average; lower sparsity.weight" in caplog.text
    assert "documents have collapsed" in (made.path / "README.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(
        cli, ["package", str(bad.path), "--output", str(made.path), "--format", "onnx", "--quiet"]
    )
    assert shown.exit_code == 0, shown.output
    assert "warning: documents have collapsed" in shown.output
    next_step = shown.output.splitlines()[-1]
    assert next_step.startswith("next: osparse deploy" if usable else "next: train again (lower sparsity.weight)")
