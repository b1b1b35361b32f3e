"""How similar two answers of an encoder must be where equal weights cannot be required: those of a quantised bundle.

The bundle's tolerance bounds the difference of any one weight. It can be as large as a weight is, so a broken encoder
may stay below it. The direction and the length of the whole vector, and the tokens it holds, show that it is broken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LEAST_COSINE = 0.97
"""Of a text's weights before and after."""
LEAST_SHARED = 0.7
"""Of a text's tokens above :data:`FLOOR`, before and after, as intersection over union."""
FLOOR = 1e-3
LEAST_LENGTH = 0.8
"""Of the shorter vector, in lengths of the longer one: a cosine does not depend on the scale."""

Vector = NDArray[np.float32] | NDArray[np.float64]


def unlike(answer: Mapping[str, float], expected: Mapping[str, float]) -> str | None:
    """In words, how {token: weight} falls short of being similar to what is expected; None if it is similar."""
    a, b = _aligned(answer, expected)
    similarity, shared, length = cosine(a, b), shared_tokens(a, b), _length_ratio(a, b)
    if similarity >= LEAST_COSINE and shared >= LEAST_SHARED and length >= LEAST_LENGTH:
        return None
    return (
        f"cosine {similarity:.3f} (at least {LEAST_COSINE} is required), shared tokens {shared:.2f} (at least "
        f"{LEAST_SHARED}), length {length:.2f} (at least {LEAST_LENGTH})"
    )


def cosine(a: Vector, b: Vector) -> float:
    """Of two vectors (V,); 1 for two zero vectors, 0 if only one of them is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else float(a.any() == b.any())


def shared_tokens(a: Vector, b: Vector) -> float:
    """Of two vectors (V,), the tokens above :data:`FLOOR` in both as a share of those in either."""
    either = int(((a > FLOOR) | (b > FLOOR)).sum())
    return int(((a > FLOOR) & (b > FLOOR)).sum()) / either if either else 1.0


def _aligned(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as vectors over the tokens of either."""
    tokens = sorted({*a, *b})
    first, second = (np.array([weights.get(token, 0.0) for token in tokens], np.float64) for weights in (a, b))
    return first, second


def _length_ratio(a: Vector, b: Vector) -> float:
    shorter, longer = sorted(float(np.linalg.norm(each)) for each in (a, b))
    return shorter / longer if longer else 1.0
