"""What changes with the optimiser step; pure functions of it, so that a resumed run needs no state for them."""

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


def quadratic_warmup(step: int, steps: int, *, weight: float, warmup: float, floor: float = 0.0) -> float:
    """lambda(t) = weight * (r + (1 - r) * min(1, (t + 1) / T)^2), T = warmup x steps (arXiv 2004.05665; r is 0 there).

    Steps are the optimiser's: accumulating a step's gradients in parts does not hasten it.
    """
    rising = warmup * steps
    risen = min(1.0, (step + 1) / rising) ** 2 if rising > 0 else 1.0
    return weight * (floor + (1 - floor) * risen)
