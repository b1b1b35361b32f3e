"""Losses and encoders of the user's own, by dotted path."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError, InputError
from osparse.io.settings import read_settings
from osparse.plugins.dotted_paths import load_dotted, source_of
from osparse.trainer import TrainConfig, train

OWN = '''
import torch
from transformers import DistilBertConfig, DistilBertForMaskedLM

NUMBER = 3
calls = []


def make(lexicon, config):
    shape = DistilBertConfig(vocab_size=len(lexicon.tokens), dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    return DistilBertForMaskedLM(shape)


def nothing(lexicon, config):
    return "a string"


def hinge(scores, target, *, temperature, candidates, weight):
    """max(0, 1 - s+ + s-) over the hardest candidate."""
    calls.append(tuple(scores.shape))
    best = scores.gather(1, target[:, None]).squeeze(1)
    others = scores.masked_fill(~candidates, -1e9).scatter(1, target[:, None], -1e9).amax(1)
    return ((1 - (best - others) / temperature).clamp(min=0) * weight).sum() / weight.sum()
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_parts", "broken_parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)  # of another test's folder
    (tmp_path / "own_parts.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken_parts.py").write_text("1 / 0", encoding="utf-8")
    return tmp_path


def test_a_function_is_found_in_the_working_directory(here: Path) -> None:
    assert load_dotted("own_parts:make", "x").__name__ == "make"
    assert load_dotted("pathlib:Path.cwd", "x")() == here
    assert len(source_of("own_parts:hinge", "x")) == 64


@pytest.mark.parametrize("path", ["own_parts:make", "no_such_module_here:make", "broken_parts:make"])
def test_the_search_path_is_left_as_it_was(here: Path, path: str) -> None:
    before = list(sys.path)
    with suppress(ConfigError):
        load_dotted(path, "x")
    assert sys.path == before and str(here) not in before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("own_parts", "not of the form module:name"),
        (":make", "not of the form"),
        ("no_such_module_here:make", "cannot be imported"),
        ("broken_parts:make", "fails on import: ZeroDivisionError"),
        ("own_parts:missing", "has no missing; its functions: hinge, make, nothing"),
        ("own_parts:NUMBER", "must be a function, got int"),
    ],
)
def test_what_is_wrong_is_said(here: Path, path: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_dotted(path, "stages.0.loss")


def test_a_run_with_an_encoder_and_a_loss_of_ones_own(here: Path, yaml: Path, dataset: Dataset) -> None:
    import importlib

    sets = [
        "encoder={factory: 'own_parts:make'}",
        "stages=[{task: ranking, steps: 2, batch: 3, lr: 1e-3, schedule: constant, warmup: 0, max_length: 16, "
        "temperature: 1, spans: 1, neighbours: 0, span_weight: 1, loss: 'own_parts:hinge'}]",
    ]
    model = train(yaml, dataset, here / "model", overrides=sets)
    assert "distilbert" in (model.path / "config.json").read_text(encoding="utf-8")
    assert len(importlib.import_module("own_parts").calls) == 2
    assert train(yaml, dataset, here / "model", overrides=sets).fingerprint == model.fingerprint  # up to date
    (here / "own_parts.py").write_text(OWN + "\n# changed\n", encoding="utf-8")
    with pytest.raises(InputError, match="not made from these inputs"):  # own code is part of what a model is
        train(yaml, dataset, here / "model", overrides=sets)


def test_a_factory_must_make_a_masked_lm(here: Path, yaml: Path, dataset: Dataset) -> None:
    only = "stages=[{task: ranking, steps: 1, batch: 3, lr: 1e-3, schedule: constant, warmup: 0, max_length: 16, temperature: 1, spans: 1, neighbours: 0, span_weight: 1}]"
    with pytest.raises(ConfigError, match="must return a transformers masked-LM, got str"):
        train(yaml, dataset, here / "model", overrides=["encoder={factory: 'own_parts:nothing'}", only])
    with pytest.raises(ConfigError, match="from one of them"):
        read_settings(TrainConfig, yaml, ["encoder={factory: 'own_parts:make', start: .}", only])
    with pytest.raises(ConfigError, match="encoder.factory is given"):
        read_settings(TrainConfig, yaml, ["encoder={factory: 'own_parts:make'}"])
