"""nDCG, success and recall of one query's ranking, as trec_eval defines them (ndcg_cut, success, recall).

A document without a grade has grade 0, and so has one whose grade is below 0. A document that a ranking repeats counts
at its first rank only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Discounted gain of the first ``depth`` documents as a share of the best possible; 0 without a relevant document.

    Gain: the grade. Discount of rank r = 1, 2, ...: log2(r + 1). Source: Jaervelin and Kekaelaeinen, TOIS 2002.
    """
    best = np.sort(np.array([grade for grade in grades.values() if grade > 0], np.float64))[::-1][:depth]
    if not len(best):
        return 0.0
    return float(_discounted(_gains(ranking, grades, depth)) / _discounted(best))


def success(ranking: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """1 if a relevant document is among the first ``depth``, else 0."""
    return float((_gains(ranking, grades, depth) > 0).any())


def recall(ranking: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Share of the relevant documents that is among the first ``depth``; 0 without a relevant document."""
    relevant = sum(grade > 0 for grade in grades.values())
    return int((_gains(ranking, grades, depth) > 0).sum()) / relevant if relevant else 0.0


def _gains(ranking: Sequence[str], grades: Mapping[str, int], depth: int) -> NDArray[np.float64]:
    """(at most ``depth``,) grades by rank, at least 0."""
    first = list(dict.fromkeys(ranking))[:depth]
    return np.array([max(0, grades.get(document, 0)) for document in first], np.float64)


def _discounted(gains: NDArray[np.float64]) -> np.float64:
    return np.float64((gains / np.log2(np.arange(2, len(gains) + 2))).sum())
