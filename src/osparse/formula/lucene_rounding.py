"""What a Lucene FeatureField keeps of a weight, and the score that follows from it."""

from __future__ import annotations

import math
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


def up_to_tenth(value: float) -> float:
    """The next tenth, at least 0.1: the ceiling below which SEISMIC keeps 8 bits of a weight.

    A weight that is a tenth in 32 bits, as those of an IDF table may be, is that tenth.
    """
    return max(0.1, math.ceil(round(value * 10, 4)) / 10)
