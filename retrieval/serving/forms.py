"""The search bodies of a setting: first pass, second pass with feedback, and BM25 for the fusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from osparse.contracts.deployment import Deployment, stored_vectors, token_of
from osparse.errors import InputError
from osparse.formula.feedback import joining
from osparse.formula.lucene_rounding import quantise
from osparse.formula.query_encoder import QueryEncoder
from osparse.opensearch_templates import render
from osparse.opensearch_templates.queries import query_keys, with_filters
from osparse.retrieval.queries import query_body, sendable, well_formed
from osparse.retrieval.serving.query_weights import heavy, reshaped_tokens
from osparse.retrieval.serving.settings import QueryWeights, Setting, TwoPhase

Filters = Sequence[Mapping[str, Any]]
"""Query clauses, all of which a hit satisfies; they do not change its score."""


@dataclass(frozen=True)
class Hits:
    """What the first pass found of one query: enough to compute the feedback."""

    vectors: list[dict[str, float]]
    """Raw token -> weight as the index stores it, of each hit."""
    scores: list[float]


@dataclass(frozen=True)
class SearchForms:
    """Bodies for one deployment under one setting."""

    deployment: Deployment
    encoder: QueryEncoder
    setting: Setting
    own_weights: bool = False
    """Send token weights in every mode: they are not those that the server would look up."""

    def weights(self, text: str) -> dict[str, float]:
        """Raw token -> weight of the query, reshaped as the setting says."""
        plain = sendable(self.encoder.encode(well_formed(text)))
        return plain if self.setting.query == QueryWeights() else sendable(reshaped_tokens(plain, self.setting.query))

    def body(
        self,
        text: str,
        weights: Mapping[str, float],
        *,
        size: int,
        filters: Filters = (),
        more: Mapping[str, float] | None = None,
    ) -> dict[str, Any] | None:
        """The body that gives the final hits, or None where no document can match.

        Args:
            filters: Query clauses that each hit satisfies.
            more: What feedback joins to the query (:meth:`joined`).
        """
        if more:
            return self._with_feedback(text, weights, more, size, filters)
        choice = self.setting.two_phase
        light = _light(weights, choice) if choice is not None else {}
        if choice is None or not light:
            return self._plain(text, weights, size, filters)
        first = {token: weight for token, weight in weights.items() if token not in light}
        body = self._plain(text, first, size, filters, own=True)
        return self._rescored(body, text, light, window_of(choice, size))

    def first_pass(self, text: str, weights: Mapping[str, float], filters: Filters) -> dict[str, Any] | None:
        """The body that finds the documents whose weights join the query."""
        if self.setting.feedback is None:
            return None
        body = self._plain(text, weights, self.setting.feedback.documents, filters)
        return None if body is None else {**body, "_source": {"includes": [self.deployment.field]}}

    def bm25(self, text: str, *, size: int, filters: Filters = ()) -> dict[str, Any] | None:
        """BM25 over the Korean and English fields of the same index; None for a text without a character."""
        if not text.strip():
            return None
        values = {"size": size, "field": self.deployment.field, "fields": bm25_fields(self.deployment)}
        return with_filters(render("query_match_korean_english", **values, text=well_formed(text)), filters)

    def joined(self, weights: Mapping[str, float], hits: Hits) -> dict[str, float]:
        """Token -> weight that the first hits join to the query; empty without hits."""
        choice = self.setting.feedback
        if choice is None or not hits.scores:
            return {}
        known = sorted({self._ids[token] for vector in hits.vectors for token in vector if token in self._ids})
        tokens = [self.encoder.lexicon.tokens[i] for i in known]
        idf = self.encoder.lexicon.idf[known]
        rows = [np.array([vector.get(token, 0.0) for token in tokens]) * idf for vector in hits.vectors]
        values = joining(sum(weights.values()), rows, hits.scores, choice)
        return {token: float(value) for token, value in zip(tokens, values, strict=True) if value > 0}

    def stored(self, source: Mapping[str, Any], query: Mapping[str, float]) -> dict[str, float]:
        """Raw token -> weight as the index keeps it, of a document's ``_source``; empty if that holds none.

        Of a document in pieces, those of the piece with the highest score for ``query``, which is the document's score.
        """
        pieces = [self._as_stored(stored) for stored in stored_vectors(source, self.deployment.field)]
        return max(pieces, key=lambda piece: sum(w * piece.get(t, 0.0) for t, w in query.items()), default={})

    def _with_feedback(
        self, text: str, weights: Mapping[str, float], more: Mapping[str, float], size: int, filters: Filters
    ) -> dict[str, Any] | None:
        rerank = self.setting.feedback.rerank if self.setting.feedback is not None else 0
        if rerank:
            return self._rescored(self._plain(text, weights, size, filters), text, sendable(more), max(rerank, size))
        summed = {token: weights.get(token, 0.0) + more.get(token, 0.0) for token in {**weights, **more}}
        return self._plain(text, sendable(summed), size, filters, own=True)

    def _rescored(
        self, body: dict[str, Any] | None, text: str, weights: Mapping[str, float], window: int
    ) -> dict[str, Any] | None:
        """``body`` whose first ``window`` hits are scored again: their score plus that of ``weights``."""
        second = self._plain(text, weights, 1, (), own=True)
        if body is None or second is None:
            return body
        return {**body, "rescore": render("rescore", window=window, query=second["query"])}

    def _plain(
        self, text: str, weights: Mapping[str, float], size: int, filters: Filters, *, own: bool = False
    ) -> dict[str, Any] | None:
        changed = own or self.own_weights or self.setting.query != QueryWeights()
        keyed = query_keys(self.deployment, weights, self._ids)
        body = query_body(self.deployment, text, keyed, size=size, filters=filters, own_weights=changed)
        return body if body is None or self.setting.seismic is None else self._with_parameters(body, size)

    def _with_parameters(self, body: dict[str, Any], size: int) -> dict[str, Any]:
        """The body with the setting's SEISMIC parameters."""
        choice = self.setting.seismic
        if self.deployment.vector != "sparse_vector" or choice is None:
            raise InputError(f"{choice} needs a sparse_vector field, and this index has {self.deployment.vector}")
        clause = _clause(body["query"], self.deployment.field)
        given = clause["method_parameters"]
        k = max(choice.k or size, given["k"]) if "filter" in given else choice.k or size
        clause["method_parameters"] = {**given, "k": k, "top_n": choice.top_n, "heap_factor": choice.heap_factor}
        return body

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.encoder.lexicon.tokens)}

    def _as_stored(self, stored: Mapping[str, float]) -> dict[str, float]:
        weights = quantise(np.array([float(w) for w in stored.values()], dtype=np.float32))
        return {self._token(name): float(w) for name, w in zip(stored, weights, strict=True)}

    def _token(self, feature: str) -> str:
        if self.deployment.vector == "sparse_vector":
            return self.encoder.lexicon.tokens[int(feature)]
        return token_of(feature, self.deployment.key_style)


