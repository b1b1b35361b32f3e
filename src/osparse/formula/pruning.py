"""Pruning of document weights: which entries of the posting lists a document gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from osparse.formula.head import Head


def prune(weights: NDArray[np.float32], head: Head, own: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Drop weights at or below prune_ratio x max, and all below the top_k-th largest; (V,) -> (V,).

    Ties with the k-th weight are kept, so more than top_k may stay. With ``head.keep_own`` the weights of ``own`` (V,),
    the document's tokens, are neither dropped nor counted.
    """
    protected = own if own is not None and head.keep_own else np.zeros(weights.shape, bool)
    floor = head.prune_ratio * weights.max(initial=0)
    others = np.where((weights > floor) & ~protected, weights, 0)
    if head.top_k is not None and np.count_nonzero(others) > head.top_k:
        others = np.where(others >= np.partition(others, -head.top_k)[-head.top_k], others, 0)
    return np.where(protected, weights, others).astype(np.float32)


def prune_by(rule: str | None, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) weights with those that an index does not keep as 0.

    Args:
        rule: ``max_ratio R`` or ``top_k N``, as the ``_meta`` of an index has it; None keeps all.

    Raises:
        ValueError: another rule.
    """
    if rule is None:
        return weights
    kind, value = rule.split()
    if kind == "max_ratio":
        return max_ratio(weights, float(value))
    if kind == "top_k":
        return _largest(weights, int(value))
    raise ValueError(f"a rule of pruning must be max_ratio or top_k, got {rule!r}")


def _largest(weights: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The ``top_k`` pruning of neural-search's pipelines: exactly ``count`` weights; of equal ones the first."""
    if np.count_nonzero(weights) <= count:
        return weights
    smallest = np.partition(weights, -count)[-count]
    above = weights > smallest
    above[np.flatnonzero(weights == smallest)[: count - np.count_nonzero(above)]] = True
    return np.where(above, weights, np.float32(0))


def max_ratio(weights: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """(N,) weights with those below ``ratio`` times the largest as 0; a ratio of 0 keeps all.

    The ``max_ratio`` pruning of neural-search's pipelines, which keeps ``weight / largest >= ratio``.
    """
    largest = weights.max(initial=0)
    if ratio <= 0 or largest <= 0:
        return weights
    return np.where(weights / largest >= np.float32(ratio), weights, np.float32(0))
