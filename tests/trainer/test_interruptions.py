"""Runs that end before their end: killed, out of memory, a loss that is no number; and going on from a checkpoint."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_processes
from safetensors.torch import load_file

import osparse.trainer.loop.loop as loop
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import InputError, OsparseError
from osparse.io.settings import read_settings
from osparse.trainer import TrainConfig, run_folder, train
from osparse.trainer.compute.optimiser import make_optimiser
from osparse.trainer.config.run_config import DfFlops, Ranking
from osparse.trainer.loop.checkpoint import RunState, read_checkpoint, save_checkpoint
from osparse.trainer.loop.step import is_out_of_memory
from osparse.trainer.report.run_log import is_running, read_log

KILLED = """
import os, signal, sys
import itertools
from osparse.trainer import train
calls = itertools.count(1)
def on_step(task, step):
    if next(calls) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], sys.argv[2], sys.argv[3], on_step=on_step)
"""


def weights(model: Model) -> dict[str, torch.Tensor]:
    return dict(load_file(model.path / "model.safetensors"))


def same(a: Model, b: Model) -> bool:
    return all(torch.equal(tensor, weights(b)[name]) for name, tensor in weights(a).items())


def test_killed_at_a_random_step_and_resumed(trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    """SIGKILL gives no warning: the run goes on from a checkpoint before it, to the uninterrupted run's weights."""
    at = random.Random(20).randint(4, 12)  # the first checkpoint follows step 2
    output = tmp_path / "model"
    killed = warm_processes.start(KILLED, [*map(str, (yaml, dataset.path, output, at))], tmp_path / "output")
    assert killed.wait() == -signal.SIGKILL, killed.stderr
    assert not is_running(run_folder(output)) and read_log(run_folder(output))[-1]["kind"] != "stopped"
    assert same(trained, train(yaml, dataset, output, resume=True)), f"killed in step {at}"


def test_a_finished_run_says_so(trained: Model, yaml: Path, dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "osparse")
    assert train(yaml, dataset, trained.path, resume=True).fingerprint == trained.fingerprint
    assert "its run is finished" in caplog.text


def failing(at: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranking stage's at-th step raises in its backward pass."""
    from osparse.trainer.stages.ranking import RankingStage

    backward = RankingStage.backward

    def fail(self: RankingStage, step: int, *more: Any) -> Any:
        if step == at:
            backward(self, step, *more)  # gradients are there, and must not be used
            raise error
        return backward(self, step, *more)

    monkeypatch.setattr(RankingStage, "backward", fail)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_says_what_to_do_and_loses_nothing(
    error: BaseException, trained: Model, yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(OsparseError, match="loop.micro_batch=32.*max_length"):
        failing(3, error, patch)
        train(yaml, dataset, tmp_path / "model")
    assert [path.name for path in (run_folder(tmp_path / "model") / "checkpoint").iterdir()] == ["0001-00000003"]
    # Without dropout's order, micro-batches give the same to rounding; with an equal order to the bit.
    assert same(trained, train(yaml, dataset, tmp_path / "model", resume=True, overrides=["loop.micro_batch=1000"]))


def two_rankings(yaml: Path) -> TrainConfig:
    """The first sets dropout, which holds in the second too; the second alone learns query weights."""
    config = read_settings(TrainConfig, yaml, [])
    ranking = config.stages[-1]
    assert isinstance(ranking, Ranking)
    stages = (replace(ranking, steps=2, dropout=0.4), replace(ranking, steps=6, idf_lr=1e-2))
    sparsity = replace(config.sparsity, df=DfFlops(half=0.1, steepness=10.0), target_nonzeros=20, warmup=0.0)
    validation = replace(config.validation, every=100)  # the end is measured, so its weights are the model
    return replace(config, stages=stages, sparsity=sparsity, validation=validation, checkpoint_every=100)


def test_what_earlier_stages_and_failed_steps_leave_behind_is_the_same_after_a_resume(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = two_rankings(yaml)
    whole = train(config, dataset, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(OsparseError):
        failing(3, MemoryError(), patch)
        train(config, dataset, tmp_path / "model")
    assert same(whole, train(config, dataset, tmp_path / "model", resume=True))


def test_a_parameter_that_a_stage_leaves_alone_has_no_gradient(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would clear it, and it would count more and more in the norm that is clipped."""
    seen: list[bool] = []
    make = make_optimiser

    def spied(encoder: Any, *more: Any) -> torch.optim.Optimizer:
        seen.append(encoder.log_idf.grad is not None)
        return make(encoder, *more)

    monkeypatch.setattr(loop, "make_optimiser", spied)
    train(two_rankings(yaml), dataset, tmp_path / "model")
    assert seen == [False, False]


def test_other_runtime_errors_are_no_memory_problem() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match")) and not is_out_of_memory(ValueError("memory"))


def test_micro_batches_may_change_on_resume_but_the_recipe_may_not(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(OsparseError):
        failing(3, MemoryError(), patch)
        train(yaml, dataset, tmp_path / "model")
    with pytest.raises(InputError, match="another configuration"):
        train(yaml, dataset, tmp_path / "model", resume=True, overrides=["loop.precision=bf16"])
    sets = ["loop.micro_batch=2", "loop.gradient_checkpointing=true", "checkpoint_every=3"]
    assert train(yaml, dataset, tmp_path / "model", resume=True, overrides=sets).metrics["stage"] == "ranking"


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    for stage, step in ((0, 2), (0, 4), (0, 400), (1, 2)):
        save_checkpoint(tmp_path, RunState("x", stage, step), model, None, keep=3)
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "0000-00000004", "0000-00000400", "0001-00000002",
    ]  # fmt: skip
    found = read_checkpoint(tmp_path, "x").run_state
    assert (found.stage, found.step) == (1, 2)
    assert not (tmp_path / "checkpoint.new").exists()


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    """What a kill leaves while writing: a folder beside, or nothing."""
    save_checkpoint(tmp_path, RunState("x", 0, 2), torch.nn.Linear(2, 2), None)
    for name in ("checkpoint.new", ".checkpoint.new.abc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tensors.safetensors").write_bytes(b"half")
    assert read_checkpoint(tmp_path, "x").run_state.step == 2
    save_checkpoint(tmp_path, RunState("x", 0, 4), torch.nn.Linear(2, 2), None)
    assert read_checkpoint(tmp_path, "x").run_state.step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_stage_s_state_comes_back(tmp_path: Path) -> None:
    state: dict[str, Any] = {"multiplier": 1.5, "frequency": torch.tensor([1.0, 2.0]), "empty": None}
    save_checkpoint(tmp_path, RunState("x", 0, 2), torch.nn.Linear(2, 2), None, stage=state, scaler={"scale": 8.0})
    found = read_checkpoint(tmp_path, "x")
    assert found.scaler == {"scale": 8.0} and found.stage_state.keys() == state.keys()
    assert found.stage_state["multiplier"] == 1.5 and torch.equal(found.stage_state["frequency"], state["frequency"])


def test_two_trainings_do_not_share_a_run_folder(yaml: Path, dataset: Dataset, tmp_path: Path) -> None:
    refused: list[Any] = []

    def second(task: str, step: int) -> None:
        if not refused:
            with pytest.raises(InputError, match="in use by another") as error:
                train(yaml, dataset, tmp_path / "model")
            refused.append(error)

    train(yaml, dataset, tmp_path / "model", on_step=second)
    assert refused
