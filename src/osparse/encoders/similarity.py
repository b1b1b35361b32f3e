"""How alike two answers of an encoder must be where equal weights cannot be asked for: a quantised bundle's.

Its tolerance is the largest difference of any one weight, and that can be as large as a weight is: an encoder that is
broken may stay below it. The whole vector's direction
and length, and the tokens it holds, tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LEAST_COSINE = 0.97
"""Of a text's weights before and after."""
LEAST_SHARED = 0.7
"""Of a text's tokens above :data:`FLOOR`, before and after, as intersection over union."""
FLOOR = 1e-3
LEAST_LENGTH = 0.8
"""Of the shorter vector, in lengths of the longer one: a cosine does not see a scale."""


def unlike(found: Mapping[str, float], wanted: Mapping[str, float]) -> str | None:
    """In words, how {token: weight} is not like what is wanted; None if it is."""
    cosine, shared, length = _cosine(found, wanted), _shared(found, wanted), _length(found, wanted)
    if cosine >= LEAST_COSINE and shared >= LEAST_SHARED and length >= LEAST_LENGTH:
        return None
    return (
        f"cosine {cosine:.3f} ({LEAST_COSINE} wanted), shared tokens {shared:.2f} ({LEAST_SHARED} wanted), "
        f"length {length:.2f} ({LEAST_LENGTH} wanted)"
    )


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    size = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(weight * b.get(token, 0.0) for token, weight in a.items()) / size if size else float(bool(a) == bool(b))


def _shared(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    one, other = ({token for token, weight in each.items() if weight > FLOOR} for each in (a, b))
    return len(one & other) / len(one | other) if one | other else 1.0


def _length(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    shorter, longer = sorted(math.hypot(*each.values()) for each in (a, b))
    return shorter / longer if longer else 1.0
