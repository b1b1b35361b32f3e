"""What the loop asks of a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepResult:
    """What a step was made of."""

    parts: dict[str, float]
    """``loss`` and what else is worth a line in the log."""
    queries: list[str]
    """Ids of the queries of the batch, to name them when the loss is not a number."""


class Stage(Protocol):
    """A part of training with its own loss. A step is a function of its number and the weights alone."""

    def backward(self, step: int) -> StepResult:
        """Accumulate the gradients of step ``step``'s loss."""

    def finish(self) -> None:
        """Called once after the last step."""
