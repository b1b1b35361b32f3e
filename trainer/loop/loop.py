"""The loop: stages in order, one optimiser step at a time, logged, measured, checkpointed, stoppable.

The same for one process and for many: a stage's gradients are of the global batch (trainer.compute.distributed),
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
from torch import Tensor, nn

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import CheckError, OsparseError
from osparse.io.progress import progress as show_progress
from osparse.trainer.compute.distributed import World, any_process, broadcast, from_main, main_process, sum_gradients
from osparse.trainer.compute.gradient_cache import random_state
from osparse.trainer.compute.memory import is_out_of_memory, out_of_memory
from osparse.trainer.compute.optimiser import CLIP, make_optimiser, set_rates
from osparse.trainer.compute.precision import Scaler
from osparse.trainer.compute.signals import stop_signals
from osparse.trainer.config.run_config import LoopConfig, MaskedLm, Ranking, ValidationConfig
from osparse.trainer.loop.checkpoint import Checkpoint, Progress, restore, save_checkpoint, weights_of
from osparse.trainer.loop.validation import Validation
from osparse.trainer.report.run_log import RunLog
from osparse.trainer.stages.base import Stage, StepResult
from osparse.trainer.stages.ranking import set_dropout

log = logging.getLogger("osparse.trainer.loop.loop")
LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl."""


@dataclass
class Run:
    """What the loop works with."""

    folder: Path
    encoder: SparseEncoder
    stages: Sequence[tuple[MaskedLm | Ranking, Callable[[], Stage]]]
    """Configuration, and what makes the stage when it is its turn."""
    validation: Validation
    measuring: ValidationConfig
    checkpoint_every: int
    loop: LoopConfig
    world: World
    log: RunLog | None
    """Of the main process; None in the others."""


@dataclass
class _Turn:
    """The stage whose turn it is."""

    config: MaskedLm | Ranking
    stage: Stage
    optimiser: torch.optim.Optimizer
    scaler: Scaler
    logged: float
    """When the last line of the log was written, in seconds of time.monotonic."""
    steps: int = 0
    """Steps since then."""


@dataclass(frozen=True, eq=False)
class _Before:
    """What a step changes beside the weights, as it was before a step that failed."""

    random: list[Tensor]
    stage: dict[str, Any]


class _NoMemory(OsparseError):
    """Memory ended in a backward pass; the weights are those before the step."""


def run_stages(run: Run, progress: Progress, checkpoint: Checkpoint | None) -> None:
    """Train to the end; on return the encoder holds the last weights, and ``progress`` the best.

    Raises:
        CheckError: the loss is no longer a number; a checkpoint of the step before it is kept.
        OsparseError: memory ended; a checkpoint is kept.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint was written.
    """
    run.encoder.train()
    with stop_signals() as stopped:
        for number, (config, make) in enumerate(run.stages):
            if number < progress.stage:
                set_dropout(run.encoder, getattr(config, "dropout", None))  # a stage's holds for those after it too
            else:
                turn = _turn(run, config, make)
                if checkpoint is not None:
                    _restore(run, checkpoint, turn)
                    checkpoint = None
                _run_stage(run, progress, turn, stopped)
    if checkpoint is not None:  # it is of the very end
        restore(checkpoint, run.encoder, None, process=run.world.rank, processes=run.world.size)


def _turn(run: Run, config: MaskedLm | Ranking, make: Callable[[], Stage]) -> _Turn:
    own_rates = {"log_idf": getattr(config, "idf_lr", None)}
    optimiser = make_optimiser(run.encoder, config.lr, own_rates)
    return _Turn(config, make(), optimiser, Scaler(run.loop, run.world.device), time.monotonic())


def _restore(run: Run, checkpoint: Checkpoint, turn: _Turn) -> None:
    restore(checkpoint, run.encoder, turn.optimiser, process=run.world.rank, processes=run.world.size)
    if checkpoint.progress.step:  # else it was written at the end of the stage before
        turn.stage.load_state_dict(checkpoint.stage_state)
        turn.scaler.load_state_dict(checkpoint.scaler)


