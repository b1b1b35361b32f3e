"""Searches simulated exactly from the stored weights: the ranking that the index would give, without asking it.

Query weights are float32 and document weights rounded as Lucene keeps them, so scores are the served ones; documents
of equal score are ordered by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from osparse.evaluation.exact_search import InvertedIndex
from osparse.formula.feedback import joining
from osparse.formula.lucene_rounding import quantise
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval.queries import sendable, well_formed
from osparse.retrieval.serving.forms import window_of
from osparse.retrieval.serving.fusion import DEPTH, fused
from osparse.retrieval.serving.passes import direction_of
from osparse.retrieval.serving.query_weights import heavy, reshaped
from osparse.retrieval.serving.settings import Feedback, Pruning, Setting, TwoPhase
from osparse.retrieval.tuning.offline.stored import StoredVectors

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Query:
    ids: Ids
    """(T,) token ids."""
    weights: Floats
    """(T,) above 0."""

    def part(self, chosen: NDArray[np.bool_]) -> _Query:
        return _Query(self.ids[chosen], self.weights[chosen])


def _together(query: _Query, more: _Query) -> _Query:
    """The sum of both."""
    ids, place = np.unique(np.concatenate([query.ids, more.ids]), return_inverse=True)
    return _Query(ids, np.bincount(place, np.concatenate([query.weights, more.weights])).astype(np.float64))


class SimulatedIndex:
    """The index with one choice of pruning."""

    def __init__(self, stored: StoredVectors, encoder: QueryEncoder) -> None:
        self.stored, self.encoder = stored, encoder
        self.ids = np.array(stored.ids, dtype=object)
        self.frequencies = np.bincount(stored.tokens, minlength=len(encoder.lexicon.tokens))
        self.starts = np.searchsorted(stored.rows, np.arange(len(stored.ids) + 1))

    @cached_property
    def index(self) -> InvertedIndex:
        """Made at the first search: costs are known without it."""
        index = InvertedIndex(quantised=True)
        index.add_sparse(self.stored.ids, self.stored.rows, self.stored.tokens, self.stored.values)
        return index

    @cached_property
    def values(self) -> Floats:
        """(P,) weights as the index keeps them."""
        return quantise(self.stored.values).astype(np.float64)

    def query(self, text: str, setting: Setting) -> _Query:
        """Token ids and weights as they are sent."""
        ids = np.array(self.encoder.ids(well_formed(text)), dtype=np.int64)
        plain = {int(i): float(self.encoder.lexicon.idf[i]) for i in ids}
        sent = sendable({str(i): w for i, w in plain.items()})
        ids = np.array([int(i) for i in sent], dtype=np.int64)
        weights = reshaped(np.fromiter(sent.values(), np.float64), setting.query)
        return _Query(ids[weights > 0], weights[weights > 0])

    def ranking(self, text: str, setting: Setting, lang: str | None, size: int) -> dict[str, float]:
        """Document -> score of the first ``size`` hits of the sparse search, without fusion."""
        query = self.query(text, setting)
        only = None if lang is None else self._of_language(lang)
        if not len(query.ids):
            return {}
        if setting.two_phase is not None:
            return self._two_phase(query, setting.two_phase, only, size)
        if setting.feedback is not None:
            return self._with_feedback(query, setting.feedback, only, size)
        return self._named(self._scores(query, only), size)

    def postings_of(self, text: str, setting: Setting) -> int:
        """Postings that a search reads: the lengths of the lists of its first-phase tokens.

        With feedback those of the first pass, and of the query that is then asked: what joins it is read too, but where
        only the first hits are ordered anew.
        """
        query = self.query(text, setting)
        if setting.two_phase is not None and len(query.ids):
            query = query.part(heavy(query.weights, setting.two_phase.prune_ratio))
        read = int(self.frequencies[query.ids].sum())
        if setting.feedback is None:
            return read
        scores = self._scores(query, None)
        more = self._joining(query, setting.feedback, scores)
        second = query if setting.feedback.rerank else _together(query, more)
        return read + int(self.frequencies[second.ids].sum())

    def _two_phase(
        self, query: _Query, choice: TwoPhase, only: NDArray[np.bool_] | None, size: int
    ) -> dict[str, float]:
        first = heavy(query.weights, choice.prune_ratio)
        scores = self._scores(query.part(first), only)
        if first.all():
            return self._named(scores, size)
        again = self._first(scores, window_of(choice, size))
        total = np.zeros_like(scores)
        total[again] = scores[again] + self._scores(query.part(~first), None)[again]
        return self._named(total, size)

    def _with_feedback(
        self, query: _Query, choice: Feedback, only: NDArray[np.bool_] | None, size: int
    ) -> dict[str, float]:
        scores = self._scores(query, only)
        more = self._joining(query, choice, scores)
        if choice.rerank:
            again = self._first(scores, max(choice.rerank, size))
            total = np.zeros_like(scores)
            total[again] = scores[again] + self._scores(more, None)[again]
            return self._named(total, size)
        return self._named(self._scores(_together(query, more), only), size)

    def _joining(self, query: _Query, choice: Feedback, scores: Floats) -> _Query:
        """What the first hits join to the query; nothing without hits. ``scores`` (N,): of the first pass."""
        hits = self._first(scores, choice.documents)
        if not len(hits):
            return query.part(np.zeros(len(query.ids), dtype=np.bool_))
        ids, rows = self._times_idf(hits)
        values = joining(float(query.weights.sum()), rows, scores[hits].tolist(), choice)
        return _Query(ids[values > 0], values[values > 0])

    def _scores(self, query: _Query, only: NDArray[np.bool_] | None) -> Floats:
        """(N,) scores; 0 outside ``only``."""
        weights = np.minimum(query.weights, 64).astype(np.float32).astype(np.float64)
        scores = self.index.scores(query.ids.tolist(), weights.tolist())
        return scores if only is None else np.asarray(scores * only, dtype=np.float64)

    def _first(self, scores: Floats, count: int) -> Ids:
        """Rows of the best documents above 0, by falling score, then by id."""
        rows = np.flatnonzero(scores > 0)
        if count < len(rows):
            rows = rows[scores[rows] >= np.partition(scores[rows], -count)[-count]]
        return np.asarray(rows[np.argsort(-scores[rows], kind="stable")][:count], dtype=np.int64)

    def _named(self, scores: Floats, size: int) -> dict[str, float]:
        rows = self._first(scores, size)
        return dict(zip(self.ids[rows].tolist(), scores[rows].tolist(), strict=True))

    def _times_idf(self, rows: Ids) -> tuple[Ids, list[Floats]]:
        """(U,) ids of the tokens of any of the documents, ascending, and of each its stored weights times IDF."""
        parts = [slice(self.starts[row], self.starts[row + 1]) for row in rows.tolist()]
        ids = np.unique(np.concatenate([self.stored.tokens[part] for part in parts]))
        idf, listed = self.encoder.lexicon.idf[ids], list[Floats]()
        for part in parts:
            values = np.zeros(len(ids))
            values[np.searchsorted(ids, self.stored.tokens[part])] = self.values[part]
            listed.append(np.asarray(values * idf, dtype=np.float64))
        return ids, listed

    def _of_language(self, lang: str) -> NDArray[np.bool_]:
        if lang not in self._languages:
            self._languages[lang] = np.asarray(self.stored.langs == lang, dtype=np.bool_)
        return self._languages[lang]

    @cached_property
    def _languages(self) -> dict[str, NDArray[np.bool_]]:
        return {}


@dataclass(eq=False)
class Simulator:
    """Rankings of any setting: the pruned indices are made when first needed, and the last few kept."""

    stored: StoredVectors
    encoder: QueryEncoder
    bm25: dict[tuple[str | None, str], dict[str, float]] = field(default_factory=dict)
    """(document language, query text) -> document -> BM25 score, best first, as the cluster answers it."""
    _made: dict[Pruning | None, SimulatedIndex] = field(default_factory=dict)
    _rankings: dict[tuple[Setting, str | None, str, int], dict[str, float]] = field(default_factory=dict)

    POSTINGS: ClassVar[int] = 20_000_000
    """Of pruned indices in memory beside the unpruned one, about 40 bytes each; two indices at least."""
    RANKINGS: ClassVar[int] = 20_000
    """Rankings in memory, of 100 documents each."""

    def index(self, pruning: Pruning | None) -> SimulatedIndex:
        if pruning not in self._made:
            pruned = [choice for choice in self._made if choice is not None]
            if len(pruned) >= max(2, self.POSTINGS // max(1, self.stored.postings)):
                del self._made[pruned[0]]
            self._made[pruning] = SimulatedIndex(self.stored.pruned(pruning), self.encoder)
        return self._made[pruning]

    def ranking(self, text: str, setting: Setting, lang: str | None, size: int) -> dict[str, float]:
        """Document -> score of the first ``size`` hits of a search under ``setting``."""
        choice = setting.hybrid
        depth = size if choice is None else max(size, DEPTH)
        if choice is None:
            return self.index(setting.pruning).ranking(text, setting, lang, depth)
        sparse = self._unfused(text, replace(setting, hybrid=None), lang, depth)
        words = self.bm25.get((lang, text), {})
        combined = fused(words, sparse, choice, choice.weight_for(direction_of(text, lang)))
        return dict(list(combined.items())[:size])

    def _unfused(self, text: str, setting: Setting, lang: str | None, depth: int) -> dict[str, float]:
        """Kept for the settings that differ in their fusion only."""
        key = (setting, lang, text, depth)
        if key not in self._rankings:
            if len(self._rankings) >= self.RANKINGS:
                self._rankings.clear()
            self._rankings[key] = self.index(setting.pruning).ranking(text, setting, lang, depth)
        return self._rankings[key]

    def cost(self, texts: Sequence[str], setting: Setting) -> float:
        """Mean postings that one search reads."""
        index = self.index(setting.pruning)
        return float(np.mean([index.postings_of(text, setting) for text in texts])) if texts else 0.0
