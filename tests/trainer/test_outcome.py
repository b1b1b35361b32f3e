"""Alarms about the outcome of a run, the expected nDCG of a random order, and the next step that the command prints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_run import ONE_STEP

from osparse.cli.commands.train import _next_step
from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig
from osparse.trainer.loop.outcome import Limits, find_alarms, skill, too_easy
from osparse.trainer.loop.validation import Validation

LIMITS = Limits(
    empty=0.05, few=10, dense=2000, weight=1e-3, rates={"stages.0.lr": 1e-4, "stages.2.lr": 2e-5}, new_encoder=False
)


def metrics(ndcg: float, **changes: Any) -> dict[str, Any]:
    return {
        "stage": "ranking", "step": 100, "ndcg": ndcg, "chance": 0.001, "nonzeros": 120.0, "empty": 0.0,
        "directions": {"en->en": ndcg}, **changes,
    }  # fmt: skip


START = metrics(0.5, stage="start", step=0)


def names(written: dict[str, Any], start: dict[str, Any], last: dict[str, Any], **more: Any) -> list[str]:
    return [alarm.name for alarm in find_alarms(written, start=start, last=last, limits=LIMITS, **more)]


def test_a_good_model_raises_no_alarm() -> None:
    better = metrics(0.6)
    assert names(better, START, better) == [] and names(better, {}, better) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (metrics(0.02, nonzeros=5.0), ["collapsed", "untrained"]),
        (metrics(0.6, empty=0.06), ["collapsed"]),
        (metrics(0.6, nonzeros=9.9), ["collapsed"]),
        (metrics(0.6, nonzeros=2001.0), ["dense"]),
        (metrics(0.09), ["untrained"]),
        (metrics(0.4, chance=0.35), ["untrained"]),
    ],
)
def test_each_kind_of_failure_has_its_alarm(written: dict[str, Any], expected: list[str]) -> None:
    assert names(written, {}, written) == expected


def test_lambda_moves_against_the_fault_and_a_rate_falls() -> None:
    def changes(written: dict[str, Any], start: dict[str, Any]) -> dict[str, float]:
        return find_alarms(written, start=start, last=written, limits=LIMITS)[0].settings

    assert changes(metrics(0.6, nonzeros=2.0), {})["sparsity.weight"] < LIMITS.weight
    assert changes(metrics(0.6, nonzeros=5000.0), {})["sparsity.weight"] > LIMITS.weight
    lowered = changes(metrics(0.4), START)
    assert lowered.keys() == LIMITS.rates.keys() and all(lowered[name] < rate for name, rate in LIMITS.rates.items())


def test_a_run_that_ends_below_its_start() -> None:
    worse, better = metrics(0.4), metrics(0.55, step=50)
    (kept,) = find_alarms(START, start=START, last=worse, limits=LIMITS)
    assert kept.name == "below_start" and not kept.usable and "the start's weights are written" in kept.finding
    (passed,) = find_alarms(better, start=START, last=worse, limits=LIMITS)
    assert passed.usable and "step 50" in passed.finding
    (last_kept,) = find_alarms(worse, start=START, last=worse, limits=LIMITS)  # as validation.trained_on keeps it
    assert not last_kept.usable and "0.5000 before the first step, 0.4000 after the last" in last_kept.finding


def test_a_language_that_was_unlearnt_is_named_with_its_figures() -> None:
    start = metrics(0.5, directions={"en->en": 0.5, "ko->ko": 0.6, "ko->en": 0.4})
    written = metrics(0.6, directions={"en->en": 0.7, "ko->ko": 0.2, "ko->en": 0.405})
    (alarm,) = find_alarms(written, start=start, last=written, limits=LIMITS, lost=["ko", "ja"])
    assert alarm.name == "unlearnt" and alarm.usable and "ko->ko 0.600 to 0.200" in alarm.finding
    assert "ko->en" not in alarm.finding and "'ja'" not in alarm.finding


def test_skill_is_0_for_a_random_order_and_1_for_the_ideal_one() -> None:
    assert skill({"ndcg": 0.3, "chance": 0.3}) == 0 and skill({"ndcg": 1.0, "chance": 0.3}) == pytest.approx(1)
    assert skill({"ndcg": 1.0, "chance": 1.0}) == 1


def test_limits_follow_the_configuration(yaml: Path) -> None:
    limits = Limits.of(read_settings(TrainConfig, yaml), vocabulary=40)
    assert (limits.few, limits.dense, limits.new_encoder) == (10, 30, True)  # top_k 30 is meant, half of 40 is less
    assert limits.rates == {"stages.2.lr": 1e-3}
    short = Limits.of(read_settings(TrainConfig, yaml, ["head.top_k=4", "sparsity.alarms=null"]), vocabulary=10_000)
    assert (short.few, short.dense) == (2, 2000)


def test_chance_is_the_mean_of_random_orders(dataset: Dataset, model: Model) -> None:
    """Against simulated orders of each direction's corpus."""
    validation = Validation(dataset, model.path / "tokenizer.json", model.lexicon, distractors=100, seed=0)
    generator, values = np.random.default_rng(0), []
    for judged in validation.sets:
        ids = validation.corpora[judged.document_lang].ids
        for relevances in judged.qrels.values():
            ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(relevances.values())[::-1][:10]))
            for _ in range(2000):
                order = generator.permutation(len(ids))[:10]
                gains = [relevances.get(ids[row], 0) / math.log2(rank + 2) for rank, row in enumerate(order)]
                values.append(sum(gains) / ideal)
    assert validation.chance == pytest.approx(float(np.mean(values)), abs=0.02)


def test_a_validation_split_that_cannot_choose_is_told() -> None:
    solved = {"ndcg": 0.999, "documents": 400}
    assert "validation nDCG@10 is 0.999, so it can hardly choose" in too_easy(solved)
    assert not too_easy({**solved, "ndcg": 0.95}) and not too_easy({**solved, "documents": 12})


def test_the_next_step_fits_the_outcome(trained: Model) -> None:
    again = ["osparse", "train", "my config.yaml", "--overwrite"]

    def following(*alarms: dict[str, Any]) -> str:
        return _next_step(trained, "my data", alarms, again)

    usable = {"remedy": "add pairs", "settings": {}, "usable": True}
    retrain = {"remedy": "lower it", "settings": {"sparsity.weight": 4e-5, "stages.0.lr": 0.1}, "usable": False}
    by_hand = {"remedy": "train longer", "settings": {}, "usable": False}
    assert following() == following(usable) == f"osparse package {trained.path} --dataset 'my data' --output BUNDLE"
    expected = "osparse train 'my config.yaml' --overwrite --set sparsity.weight=4e-05 --set stages.0.lr=0.1"
    assert following(retrain, usable) == expected
    assert following(by_hand, retrain) == "train longer; then train again"


def test_the_command_warns_and_proposes_no_packaging_of_a_model_that_does_not_rank(
    yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    arguments = ["train", str(yaml), "--dataset", str(dataset.path), "--output", str(tmp_path / "model")]
    shown = CliRunner().invoke(cli, [*arguments, "--set", f"stages=[{ONE_STEP}]", "--quiet"])
    assert shown.exit_code == 0, shown.output
    assert "warning: the model ranks hardly better than a random order" in shown.output
    assert "then train again" in shown.output and "osparse package" not in shown.output
