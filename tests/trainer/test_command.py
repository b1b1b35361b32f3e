from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli, main
from osparse.contracts.dataset import Dataset

BAD = """
seed: -1
tokenizer: nowhere
idf: nowhere/idf.json
encoder: {layers: 2, hidden: 250, heads: 4, feed_forward: 512}
head: {activation: relu, max_length: 600}
stages:
- {task: ranking, steps: 0}
sparsity: {weight: 0.1, warmup: 2, columns: 0}
validation: {every: 10, documents: 10, surprise: 1}
checkpoint_every: ten
"""


def test_help_has_an_example() -> None:
    shown = CliRunner().invoke(cli, ["train", "--help"])
    assert shown.exit_code == 0 and "Examples:" in shown.output and "--resume" in shown.output


def test_all_problems_of_a_configuration_in_one_message(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(BAD, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "train",
                str(tmp_path / "run.yaml"),
                "--dataset",
                str(dataset.path),
                "--output",
                str(tmp_path / "m"),
                "--json",
            ]
        )
    assert ended.value.code == 2
    message = json.loads(capsys.readouterr().out)["error"]
    for word in (
        "seed: -1 is not within [0, inf)", "hidden: 250 is not a multiple of heads 4", "head.activation",
        "head.max_length", "stages.0.steps", "stages.0.batch: missing", "sparsity.warmup", "validation.surprise: unknown",
        "checkpoint_every: must be int",
    ):  # fmt: skip
        assert word in message, word
    assert not (tmp_path / "m").exists() and not (tmp_path / "m.run").exists()
