"""Fusion of BM25 and sparse results, as neural-search's processors compute it on an index of one shard.

Sources: ``normalization-processor`` (min_max, l2, z_score x arithmetic, geometric, harmonic mean) and
``score-ranker-processor`` (RRF, Cormack, Clarke and Buettcher, SIGIR 2009) of opensearch-project/neural-search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import Hybrid, Normalisation

MIN_SCORE = 0.001
"""What a document gets whose normalised score would be 0 (or below, by z_score)."""
DEPTH = 100
"""Documents of each search that are fused."""


def fused(bm25: Mapping[str, float], sparse: Mapping[str, float], choice: Hybrid, weight: float) -> dict[str, float]:
    """Document -> fused score, by falling score, equal scores by rising id.

    Args:
        bm25, sparse: Document -> score, best first; of each the first :data:`DEPTH` are used.
        weight: Of ``sparse``; BM25 has 1 - weight.
    """
    lists = [dict(list(scores.items())[:DEPTH]) for scores in (bm25, sparse)]
    weights = (1 - weight, weight)
    if choice.normalisation == "rrf":
        parts = [_reciprocal_ranks(scores, choice.rank_constant) for scores in lists]
        combined = {d: sum(w * part.get(d, 0.0) for w, part in zip(weights, parts, strict=True)) for d in _all(lists)}
    else:
        parts = [_normalised(scores, choice.normalisation) for scores in lists]
        combined = {d: _combine([part.get(d, 0.0) for part in parts], weights, choice) for d in _all(lists)}
    return dict(sorted(combined.items(), key=lambda pair: (-pair[1], pair[0])))


def normalised(scores: NDArray[np.float64], technique: Normalisation) -> NDArray[np.float64]:
    """(N,) scores of one query's documents -> (N,) by min_max, l2 or z_score."""
    if not len(scores):
        return scores
    if technique == "l2":
        length = float(np.sqrt((scores**2).sum()))
        return np.asarray(scores / length if length > 0 else np.full_like(scores, MIN_SCORE), dtype=np.float64)
    low, high = scores.min(), scores.max()
    if technique == "min_max":
        if low == high:
            return np.ones_like(scores)
        part = (scores - low) / (high - low)
        return np.where(part == 0, MIN_SCORE, part)
    deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
    if deviation == 0:
        return np.full_like(scores, high)
    part = (scores - scores.mean()) / deviation
    return np.where(part <= 0, MIN_SCORE, part)


def _normalised(scores: Mapping[str, float], technique: Normalisation) -> dict[str, float]:
    values = normalised(np.fromiter(scores.values(), np.float64), technique)
    return dict(zip(scores, values.tolist(), strict=True))


def _reciprocal_ranks(scores: Mapping[str, float], constant: int) -> dict[str, float]:
    return {document: 1 / (constant + rank) for rank, document in enumerate(scores, start=1)}


def _combine(scores: Sequence[float], weights: Sequence[float], choice: Hybrid) -> float:
    """Scores of 0 (the search did not find the document) count in the arithmetic mean only."""
    pairs = [(w, s) for w, s in zip(weights, scores, strict=True) if s > 0 or choice.combination == "arithmetic_mean"]
    total = sum(w for w, _ in pairs)
    if total == 0:
        return 0.0
    if choice.combination == "arithmetic_mean":
        return sum(w * s for w, s in pairs) / total
    if choice.combination == "geometric_mean":
        return float(np.exp(sum(w * np.log(s) for w, s in pairs) / total))
    return total / sum(w / s for w, s in pairs)


def _all(lists: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(document for scores in lists for document in scores))
