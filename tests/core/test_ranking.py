from __future__ import annotations

import itertools

import numpy as np
import pytest

from osparse.errors import InputError
from osparse.evaluation.exact_search import InvertedIndex, paired_randomisation_test
from osparse.formula.lucene_rounding import quantise


def brute_force(
    ids: list[str], weights: np.ndarray, query: np.ndarray, k: int, only: set[str] | None = None
) -> list[tuple[str, float]]:
    scores = weights.astype(np.float64) @ query
    found = [(i, s) for i, s in zip(ids, scores, strict=True) if s > 0 and (only is None or i in only)]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]


def random_vectors(rng: np.random.Generator, documents: int, vocabulary: int) -> np.ndarray:
    # Few distinct values, exact in floating point: many documents tie.
    values = rng.integers(0, 4, (documents, vocabulary)) * (rng.random((documents, vocabulary)) < 0.2)
    return values.astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
def test_search_equals_brute_force_with_ties_and_subsets(k: int) -> None:
    rng = np.random.default_rng(0)
    weights = random_vectors(rng, 80, 30)
    ids = [f"d{i}" for i in rng.permutation(80)]
    index = InvertedIndex()
    for part in np.array_split(np.arange(80), 3):
        index.add([ids[i] for i in part], weights[part])
    only = set(ids[:40])
    for _ in range(30):
        tokens = rng.choice(30, 4, replace=False)
        values = rng.integers(1, 3, 4)
        query = np.zeros(30)
        query[tokens] = values
        wanted = brute_force(ids, weights, query, k)
        assert index.search(tokens, values, k) == wanted
        assert index.search(tokens.tolist(), values.tolist(), k) == wanted
        assert index.search(tokens, values, k, only=index.subset(only)) == brute_force(ids, weights, query, k, only)
    assert index.non_zeros().sum() == np.count_nonzero(weights)


def test_unknown_tokens_and_an_empty_index_find_nothing() -> None:
    index = InvertedIndex()
    assert index.search([1], [1.0], 5) == []
    index.add(["a"], np.array([[0, 1]], np.float32))
    assert index.search([7], [1.0], 5) == index.search([], [], 5) == []


def test_quantised_scores_are_the_served_ones() -> None:
    weights = np.random.default_rng(1).random((5, 7)).astype(np.float32) + 0.01
    index = InvertedIndex(quantised=True)
    index.add(list("abcde"), weights)
    query = np.arange(1.0, 8.0)
    found = dict(index.search(range(7), query, 5))
    for row, name in enumerate("abcde"):
        assert found[name] == pytest.approx(float(quantise(weights[row]).astype(np.float64) @ query), rel=1e-12)
        assert found[name] != pytest.approx(float(weights[row].astype(np.float64) @ query), rel=1e-6)


def test_wrong_ids_are_refused() -> None:
    index = InvertedIndex()
    with pytest.raises(InputError, match="1 document ids for 2 vectors"):
        index.add(["a"], np.ones((2, 2), np.float32))
    index.add(["a", "b"], np.ones((2, 2), np.float32))
    index.add(["a"], np.ones((1, 2), np.float32))
    with pytest.raises(InputError, match="'a' was added twice"):
        index.search([0], [1.0], 1)


def test_randomisation_p_equals_full_enumeration() -> None:
    difference = np.array([0.3, -0.1, 0.2, 0.5, 0.05, 0.4, -0.2, 0.1, 0.15, 0.3])
    every = [abs(np.dot(signs, difference)) for signs in itertools.product((-1, 1), repeat=10)]
    exact = np.mean(np.array(every) >= abs(difference.sum()) - 1e-9)
    assert paired_randomisation_test(difference, np.zeros(10), 50_000, seed=3) == pytest.approx(exact, abs=0.005)
    assert paired_randomisation_test(difference, difference) == 1.0
    assert paired_randomisation_test([1.0] * 40, [0.0] * 40, 999) == pytest.approx(0.001)
