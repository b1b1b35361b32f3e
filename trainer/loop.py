"""The loop: stages in order, one optimiser step at a time, logged, measured, checkpointed, stoppable.

One process today. The seam for more is here: a step's gradients are all that a stage makes (``Stage.backward``), and
its batch is a function of the step's number.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from osparse.encoder import SparseEncoder
from osparse.errors import CheckError
from osparse.progress import progress as show_progress
from osparse.trainer.checkpoint import Progress, load_tensors, restore, save_checkpoint, weights_of
from osparse.trainer.config import MaskedLm, Ranking
from osparse.trainer.runlog import RunLog
from osparse.trainer.schedules import learning_rate
from osparse.trainer.stage import Stage, StepResult
from osparse.trainer.validation import Validation

log = logging.getLogger("osparse.trainer.loop")
LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl."""
CLIP = 1.0
"""Largest gradient norm; BERT's."""
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01


@dataclass
class Run:
    """What the loop works with."""

    folder: Path
    encoder: SparseEncoder
    stages: Sequence[tuple[MaskedLm | Ranking, Callable[[], Stage]]]
    """Configuration, and what makes the stage when it is its turn."""
    validation: Validation
    validate_every: int
    checkpoint_every: int
    log: RunLog


def run_stages(run: Run, progress: Progress, *, resume: bool) -> None:
    """Train to the end; on return the encoder holds the best weights.

    Raises:
        CheckError: the loss is no longer a number; the last checkpoint is kept.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint was written.
    """
    tensors = load_tensors(run.folder) if resume else None
    run.encoder.train()
    with _stop_signals() as stopped:
        for number, (config, make) in enumerate(run.stages):
            if number >= progress.stage:
                optimiser = _optimiser(run.encoder, config.lr)
                if tensors is not None:
                    restore(tensors, progress, run.encoder, optimiser)
                    tensors = None
                _run_stage(run, progress, config, make, optimiser, stopped)
    if tensors is not None:  # the checkpoint is of the very end
        restore(tensors, progress, run.encoder, None)


def _run_stage(
    run: Run,
    progress: Progress,
    config: MaskedLm | Ranking,
    make: Callable[[], Stage],
    optimiser: torch.optim.Optimizer,
    stopped: threading.Event,
) -> None:
    """All steps of a stage that are left; a checkpoint follows its last, an interruption and a loss gone wrong."""
    stage = make()
    with show_progress(config.task, config.steps, "steps") as bar:
        bar.advance(progress.step)
        while progress.step < config.steps:
            try:
                result = _step(run, config, stage, progress, optimiser)
            except CheckError:
                save_checkpoint(run.folder, progress, run.encoder, optimiser)
                raise
            bar.advance(1, _note(result, progress.best))
            last = progress.step == config.steps
            if last:
                stage.finish()
            if last or (isinstance(config, Ranking) and progress.step % run.validate_every == 0):
                _validate(run, progress, config)
            if last:
                progress.stage, progress.step = progress.stage + 1, 0
                save_checkpoint(run.folder, progress, run.encoder, None)
            elif progress.step % run.checkpoint_every == 0 or stopped.is_set():
                save_checkpoint(run.folder, progress, run.encoder, optimiser)
            if stopped.is_set():
                log.warning("stopped in the stage %s; go on with --resume", config.task)
                raise KeyboardInterrupt
            if last:
                return


def _step(
    run: Run, config: MaskedLm | Ranking, stage: Stage, progress: Progress, optimiser: torch.optim.Optimizer
) -> StepResult:
    """One optimiser step; raises :class:`CheckError`, and leaves the weights alone, if its loss is not a number."""
    step = progress.step
    rate = learning_rate(config.schedule, step, config.steps, peak=config.lr, warmup=config.warmup)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    result = stage.backward(step)
    norm = float(nn.utils.clip_grad_norm_(run.encoder.parameters(), CLIP))
    if not math.isfinite(result.parts["loss"]) or not math.isfinite(norm):
        raise CheckError(
            f"{config.task}, step {step}: the loss is {result.parts['loss']} and the gradient norm {norm}; the weights "
            f"before it are in {run.folder}. Lower the learning rate, or look at the batch's queries: "
            + ", ".join(result.queries[:20])
        )
    optimiser.step()
    progress.step += 1
    if step % LOG_EVERY == 0 or progress.step == config.steps:
        about = {"part": progress.stage, "stage": config.task, "step": progress.step, "steps": config.steps}
        run.log.write("step", **about, lr=rate, **result.parts)
    return result


def _validate(run: Run, progress: Progress, config: MaskedLm | Ranking) -> None:
    """Measure, and keep the weights if they are the best of the last stage so far."""
    found = run.validation.measure(run.encoder)
    about = {"stage": config.task, "step": progress.step}
    run.log.write("validation", part=progress.stage, **about, **found)
    log.info("validation nDCG@10 %.4f, %.0f non-zeros, %s step %d", found["ndcg"], found["nonzeros"], *about.values())
    if found["empty"] > 0:
        log.warning("%.1f%% of the documents have no weight left: lower sparsity.weight", 100 * found["empty"])
    if progress.stage == len(run.stages) - 1 and found["ndcg"] > progress.best.get("ndcg", -1.0):
        progress.best = {**about, **found}
        progress.best_weights = weights_of(run.encoder)


def _optimiser(encoder: SparseEncoder, rate: float) -> torch.optim.Optimizer:
    """AdamW; no weight decay on biases and layer norms."""
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=True)


def _note(result: StepResult, best: dict[str, Any]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in result.parts.items() if name != "labels"]
    return "  ".join([*shown, *([f"best nDCG {best['ndcg']:.3f}"] if best else [])])


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second one ends at once. Does nothing outside the main thread."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        log.warning("stopping after this step; a checkpoint will be written")
        stopped.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