def _run_stage(run: Run, progress: Progress, turn: _Turn, stopped: threading.Event) -> None:
    """All steps of a stage that are left; a checkpoint follows its last, an interruption and a step gone wrong."""
    config = turn.config
    with show_progress(config.task, config.steps, "steps") as bar:
        bar.advance(progress.step)
        while progress.step < config.steps:
            before = _Before(random_state(), turn.stage.state_dict())
            try:
                result = _step(run, config, turn.stage, progress, turn)
            except (CheckError, _NoMemory) as problem:
                if isinstance(problem, CheckError) or run.world.size == 1:  # which all processes meet in one step
                    _keep(run, progress, turn, before)
                raise
            bar.advance(1, _note(result, progress.best))
            last = progress.step == config.steps
            if last:
                turn.stage.finish()
                broadcast(run.encoder.parameters())
            if last or (isinstance(config, Ranking) and progress.step % run.measuring.every == 0):
                _validate(run, progress, config)
            stop = any_process(stopped.is_set())
            if last:
                progress.stage, progress.step = progress.stage + 1, 0
                save_checkpoint(run.folder, progress, run.encoder, None, keep=run.loop.checkpoints_keep)
            elif stop or progress.step % run.checkpoint_every == 0:
                _keep(run, progress, turn)
            if stop:
                log.warning("stopped in the stage %s; go on with --resume", config.task)
                raise KeyboardInterrupt
            if last:
                return


def _keep(run: Run, progress: Progress, turn: _Turn, before: _Before | None = None) -> None:
    save_checkpoint(
        run.folder, progress, run.encoder, turn.optimiser, stage=before.stage if before else turn.stage.state_dict(),
        scaler=turn.scaler.state_dict(), random=before.random if before else None, keep=run.loop.checkpoints_keep,
    )  # fmt: skip


def _step(run: Run, config: MaskedLm | Ranking, stage: Stage, progress: Progress, turn: _Turn) -> StepResult:
    """One optimiser step; raises :class:`CheckError`, and leaves the weights alone, if its loss is not a number."""
    step, optimiser = progress.step, turn.optimiser
    rate = set_rates(optimiser, config, step)
    optimiser.zero_grad(set_to_none=True)
    try:
        result = stage.backward(step, turn.scaler.scale)
    except (RuntimeError, MemoryError) as problem:
        if not is_out_of_memory(problem):
            raise
        optimiser.zero_grad(set_to_none=True)
        where = f"{config.task}, step {step}"
        raise _NoMemory(str(out_of_memory(problem, where, run.loop.micro_batch, run.folder))) from problem
    sum_gradients(run.encoder.parameters())
    turn.scaler.unscale(optimiser)
    norm = float(nn.utils.clip_grad_norm_(run.encoder.parameters(), CLIP))
    if not math.isfinite(result.parts["loss"]) or not (math.isfinite(norm) or turn.scaler.forgives):
        raise CheckError(
            f"{config.task}, step {step}: the loss is {result.parts['loss']} and the gradient norm {norm}; the weights "
            f"before it are in {run.folder}. Lower the learning rate, or look at the batch's queries: "
            + ", ".join(result.queries[:20])
        )
    turn.scaler.step(optimiser)
    progress.step += 1
    turn.steps += 1
    if step % LOG_EVERY == 0 or progress.step == config.steps:
        _log(run, progress, turn, {"lr": rate, **result.parts, "gradient": norm if math.isfinite(norm) else None})
    return result


def _log(run: Run, progress: Progress, turn: _Turn, values: dict[str, Any]) -> None:
    now = time.monotonic()
    each, turn.logged, turn.steps = (now - turn.logged) / turn.steps, now, 0
    about = {"part": progress.stage, "stage": turn.config.task, "step": progress.step, "steps": turn.config.steps}
    if run.world.device.type == "cuda":
        values["gpu_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    if run.log is not None:
        run.log.write("step", **about, **values, step_seconds=round(each, 4))


def _validate(run: Run, progress: Progress, config: MaskedLm | Ranking) -> None:
    """Measure, and keep the weights if they are the best of the last stage so far, or simply the last."""
    found = from_main(run.validation.measure(run.encoder) if main_process() else None)
    run.encoder.train()
    about = {"stage": config.task, "step": progress.step}
    if run.log is not None:
        run.log.write("validation", part=progress.stage, **about, **found)
        log.info(
            "validation nDCG@10 %.4f%s, %.0f non-zeros, %s step %d",
            found["ndcg"],
            " (trained on)" if run.measuring.trained_on else "",
            found["nonzeros"],
            *about.values(),
        )
        if found["empty"] > 0:
            log.warning("%.1f%% of the documents have no weight left: lower sparsity.weight", 100 * found["empty"])
    better = run.measuring.trained_on or found["ndcg"] > progress.best.get("ndcg", -1.0)
    if progress.stage == len(run.stages) - 1 and better:
        progress.best = {**about, **found}
        progress.best_weights = weights_of(run.encoder)


def _note(result: StepResult, best: dict[str, Any]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in result.parts.items() if name != "labels"]
    return "  ".join([*shown, *([f"best nDCG {best['ndcg']:.3f}"] if best else [])])
