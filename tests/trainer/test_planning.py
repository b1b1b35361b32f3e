from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import ConfigError
from osparse.trainer import plan


def test_a_plan_writes_nothing_and_counts(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    found = plan(yaml, dataset, tmp_path / "model")
    assert not list(tmp_path.iterdir())
    assert (found.records, found.queries, found.languages, found.state) == (5, 10, ["en", "ko"], "new")
    assert [(s.task, s.steps, s.documents, s.steps_per_epoch) for s in found.stages] == [
        ("warm_start", 0, 0, None), ("mlm", 5, 6, 1), ("ranking", 7, 6, 1),
    ]  # fmt: skip
    assert found.memory["optimiser (AdamW: two moments)"] == 2 * found.memory["parameters (fp32)"]
    assert found.bytes == sum(found.memory.values())
    assert "7 steps of 6 documents of at most 32 tokens" in found.text() and "nothing was written" in found.text()


def test_less_at_a_time_is_less_memory(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    def activations(*sets: str) -> int:
        memory = plan(yaml, dataset, tmp_path / "model", overrides=sets).memory
        return next(amount for name, amount in memory.items() if name.startswith("activations"))

    whole = activations()
    assert activations("loop.micro_batch=3") == whole // 2
    assert activations("loop.precision=bf16") == whole // 2
    assert activations("loop.gradient_checkpointing=true", "encoder.layers=12") < activations("encoder.layers=12") / 2


def test_the_command_prints_a_plan(yaml: Path, dataset: Dataset, trained: Model) -> None:
    arguments = ["train", str(yaml), "--dataset", str(dataset.path), "--output", str(trained.path), "--dry-run"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0 and "(up to date)" in shown.output
    printed = json.loads(CliRunner().invoke(cli, [*arguments, "--json", "--quiet"]).stdout)
    assert printed["stages"][2]["task"] == "ranking" and printed["memory_total"] == sum(printed["memory"].values())
    assert CliRunner().invoke(cli, [*arguments, "--resume"]).exit_code == 2


def test_a_plan_of_wrong_inputs_says_what_training_would(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        plan(yaml, dataset, tmp_path / "model", overrides=["loop.precision=fp16"])
