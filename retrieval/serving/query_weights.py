"""Query weights before they are sent: reshaped, split into two phases, joined by those of the first hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import Feedback, QueryWeights


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


def joining(
    own_sum: float, documents: Sequence[NDArray[np.float64]], scores: Sequence[float], choice: Feedback
) -> NDArray[np.float64]:
    """What joins a query: (U,) weights >= 0, of which at most ``choice.tokens`` are above 0.

    The mean of the documents' weights times IDF, each document counting by its score; the largest are kept and scaled
    to ``choice.share`` of the query's own sum.

    Args:
        own_sum: Sum of the query's own weights.
        documents: (U,) stored weight times IDF of each of the first hits, over the tokens of any of them; at least one.
        scores: Of these hits, above 0.
    """
    counted = list(zip(documents, scores, strict=True))[: choice.documents]
    total = sum(score for _, score in counted)
    mean = np.sum([weights * (score / total) for weights, score in counted], axis=0)
    order = np.argsort(-mean, kind="stable")
    mean[order[choice.tokens :]] = 0
    amount = mean.sum()
    return np.asarray(mean * (choice.share * own_sum / amount) if amount > 0 else mean, dtype=np.float64)
