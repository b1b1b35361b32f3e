"""What a Lucene FeatureField keeps of a weight, and the score that follows from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def quantise(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """What Lucene's FeatureField stores: the top 17 bits of the float32 (sign, exponent, 8 of 23 mantissa bits).

    Source: org.apache.lucene.document.FeatureField, ``freq = floatToIntBits(value) >> 15``. Relative error < 2^-8.
    """
    bits = np.asarray(weights, dtype=np.float32).view(np.uint32) & np.uint32(0xFFFF8000)
    return bits.view(np.float32)


def score(query: Mapping[str, float], document: Mapping[str, float]) -> float:
    """The dot product as the index computes it: full-precision query weights, stored document weights."""
    shared = [token for token in query if token in document]
    stored = quantise(np.array([document[token] for token in shared], dtype=np.float32))
    return float(np.dot(np.array([query[token] for token in shared], dtype=np.float64), stored.astype(np.float64)))
