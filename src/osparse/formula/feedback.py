"""Feedback without a model: what the stored weights of a query's first hits join to the query.

The idea is that of E2Rank (arXiv 2510.22733), in sparse space. Searches and training use this one formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FeedbackChoice(Protocol):
    """How much joins a query."""

    @property
    def documents(self) -> int:
        """The first so many hits are used."""

    @property
    def tokens(self) -> int:
        """At most so many tokens join, the heaviest."""

    @property
    def share(self) -> float:
        """Sum of the weights that join, as a share of the sum of the query's own."""


def joining(
    own_sum: float, documents: Sequence[NDArray[np.float64]], scores: Sequence[float], choice: FeedbackChoice
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
