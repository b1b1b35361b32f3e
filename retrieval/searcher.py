"""Search a deployed index, and see which tokens each hit matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from osparse.contracts.deployment import Deployment, stored_vectors, token_of
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.read_deployment import query_encoder, read_deployment
from osparse.formula.lucene_rounding import quantise
from osparse.formula.query_encoder import QueryEncoder
from osparse.opensearch_templates.queries import query_keys
from osparse.retrieval.queries import query_body, sendable, well_formed


class Match(NamedTuple):
    """A token that query and document share; the contributions of a hit add up to its score."""

    token: str
    query_weight: float
    document_weight: float
    """As the index stores it (9 significant bits)."""
    contribution: float


@dataclass(frozen=True)
class Hit:
    id: str
    score: float
    title: str
    text: str
    lang: str
    matched: list[Match] = field(default_factory=list)
    """By falling contribution; empty unless the search was made with ``explain``."""


@dataclass(frozen=True)
class Answer:
    """The hits of one query, and the query itself."""

    query: dict[str, float]
    """Raw token -> weight."""
    hits: list[Hit]
    took_ms: int
    """Time that the cluster measured."""
    note: str
    """Why there are no hits; empty when there are some."""


class Searcher:
    """A deployed index with its query encoder, read once for many searches.

    With ``idf`` the queries are weighted by that table instead of the deployed one; documents do not depend on it, so
    nothing has to be indexed again.

    Raises:
        ClusterError: there is no such index, or osparse did not deploy it.
        ModelError: ``idf`` is of another vocabulary.
    """

    def __init__(self, cluster: Cluster, index: str, *, idf: Path | None = None) -> None:
        self.cluster, self.index = cluster, index
        self.deployment: Deployment = read_deployment(cluster, index)
        encoder = query_encoder(cluster, self.deployment)
        self.encoder: QueryEncoder = encoder if idf is None else encoder.reweighted(idf)
        self.own_weights = idf is not None

    def weights(self, text: str) -> dict[str, float]:
        """Raw token -> query weight, as they are sent."""
        return sendable(self.encoder.encode(well_formed(text)))

    def body(self, text: str, *, size: int, lang: str | None = None) -> dict[str, Any] | None:
        weights = query_keys(self.deployment, self.weights(text), self._ids)
        return query_body(self.deployment, text, weights, size=size, lang=lang, own_weights=self.own_weights)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.encoder.lexicon.tokens)}

    def ask(self, text: str, *, top: int = 10, lang: str | None = None, explain: bool = False) -> Answer:
        """The ``top`` documents with the largest dot product; ``explain`` adds the matched tokens of each hit."""
        weights = self.weights(text)
        body = self.body(text, size=top, lang=lang)
        if body is None or not weights:
            return Answer(weights, [], 0, _note_without_query(text))
        if explain:
            body["_source"] = True
        response = ClusterApi(self.cluster).search(self.index, body)
        ranked = sorted(response["hits"]["hits"], key=lambda row: (-row["_score"], row["_id"]))  # equal scores by id
        hits = [self._hit(row, weights) for row in ranked]
        note = "" if hits else _note_without_hits(lang)
        return Answer(weights, hits, int(response["took"]), note)

    def document_weights(self, source: Mapping[str, Any], query: Mapping[str, float]) -> dict[str, float]:
        """Raw token -> weight as the index keeps it, of a document's ``_source``; empty if that holds none.

        Of a document in pieces, those of the piece with the highest score for ``query``, which is the document's score.
        """
        pieces = [self._as_stored(stored) for stored in stored_vectors(source, self.deployment.field)]
        return max(pieces, key=lambda piece: sum(w * piece.get(t, 0.0) for t, w in query.items()), default={})

    def _as_stored(self, stored: Mapping[str, float]) -> dict[str, float]:
        weights = quantise(np.array([float(w) for w in stored.values()], dtype=np.float32))
        return {self._token(name): float(w) for name, w in zip(stored, weights, strict=True)}

    def _token(self, feature: str) -> str:
        if self.deployment.vector == "sparse_vector":
            return self.encoder.lexicon.tokens[int(feature)]
        return token_of(feature, self.deployment.key_style)

    def _hit(self, row: Mapping[str, Any], weights: Mapping[str, float]) -> Hit:
        source = row.get("_source", {})  # an index may not keep it
        shown = {name: str(source.get(name) or "") for name in ("title", "text", "lang")}
        return Hit(
            row["_id"], float(row["_score"]), **shown, matched=matches(weights, self.document_weights(source, weights))
        )


def search(
    cluster: Cluster, index: str, text: str, top: int = 10, lang: str | None = None, explain: bool = False
) -> list[Hit]:
    """The ``top`` hits of one query on a deployed index.

    Args:
        lang: Only documents of this language.
        explain: Add the matched tokens of each hit.

    Raises:
        ClusterError: there is no such index, osparse did not deploy it, or the cluster does not answer.
    """
    return Searcher(cluster, index).ask(text, top=top, lang=lang, explain=explain).hits


def matches(query: Mapping[str, float], document: Mapping[str, float]) -> list[Match]:
    """Tokens in both, by falling contribution, then by token."""
    shared = [Match(t, w, document[t], w * document[t]) for t, w in query.items() if t in document]
    return sorted(shared, key=lambda match: (-match.contribution, match.token))


def _note_without_query(text: str) -> str:
    if not text.strip():
        return "the query is empty: give it some text"
    return f"no token of {text!r} is in the model's vocabulary, so no document can match"


def _note_without_hits(lang: str | None) -> str:
    where = f" of language {lang}" if lang is not None else ""
    return f"no document{where} has any of the query's tokens; are documents loaded? load them with: osparse index"
