"""The ceiling below which SEISMIC keeps 8 bits of a weight: the largest weight seen, with room to spare."""

from __future__ import annotations

import math

MARGINS = {"probes": 1.2, "dataset": 1.05}
"""Times the largest weight of the texts that were measured: few probes may miss the largest weight of a corpus."""

DEFAULT_CEILINGS = {"ingest": 3.0, "search": 16.0}
"""Of a sparse_vector field that names none."""


def up_to_tenth(value: float) -> float:
    """The next tenth, at least 0.1: the ceiling below which SEISMIC keeps 8 bits of a weight.

    A weight that is a tenth in 32 bits, as those of an IDF table may be, is that tenth.
    """
    return max(0.1, math.ceil(round(value * 10, 4)) / 10)
