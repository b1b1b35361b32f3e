"""The emulated index: what neural-search, OpenSearch and Lucene do with the weights of a document.

Read in neural-search (PruneUtils, SparseVector, ByteQuantizer), OpenSearch (RankFeaturesFieldMapper) and Lucene
(FeatureField), and measured on a real 3.4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from osparse.errors import CheckError
from osparse.formula.seismic_ceiling import DEFAULT_CEILINGS
from osparse.opensearch_versions import SEISMIC_IDS

PruneType = Literal["none", "max_ratio", "alpha_mass", "top_k", "abs_value"]
"""``prune_type`` of a ``sparse_encoding`` processor."""
MIN_NORMAL = float(np.finfo(np.float32).tiny)
"""1.1754944e-38, the smallest weight a rank_features field takes."""
MAX_TERM_BYTES = 32_766
"""Lucene's longest term."""
MAX_QUERY_WEIGHT = 64.0
LEVELS = 255
"""Steps of a byte."""


def prune(weights: Mapping[str, float], kind: PruneType, ratio: float = 0.0) -> dict[str, float]:
    """What a ``sparse_encoding`` processor keeps; raises :class:`CheckError` for weights it refuses."""
    if any(weight <= 0 for weight in weights.values()):
        raise CheckError("the ingest processor refuses a weight of 0 or less: Pruned values must be positive")
    falling = sorted(weights.items(), key=lambda item: -item[1])
    if kind == "max_ratio":
        return {t: w for t, w in falling if np.float32(w) / np.float32(falling[0][1]) >= np.float32(ratio)}
    if kind == "abs_value":
        return {t: w for t, w in falling if w >= ratio}
    if kind == "top_k":
        return dict(falling[: int(ratio)])
    if kind == "alpha_mass":
        total, kept = np.float32(sum(weights.values())), np.float32(0)
        stored: dict[str, float] = {}
        for token, weight in falling:
            kept += np.float32(weight)
            stored[token] = weight
            if kept / total >= np.float32(ratio):
                break
        return stored
    return dict(weights)


def rank_features(weights: Mapping[str, float]) -> dict[str, float]:
    """What a rank_features field stores: a float32 without its 15 lowest bits; raises :class:`CheckError` if refused.

    Source: FeatureField writes ``floatToIntBits(value) >>> 15`` as a term frequency.
    """
    stored = {}
    for token, weight in weights.items():
        if not MIN_NORMAL <= np.float32(weight) < np.inf:
            raise CheckError(f"rank_features refuses {token!r}: {weight}: it must be a positive normal float")
        if len(token.encode()) > MAX_TERM_BYTES:
            raise CheckError(f"rank_features refuses a token of {len(token.encode()):,} bytes")
        frequency = int(np.float32(weight).view(np.uint32)) >> 15
        stored[token] = float(np.uint32(frequency << 15).view(np.float32))
    return stored


def score(query: Mapping[str, float], stored: Mapping[str, float]) -> float:
    """neural_sparse over a rank_features field; raises :class:`CheckError` for a query weight that fails the query."""
    bad = [token for token, weight in query.items() if not 0 < weight <= MAX_QUERY_WEIGHT]
    if bad:
        raise CheckError(f"the whole query fails over {bad[:3]}: a weight must be in (0, {MAX_QUERY_WEIGHT:g}]")
    return float(sum(np.float32(weight) * np.float32(stored[t]) for t, weight in query.items() if t in stored))


@dataclass(frozen=True)
class Seismic:
    """A sparse_vector field of method ``seismic``: folded ids, byte weights."""

    ceiling_ingest: float = DEFAULT_CEILINGS["ingest"]
    """``quantization_ceiling_ingest``; a document weight above it is stored as it."""
    ceiling_search: float = DEFAULT_CEILINGS["search"]
    fold: int = SEISMIC_IDS
    """The modulus of token ids, ``Target.seismic_fold``; an id of 32,768 or more costs a 3.3 to 3.8 the shard."""

    def store(self, weights: Mapping[int, float], ceiling: float | None = None) -> dict[int, int]:
        """{token id: weight} -> {folded id: 0..255}; of ids that fold onto each other the larger weight stays."""
        quantised = to_bytes(np.array([*weights.values()], np.float32), ceiling or self.ceiling_ingest).tolist()
        stored: dict[int, int] = {}
        for token, weight in zip(weights, quantised, strict=True):
            folded = token % self.fold
            stored[folded] = max(stored.get(folded, 0), weight)
        return stored

    def score(self, query: Mapping[int, float], document: Mapping[int, float]) -> float:
        """The score once a segment holds enough documents to be searched this way."""
        return self.score_stored(self.store(query, self.ceiling_search), self.store(document))

    def score_stored(self, query: Mapping[int, int], document: Mapping[int, int]) -> float:
        """The same of what :meth:`store` gave, the query's with the search ceiling."""
        rescale = np.float32(self.ceiling_search) * np.float32(self.ceiling_ingest) / np.float32(LEVELS**2)
        return float(sum(weight * document[token] for token, weight in query.items() if token in document) * rescale)


def to_bytes(weights: NDArray[np.float32] | np.float32, ceiling: float) -> NDArray[np.int64]:
    """(N,) weights -> (N,) 0..255: clipped at the ceiling, rounded half up as Java rounds."""
    clipped = np.clip(np.asarray(weights, np.float32), 0, np.float32(ceiling))
    levels: NDArray[np.int64] = np.floor(clipped * np.float32(LEVELS) / np.float32(ceiling) + np.float32(0.5)).astype(
        np.int64
    )
    return levels
