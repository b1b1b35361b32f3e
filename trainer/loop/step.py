"""One optimiser step: gradients of the stage's loss, summed over processes, clipped and applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import CheckError, OsparseError
from osparse.trainer.compute.distributed import sum_gradients
from osparse.trainer.compute.optimiser import CLIP, set_rates
from osparse.trainer.compute.precision import LossScaler
from osparse.trainer.config.run_config import MaskedLm, Ranking
from osparse.trainer.stages.base import Stage, StepResult

ALLOCATOR_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_cpu")
"""What torch's CPU and device allocators say in a RuntimeError."""


@dataclass(frozen=True)
class StepReport:
    """A step that was applied."""

    result: StepResult
    rate: float
    """Learning rate of most parameters."""
    gradient_norm: float
    """Before clipping at :data:`CLIP`; infinite where fp16 gradients overflowed and the step was skipped."""


class OutOfMemory(OsparseError):
    """Memory ended in a backward pass; the weights are those before the step."""


@dataclass
class Stepper:
    """Everything that a step of one stage uses and changes."""

    encoder: SparseEncoder
    config: MaskedLm | Ranking
    stage: Stage
    optimiser: torch.optim.Optimizer
    scaler: LossScaler
    micro_batch: int | None
    folder: Path
    """Run folder, named in errors."""

    def step(self, number: int) -> StepReport:
        """Take optimiser step ``number`` of the stage.

        Raises:
            CheckError: the loss or the gradient is not finite; the weights are unchanged.
            OutOfMemory: the weights are unchanged.
        """
        rate = set_rates(self.optimiser, self.config, number)
        self.optimiser.zero_grad(set_to_none=True)
        result = self._backward(number)
        sum_gradients(self.encoder.parameters())
        self.scaler.unscale(self.optimiser)
        norm = float(nn.utils.clip_grad_norm_(self.encoder.parameters(), CLIP))
        loss = result.parts["loss"]
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.can_skip_step):
            raise CheckError(
                f"{self.config.task}, step {number}: the loss is {loss} and the gradient norm {norm}; the weights "
                f"before it are in {self.folder}. Lower the learning rate, or look at the batch's queries: "
                + ", ".join(result.queries[:20])
            )
        self.scaler.step(self.optimiser)
        return StepReport(result, rate, norm)

    def _backward(self, number: int) -> StepResult:
        try:
            return self.stage.backward(number, self.scaler.scale)
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem):
                raise
            self.optimiser.zero_grad(set_to_none=True)
            raise self._out_of_memory(problem, number) from problem

    def _out_of_memory(self, problem: BaseException, number: int) -> OutOfMemory:
        first_line = str(problem).strip().partition("\n")[0] or type(problem).__name__
        smaller = max(1, (self.micro_batch or 64) // 2)
        return OutOfMemory(
            f"{self.config.task}, step {number}: out of memory ({first_line}). A checkpoint is in {self.folder}; "
            f"continue with `resume=True` and the setting loop.micro_batch={smaller} or "
            "loop.gradient_checkpointing=true. Neither changes the result; a smaller max_length or batch of the stage "
            "also helps, but needs a new run"
        )


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception of torch or Python means that memory ended."""
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(problem, RuntimeError) and any(text in str(problem).lower() for text in ALLOCATOR_MESSAGES)
