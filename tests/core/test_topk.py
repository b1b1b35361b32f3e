"""Top-k over blocks against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from osparse.errors import InputError
from osparse.evaluation.top_k import TopK


def full_sort(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """By falling score, then rising document number; padded with -inf and -1."""
    order = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    pad = ((0, 0), (0, k - order.shape[1]))
    best = np.pad(best, pad, constant_values=-np.inf)
    return best, np.where(np.isfinite(best), np.pad(order, pad, constant_values=-1), -1)


@pytest.mark.parametrize("block", [1, 7, 100, 1000])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_blocks_give_what_a_full_sort_gives_ties_too(block: int, k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(-20, 20, size=(5, 700)).astype(np.float32) / 4
    scores[0] = 0.0
    scores[0, ::3] = -0.0  # equals 0
    scores[1, 5:] = -np.inf
    scores[2] = rng.standard_normal(700)
    top = TopK(5, k)
    for start in range(0, 700, block):
        top.add(scores[:, start : start + block].astype(np.float32), start)
    found, numbers = top.result()
    expected, order = full_sort((scores + 0).astype(np.float32), k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(numbers, order)


def test_the_order_of_blocks_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 9, size=(3, 400)).astype(np.float32)
    one, other = TopK(3, 20), TopK(3, 20)
    one.add(scores)
    shuffled = rng.permutation(400)
    for part in np.array_split(shuffled, 7):
        other.add(scores[:, part], numbers=part.astype(np.uint32))
    for a, b in zip(one.result(), other.result(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_several_found_is_merged() -> None:
    """Each saw some of the documents, and queries may be shared out too."""
    scores = np.random.default_rng(2).integers(0, 9, size=(6, 90)).astype(np.float32)
    merged = TopK(6, 25)
    for start in range(0, 90, 10):
        parts = [TopK(3, 10), TopK(3, 10)]
        for part, rows in zip(parts, (slice(0, 3), slice(3, 6)), strict=True):
            part.add(scores[rows, start : start + 10], start)
        merged.merge(TopK.stacked(parts))
    for found, expected in zip(merged.result(), full_sort(scores, 25), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="same queries, found 6 and 2"):
        merged.merge(TopK(2, 25))


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(InputError, match="k must be at least 1"):
        TopK(1, 0)
    with pytest.raises(InputError, match=r"shape \(2, documents\), found \(3, 4\)"):
        TopK(2, 1).add(np.zeros((3, 4), np.float32))
    top = TopK(1, 1)
    top.add(np.ones((1, 5), np.float32))
    with pytest.raises(InputError, match="not a number"):
        top.add(np.array([[0.0, np.nan]], np.float32), 5)
