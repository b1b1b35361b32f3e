"""Losses and encoders of the user's own, by dotted path."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError, InputError
from osparse.formula.lexicon import Lexicon
from osparse.io.settings import read_settings
from osparse.plugins.dotted_paths import load_dotted, source_of
from osparse.trainer import TrainConfig, plan, train
from osparse.trainer.loop.own_parts import check_own_parts, loss_problems
from osparse.trainer.losses import info_nce

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
    assert importlib.import_module("own_parts").calls[0] == (3, 4)  # the toy batch
    assert len(importlib.import_module("own_parts").calls) == 3
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


LOSSES = """
import torch


def no_weight(scores, target, *, temperature, candidates):
    return scores.mean()


def vector(scores, target, *, temperature, candidates, weight):
    return scores.mean(1)


def infinite(scores, target, *, temperature, candidates, weight):
    return (scores / 0).sum()


def detached(scores, target, *, temperature, candidates, weight):
    return scores.detach().sum()


def constant(scores, target, *, temperature, candidates, weight):
    return (scores * 0).sum()


def number(scores, target, *, temperature, candidates, weight):
    return 1.0


def raises(scores, target, *, temperature, candidates, weight):
    return scores @ scores


def sharp(scores, target, temperature=1.0, **others):
    return torch.nn.functional.cross_entropy(scores / temperature, target)


def dataset_sized(scores, target, *, temperature, candidates, weight):
    if scores.shape[0] != 3:
        raise KeyError("only the toy batch")
    return sharp(scores, target)


def make(lexicon):
    return None


def narrow(lexicon, config):
    from transformers import DistilBertConfig, DistilBertForMaskedLM
    return DistilBertForMaskedLM(DistilBertConfig(vocab_size=5, dim=16, n_layers=1, n_heads=2, hidden_dim=32))
"""

RANKING = (
    "stages=[{task: ranking, steps: 1, batch: 3, lr: 1e-3, schedule: constant, warmup: 0, max_length: 16, "
    "temperature: 1, spans: 1, neighbours: 0, span_weight: 1, loss: 'toy_losses:%s'}]"
)


@pytest.fixture
def toy(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "toy_losses", raising=False)
    (here / "toy_losses.py").write_text(LOSSES, encoding="utf-8")
    return here


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_weight", r"must take \(scores, target, \*, temperature, candidates, weight\), got .*'weight'"),
        ("vector", r"must return a scalar tensor, got one of shape \(3,\)"),
        ("infinite", "returned inf .*must be finite"),
        ("detached", "returned a tensor without a gradient"),
        ("constant", "has no gradient with respect to the scores"),
        ("number", "must return a scalar tensor, got float"),
        ("raises", r"failed on a toy batch .* RuntimeError: .*toy_losses.py, line 30"),
    ],
)
def test_a_loss_is_tried_on_a_toy_batch(toy: Path, yaml: Path, dataset: Dataset, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"stages.0.loss: toy_losses:{name} {says}"):
        plan(yaml, dataset, toy / "model", overrides=[RANKING % name])
    assert not (toy / "model.run").exists()


def test_a_sound_loss_passes_and_the_random_state_stays(toy: Path, yaml: Path, dataset: Dataset) -> None:
    assert plan(yaml, dataset, toy / "model", overrides=[RANKING % "sharp"]).stages
    assert loss_problems(info_nce, 0.5) == []
    before = torch.random.get_rng_state()
    check_own_parts(
        read_settings(TrainConfig, yaml, ["encoder={factory: 'own_parts:make'}", RANKING % "sharp"]), lexicon(yaml)
    )
    assert torch.equal(torch.random.get_rng_state(), before)


def lexicon(yaml: Path) -> Lexicon:
    return Lexicon.open(yaml.parent / "tokenizer.json", yaml.parent / "idf.json")


def test_everything_wrong_with_own_code_is_told_at_once(toy: Path, yaml: Path, dataset: Dataset) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(yaml, dataset, toy / "model", overrides=["encoder={factory: 'toy_losses:make'}", RANKING % "vector"])
    assert len(caught.value.problems) == 2
    assert "encoder.factory: toy_losses:make must take (lexicon, config), got (lexicon)" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        plan(yaml, dataset, toy / "model", overrides=["encoder={factory: 'toy_losses:mke'}", RANKING % "vectr"])
    assert "has no mke" in str(caught.value) and "has no vectr" in str(caught.value)
    with pytest.raises(ConfigError, match="toy_losses:narrow gives 5 vocabulary rows, the tokenizer has"):
        plan(yaml, dataset, toy / "model", overrides=["encoder={factory: 'toy_losses:narrow'}", RANKING % "sharp"])


def test_an_error_of_a_step_names_the_function(toy: Path, yaml: Path, dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="toy_losses:dataset_sized.*\n.*failed in a training step: KeyError"):
        train(
            yaml, dataset, toy / "model", overrides=["encoder={factory: 'own_parts:make'}", RANKING % "dataset_sized"]
        )
