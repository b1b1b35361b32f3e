"""The training loop: stages in order, each step logged, measured and checkpointed; it can be stopped and resumed.

The same for one process and for many: a stage's gradients are those of the global batch (trainer.compute.distributed),
the main process logs, validates and writes, and the others wait for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import CheckError
from osparse.io.progress import progress as show_progress
from osparse.trainer.compute.distributed import World, any_process, broadcast, from_main, main_process
from osparse.trainer.compute.gradient_cache import random_state
from osparse.trainer.compute.optimiser import make_optimiser
from osparse.trainer.compute.precision import LossScaler
from osparse.trainer.compute.signals import stop_signals
from osparse.trainer.config.run_config import LoopConfig, MaskedLm, Ranking, ValidationConfig
from osparse.trainer.loop.checkpoint import RunState, TrainingCheckpoint, restore, save_checkpoint, weights_of
from osparse.trainer.loop.step import OutOfMemory, Stepper, StepReport
from osparse.trainer.loop.validation import Validation
from osparse.trainer.report.run_log import RunLog
from osparse.trainer.stages.base import Stage
from osparse.trainer.stages.ranking import set_dropout

log = logging.getLogger("osparse.trainer.loop.loop")
LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl."""
START = "start"
"""Name of the stage under which the model before training is measured."""
OnStep = Callable[[str, int], None]
"""(task of the stage, number of the step), called in each process before an optimiser step."""


@dataclass
class Run:
    """What the loop works with."""

    folder: Path
    encoder: SparseEncoder
    stages: Sequence[tuple[MaskedLm | Ranking, Callable[[], Stage]]]
    """Configuration of each stage, and the function that makes the stage when its turn comes."""
    validation: Validation
    validation_config: ValidationConfig
    checkpoint_every: int
    loop_config: LoopConfig
    world: World
    log: RunLog | None
    """Of the main process; None in the others."""
    on_step: OnStep | None = None


@dataclass
class _LogClock:
    """Time per step since the last line of the log."""

    logged_at: float
    """Seconds of time.monotonic."""
    steps: int = 0

    def seconds_per_step(self) -> float:
        now = time.monotonic()
        seconds, self.logged_at, self.steps = (now - self.logged_at) / self.steps, now, 0
        return seconds


@dataclass(frozen=True, eq=False)
class _StateBeforeStep:
    """What a step changes beside the weights; a checkpoint of a failed step takes it."""

    random: list[Tensor]
    stage: dict[str, Any]


def measure_start(run: Run, state: RunState) -> None:
    """Measure the model before its first step; it is the best one until a later measurement is better."""
    metrics = _measure(run, state, START)
    state.start = {"stage": START, "step": 0, **metrics}
    state.best, state.best_weights = state.start, weights_of(run.encoder)


def run_stages(run: Run, state: RunState, checkpoint: TrainingCheckpoint | None) -> None:
    """Train to the end; on return the encoder holds the last weights, and ``state`` the best.

    Raises:
        CheckError: the loss is not finite; a checkpoint of the step before it is kept.
        OsparseError: memory ended; a checkpoint is kept.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint was written.
    """
    run.encoder.train()
    with stop_signals() as stopped:
        for number, (config, make_stage) in enumerate(run.stages):
            if number < state.stage:
                set_dropout(run.encoder, getattr(config, "dropout", None))  # it holds in the later stages too
                continue
            stepper = _stepper(run, config, make_stage)
            if checkpoint is not None:
                _restore(run, checkpoint, stepper)
                checkpoint = None
            _run_stage(run, state, stepper, stopped)
    if checkpoint is not None:  # written at the very end
        restore(checkpoint, run.encoder, None, process=run.world.rank, processes=run.world.size)


def _stepper(run: Run, config: MaskedLm | Ranking, make_stage: Callable[[], Stage]) -> Stepper:
    own_rates = {"log_idf": getattr(config, "idf_lr", None)}
    optimiser = make_optimiser(run.encoder, config.lr, own_rates)
    scaler = LossScaler(run.loop_config, run.world.device)
    return Stepper(run.encoder, config, make_stage(), optimiser, scaler, run.loop_config.micro_batch, run.folder)


def _restore(run: Run, checkpoint: TrainingCheckpoint, stepper: Stepper) -> None:
    restore(checkpoint, run.encoder, stepper.optimiser, process=run.world.rank, processes=run.world.size)
    if checkpoint.run_state.step:  # else it was written at the end of the stage before
        stepper.stage.load_state_dict(checkpoint.stage_state)
        stepper.scaler.load_state_dict(checkpoint.scaler)


