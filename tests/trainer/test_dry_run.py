from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
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


def activations(yaml: Path, dataset: Dataset, output: Path, *sets: str) -> int:
    memory = plan(yaml, dataset, output, overrides=sets).memory
    return next(amount for name, amount in memory.items() if name.startswith("activations"))


def saved_for_backward(yaml: Path, dataset: Dataset, *sets: str) -> int:
    """Bytes of the distinct tensors that autograd saves in a forward pass of the transformer body, as torch tells them.

    Parameters are not counted; the pass is of a whole step's documents at the stage's full length.
    """
    from osparse.trainer.config.inputs import read_inputs
    from osparse.trainer.training import load_run

    (stage,) = [stage for stage in plan(yaml, dataset, Path("x"), overrides=sets).stages if stage.task == "ranking"]
    encoder = load_run(read_inputs(yaml, dataset, sets)).encoder.train()
    parameters = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}
    sizes: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.full((stage.documents, stage.tokens), 7)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        hidden = encoder.hidden(ids, torch.ones_like(ids))
    assert hidden.requires_grad
    return sum(sizes.values())


BODY = ("encoder={layers: 4, hidden: 64, heads: 4, feed_forward: 256, dropout: 0.0}", "stages.ranking.batch=5")


def test_the_estimate_of_activations_is_near_what_autograd_saves(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    estimated, measured = (
        activations(yaml, dataset, tmp_path / "model", *BODY),
        saved_for_backward(yaml, dataset, *BODY),
    )
    assert 0.7 < estimated / measured < 1.5, f"{estimated:,} estimated, {measured:,} measured"


def test_less_at_a_time_is_less_memory(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    whole = activations(yaml, dataset, tmp_path / "model", *BODY)
    assert activations(yaml, dataset, tmp_path / "model", *BODY, "loop.micro_batch=3") < whole
    assert activations(yaml, dataset, tmp_path / "model", *BODY, "loop.precision=bf16") < whole
    assert activations(yaml, dataset, tmp_path / "model", *BODY, "loop.gradient_checkpointing=true") < whole


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