def window_of(choice: TwoPhase, size: int) -> int:
    """Documents that the second phase scores.

    Raises:
        InputError: ``size`` hits need a larger window than the setting allows; the server refuses that too.
    """
    window = math.ceil(size * choice.expansion_rate)
    if window > choice.max_window_size:
        raise InputError(
            f"{size} hits with expansion_rate {choice.expansion_rate:g} need a window of {window}, and max_window_size "
            f"is {choice.max_window_size}; ask for fewer hits, or tune again"
        )
    return window


def bm25_fields(deployment: Deployment) -> list[str]:
    """A semantic field has no fields below it: it is asked itself, as the text it wraps."""
    return ["title.ko", "title.en", *(["text"] if deployment.vector == "semantic" else ["text.ko", "text.en"])]


def _light(weights: Mapping[str, float], choice: TwoPhase) -> dict[str, float]:
    """The tokens of the second phase."""
    first = heavy(np.fromiter(weights.values(), np.float64), choice.prune_ratio)
    return {token: weight for (token, weight), chosen in zip(weights.items(), first, strict=True) if not chosen}


def _clause(query: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The neural_sparse clause of a query, inside a filter or not."""
    inner: Sequence[Mapping[str, Any]] = query["bool"]["should"] if "bool" in query else [query]
    clause: dict[str, Any] = inner[0]["neural_sparse"][field]
    return clause