def _run_stage(run: Run, state: RunState, stepper: Stepper, stopped: threading.Event) -> None:
    """All remaining steps of a stage; a checkpoint follows the last one, an interruption and a failed step."""
    config, clock = stepper.config, _LogClock(time.monotonic())
    with show_progress(config.task, config.step_count, "steps") as bar:
        bar.advance(state.step)
        while state.step < config.step_count:
            report = _take_step(run, state, stepper)
            clock.steps += 1
            if (state.step - 1) % LOG_EVERY == 0 or state.step == config.step_count:
                _log_step(run, state, config, report, clock)
            bar.advance(1, _note(report, state.best))
            _after_step(run, state, stepper, stopped)
            if state.step == 0:  # the stage is finished
                return


def _take_step(run: Run, state: RunState, stepper: Stepper) -> StepReport:
    """One step; if it fails, a checkpoint of the state before it is written."""
    before = _StateBeforeStep(random_state(), stepper.stage.state_dict())
    if run.on_step is not None:
        run.on_step(stepper.config.task, state.step)
    try:
        report = stepper.step(state.step)
    except (CheckError, OutOfMemory) as problem:
        if isinstance(problem, CheckError) or run.world.size == 1:  # all processes raise a CheckError in the same step
            _save(run, state, stepper, before)
        raise
    state.step += 1
    return report


def _after_step(run: Run, state: RunState, stepper: Stepper, stopped: threading.Event) -> None:
    """Measure and write a checkpoint where they are due; raises KeyboardInterrupt if the run was asked to stop."""
    config = stepper.config
    last = state.step == config.step_count
    if last:
        stepper.stage.finish()
        broadcast(run.encoder.parameters())
    if last or (isinstance(config, Ranking) and state.step % run.validation_config.steps_between == 0):
        _validate(run, state, config)
    stop = any_process(stopped.is_set())
    if last:
        state.stage, state.step = state.stage + 1, 0
        save_checkpoint(run.folder, state, run.encoder, None, keep=run.loop_config.checkpoints_keep)
    elif stop or state.step % run.checkpoint_every == 0:
        _save(run, state, stepper)
    if stop:
        log.warning("stopped in the stage %s; continue with `resume=True`", config.task)
        raise KeyboardInterrupt


def _save(run: Run, state: RunState, stepper: Stepper, before: _StateBeforeStep | None = None) -> None:
    save_checkpoint(
        run.folder, state, run.encoder, stepper.optimiser,
        stage=before.stage if before else stepper.stage.state_dict(), scaler=stepper.scaler.state_dict(),
        random=before.random if before else None, keep=run.loop_config.checkpoints_keep,
    )  # fmt: skip


def _log_step(run: Run, state: RunState, config: MaskedLm | Ranking, report: StepReport, clock: _LogClock) -> None:
    seconds = clock.seconds_per_step()
    norm = report.gradient_norm
    values = {"lr": report.rate, **report.result.parts, "gradient": norm if math.isfinite(norm) else None}
    if run.world.device.type == "cuda":
        values["gpu_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    if run.log is not None:
        position = {"part": state.stage, "stage": config.task, "step": state.step, "steps": config.step_count}
        run.log.write("step", **position, **values, step_seconds=round(seconds, 4))


def _validate(run: Run, state: RunState, config: MaskedLm | Ranking) -> None:
    """Measure, and keep the weights if they are the best of the last stage so far, or simply the last."""
    metrics = {"stage": config.task, "step": state.step, **_measure(run, state, config.task)}
    if state.stage == len(run.stages) - 1:
        state.last = metrics
        if run.validation_config.trained_on or metrics["ndcg"] > state.best.get("ndcg", -1.0):
            state.best, state.best_weights = metrics, weights_of(run.encoder)


def _measure(run: Run, state: RunState, stage: str) -> dict[str, Any]:
    """The validation's figures, the same in all processes; the main one writes them to the log."""
    metrics: dict[str, Any] = from_main(run.validation.measure(run.encoder) if main_process() else None)
    run.encoder.train()
    if run.log is not None:
        run.log.write("validation", part=state.stage, stage=stage, step=state.step, **metrics)
        log.info(
            "validation nDCG@10 %.4f%s, %.0f non-zeros, %s step %d",
            metrics["ndcg"],
            " (trained on)" if run.validation_config.trained_on else "",
            metrics["nonzeros"],
            stage,
            state.step,
        )
        if metrics["empty"] > 0:
            log.warning("%.1f%% of the documents have no weight left: lower sparsity.weight", 100 * metrics["empty"])
    return metrics


def _note(report: StepReport, best: dict[str, Any]) -> str:
    parts = [f"{name} {value:.4g}" for name, value in report.result.parts.items() if name != "labels"]
    return "  ".join([*parts, *([f"best nDCG {best['ndcg']:.3f}"] if best else [])])
