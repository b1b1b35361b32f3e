"""IBM Model 1 against the paper's pseudo code, and the textbook's example."""

from __future__ import annotations

import numpy as np
import pytest
from plain_ibm_model1 import naive

from osparse.algorithms.ibm_model1 import translation_probabilities

SOURCES = [[1, 2], [1, 3], [2, 3], [1], []]
TARGETS = [[11, 12], [11, 13], [12, 13], [11], [14]]
REPEATED = [[1, 1, 2], [1, 3], [2, 2]], [[11, 12], [11, 11, 13], [12, 12, 13]]


def arrays(texts: list[list[int]]) -> list[np.ndarray]:
    return [np.array(text, dtype=np.int64) for text in texts]


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize(("sources", "targets"), [(SOURCES, TARGETS), REPEATED])
def test_equals_the_naive_model(sources: list[list[int]], targets: list[list[int]], empty: bool) -> None:
    found = translation_probabilities(arrays(sources), arrays(targets), 20, empty=empty).toarray()
    for (f, e), probability in naive(sources, targets, empty).items():
        if f >= 0:
            assert found[f, e] == pytest.approx(probability, abs=1e-9)
            found[f, e] = 0
    assert not found.any()


def test_learns_the_textbooks_example() -> None:
    """das Haus - the house, das Buch - the book, ein Buch - a book."""
    sources, targets = arrays([[0, 1], [0, 2], [3, 2]]), arrays([[4, 5], [4, 6], [7, 6]])
    table = translation_probabilities(sources, targets, 8, iterations=50, empty=False).toarray()
    assert table[0, 4] > 0.9 and table[2, 6] > 0.9 and table[1, 5] > 0.9
    assert table[:4].sum(1) == pytest.approx(1.0)


def test_nothing_aligned_gives_an_empty_table() -> None:
    assert translation_probabilities([], [], 20).nnz == 0
    assert translation_probabilities([], [], 20, empty=False).nnz == 0
