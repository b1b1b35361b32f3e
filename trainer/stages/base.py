"""The protocol of a training stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class StepResult:
    """Figures of a step and the queries in it."""

    parts: dict[str, float]
    """``loss`` and what else is worth a line in the log; of the global batch, the same in all processes."""
    queries: list[str]
    """Ids of the queries of the batch, to name them when the loss is not a number."""


class Stage(Protocol):
    """A part of training with its own loss.

    A step is a function of its number, the weights and :meth:`state_dict`. In several processes each makes the same
    global batch, encodes its share of it and computes the global loss; see osparse.trainer.compute.distributed.
    """

    def backward(self, step: int, scale: float = 1.0) -> StepResult:
        """Accumulate the gradients of ``scale`` x the loss of step ``step``; the loop sums them over processes.

        ``scale`` keeps fp16 gradients above underflow; the parts reported are without it.
        """

    def finish(self) -> None:
        """Called once after the last step, in every process."""

    def state_dict(self) -> dict[str, Any]:
        """What the stage remembers between steps (a controller's lambda, a running mean): JSON values and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a checkpoint's :meth:`state_dict`."""


class Stateless:
    """For a stage whose steps depend on nothing that came before but the weights."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """There is nothing to load."""
