"""The learning-rate schedule: a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math


def learning_rate(kind: str, step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Learning rate of step 0 <= step < steps: rises linearly for ``warmup`` x steps, then falls by ``kind`` to 0."""
    rising = int(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    if kind == "linear":
        return peak * (1 - done)
    if kind == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak
