"""Document weights thinned out, exactly as the packaged graph and neural-search's ingest processor do it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from osparse.retrieval.serving.settings import Pruning


def kept(rows: NDArray[np.int64], values: NDArray[np.float32], choice: Pruning) -> NDArray[np.bool_]:
    """(P,) which postings stay.

    ``max_ratio``: weights above the share of the document's largest. ``top_k``: those not below the k-th largest.
    ``alpha_mass``: the largest whose sum first reaches the share of the document's sum. Weights equal to the smallest
    that is kept are kept too, so that the result does not depend on the order of the tokens.

    Args:
        rows: (P,) document of each posting, ascending.
        values: (P,) weight > 0 of each posting.
    """
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    lengths = np.diff(np.r_[starts, len(rows)])
    if choice.kind == "max_ratio":
        largest = np.repeat(np.maximum.reduceat(values, starts), lengths)
        return np.asarray(values > np.float32(choice.value) * largest, dtype=np.bool_)
    order = np.lexsort((-values, rows))
    falling = values[order]
    rank = np.arange(len(rows)) - np.repeat(starts, lengths)
    if choice.kind == "top_k":
        last = np.minimum(int(choice.value), lengths) - 1
    else:
        last = _alpha_mass_last(falling, rank, starts, lengths, choice.value)
    floor = np.repeat(falling[starts + last], lengths)
    return np.asarray(values >= floor, dtype=np.bool_)


def _alpha_mass_last(
    falling: NDArray[np.float32],
    rank: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    share: float,
) -> NDArray[np.int64]:
    """(N,) rank of the last weight of each document that is kept."""
    sums = np.cumsum(falling, dtype=np.float64)
    before = np.repeat(sums[starts] - falling[starts], lengths)
    totals = np.repeat(np.add.reduceat(falling.astype(np.float64), starts), lengths)
    reached = np.where((sums - before) / totals >= share, rank, lengths.max())
    return np.minimum(np.minimum.reduceat(reached, starts), lengths - 1)
