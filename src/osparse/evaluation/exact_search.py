"""Exact ranking over sparse vectors in memory, and the test that says whether two rankings really differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from osparse.errors import InputError
from osparse.formula.lucene_rounding import quantise

_TEST_BATCH = 2_000_000
"""Signs drawn at a time by the randomisation test."""


@dataclass(frozen=True, eq=False)
class _Postings:
    """Posting lists by token, over documents numbered in ascending id order."""

    ids: tuple[str, ...]
    row_of: dict[str, int]
    starts: NDArray[np.int64]
    """(V + 1,) token j owns postings starts[j]:starts[j + 1]."""
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


class InvertedIndex:
    """Posting lists of sparse document vectors; ``search`` gives the exact top k.

    With ``quantised`` the weights are kept as Lucene's FeatureField keeps them, so the scores are the served ones.
    """

    def __init__(self, *, quantised: bool = False) -> None:
        self.quantised = quantised
        self._ids: list[str] = []
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._built: _Postings | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, document_ids: Sequence[str], weights: NDArray[np.float32]) -> None:
        """Add B documents with dense weights (B, V) >= 0; only the non-zeros are kept."""
        if len(document_ids) != len(weights):
            raise InputError(f"{len(document_ids)} document ids for {len(weights)} vectors; give one id for each")
        rows, tokens = np.nonzero(weights)
        self.add_sparse(document_ids, rows, tokens, weights[rows, tokens].astype(np.float32))

    def add_sparse(
        self,
        document_ids: Sequence[str],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Add B documents by their N non-zeros: row within ``document_ids``, token id and weight of each."""
        self._parts.append((rows + len(self._ids), tokens, quantise(values) if self.quantised else values))
        self._ids += document_ids
        self._built = None

    def non_zeros(self) -> NDArray[np.int64]:
        """(N,) number of weights of each document, in ascending id order."""
        postings = self._postings()
        return np.bincount(postings.rows, minlength=len(postings.ids)).astype(np.int64)

    def document_frequencies(self) -> NDArray[np.int64]:
        """(V',) length of each token's posting list; V' is 1 + the largest token id that has one."""
        return np.diff(self._postings().starts)

    def vectors(self, document_ids: Collection[str]) -> dict[str, dict[int, float]]:
        """Document id -> {token id: weight} of those that are in the index."""
        postings = self._postings()
        vectors: dict[str, dict[int, float]] = {i: {} for i in document_ids if i in postings.row_of}
        chosen = np.flatnonzero(self.subset(vectors)[postings.rows])
        tokens = np.searchsorted(postings.starts, chosen, side="right") - 1
        for row, token, weight in zip(postings.rows[chosen], tokens, postings.weights[chosen], strict=True):
            vectors[postings.ids[row]][int(token)] = float(weight)
        return vectors

    def subset(self, document_ids: Collection[str]) -> NDArray[np.bool_]:
        """(N,) mask for the ``only`` of :meth:`search`; ids that are not in the index are left out."""
        postings = self._postings()
        mask = np.zeros(len(postings.ids), dtype=np.bool_)
        mask[[postings.row_of[i] for i in document_ids if i in postings.row_of]] = True
        return mask

    def search(
        self,
        token_ids: Iterable[int],
        weights: Iterable[float],
        k: int,
        *,
        only: NDArray[np.bool_] | None = None,
    ) -> list[tuple[str, float]]:
        """The k documents with the largest dot product, as (id, score).

        By falling score, equal scores by ascending id; a document with score 0 is never returned.
        ``only`` is a mask made by :meth:`subset`.
        """
        postings, scores = self._postings(), self.scores(token_ids, weights)
        if only is not None:
            scores *= only
        rows = np.flatnonzero(scores > 0)
        if 0 < k < len(rows):
            rows = rows[scores[rows] >= np.partition(scores[rows], -k)[-k]]
        order = rows[np.argsort(-scores[rows], kind="stable")][:k]  # rows ascend with ids, so ties do too
        return [(postings.ids[row], float(scores[row])) for row in order]

    def scores(self, token_ids: Iterable[int], weights: Iterable[float]) -> NDArray[np.float64]:
        """(N,) dot product of a query with every document, in ascending id order."""
        postings = self._postings()
        scores = np.zeros(len(postings.ids), dtype=np.float64)
        for token, weight in zip(token_ids, weights, strict=True):
            if 0 <= token < len(postings.starts) - 1:
                part = slice(postings.starts[token], postings.starts[token + 1])
                scores[postings.rows[part]] += float(weight) * postings.weights[part]  # a row is once in a list
        return scores

    def _postings(self) -> _Postings:
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> _Postings:
        order = sorted(range(len(self._ids)), key=self._ids.__getitem__)
        ids = tuple(self._ids[i] for i in order)
        row_of = {document: row for row, document in enumerate(ids)}
        if len(row_of) != len(ids):
            twice = next(a for a, b in zip(ids, ids[1:], strict=False) if a == b)
            raise InputError(f"the document id {twice!r} was added twice; ids must be unique")
        row_now = np.empty(len(ids), dtype=np.int64)
        row_now[order] = np.arange(len(ids))
        empty = np.zeros(0, np.int64)
        rows = row_now[np.concatenate([empty, *(part[0] for part in self._parts)])]
        tokens = np.concatenate([empty, *(part[1] for part in self._parts)])
        values = np.concatenate([np.zeros(0, np.float32), *(part[2] for part in self._parts)])
        by_token = np.lexsort((rows, tokens))
        starts = np.concatenate([[0], np.cumsum(np.bincount(tokens, minlength=1))]).astype(np.int64)
        return _Postings(ids, row_of, starts, rows[by_token], values[by_token].astype(np.float64))


def paired_randomisation_test(a: ArrayLike, b: ArrayLike, rounds: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the mean difference between two systems' values on the same queries.

    Under the null hypothesis each query's two values could be exchanged (Smucker, Allan and Carterette, CIKM 2007);
    p = (1 + rounds at least as far from 0 as observed) / (1 + rounds), so it is never 0.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not len(difference):
        return 1.0
    observed = abs(difference.sum()) * (1 - 1e-12)  # a tie summed in another order is still a tie
    generator = np.random.default_rng(seed)
    batch = max(1, _TEST_BATCH // len(difference))
    extreme = 0
    for start in range(0, rounds, batch):
        signs = generator.integers(0, 2, size=(min(batch, rounds - start), len(difference)), dtype=np.int8) * 2 - 1
        extreme += int(np.count_nonzero(np.abs(signs @ difference) >= observed))
    return (1 + extreme) / (1 + rounds)
