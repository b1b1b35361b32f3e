"""Query weights before they are sent: reshaped, split into two phases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import QueryWeights


def reshaped(weights: NDArray[np.float64], choice: QueryWeights) -> NDArray[np.float64]:
    """(T,) weights > 0 -> (T,) weights, 0 where the token is dropped; ties are kept in the order given."""
    if not len(weights):
        return weights
    largest = weights.max()
    kept = weights >= choice.drop_ratio * largest
    if choice.top is not None:
        kept &= np.argsort(np.argsort(-weights, kind="stable"), kind="stable") < choice.top
    powered = weights if choice.power == 1 else largest * (weights / largest) ** choice.power
    return np.where(kept, powered, 0.0)


def reshaped_tokens(weights: Mapping[str, float], choice: QueryWeights) -> dict[str, float]:
    """Token -> weight, without the dropped ones, in the order given."""
    values = reshaped(np.fromiter(weights.values(), np.float64), choice)
    return {token: float(value) for token, value in zip(weights, values, strict=True) if value > 0}


def heavy(weights: NDArray[np.float64], ratio: float) -> NDArray[np.bool_]:
    """(T,) which tokens belong to the first phase: at least ``ratio`` of the heaviest."""
    return np.asarray(weights >= ratio * weights.max(initial=0.0), dtype=np.bool_)
