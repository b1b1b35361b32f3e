"""Search a deployed index, and see which tokens each hit matched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.read_deployment import query_encoder, read_deployment
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval.serving.forms import SearchForms
from osparse.retrieval.serving.passes import Passes
from osparse.retrieval.serving.settings import Feedback, Setting, recorded_setting


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
    """Time that the cluster measured; with feedback or fusion the whole time, requests included."""
    note: str
    """Why there are no hits; empty when there are some."""


class Searcher:
    """A deployed index with its query encoder, read once for many searches.

    With ``idf`` the queries are weighted by that table instead of the deployed one; documents do not depend on it, so
    nothing has to be indexed again. ``setting`` says how the index is searched; without it, as its ``_meta`` records
    (``osparse tune --apply``), and where that records nothing, by the plain dot product. ``feedback`` joins either.

    Raises:
        ClusterError: there is no such index, or osparse did not deploy it.
        ModelError: ``idf`` is of another vocabulary.
        InputError: ``feedback`` beside a recorded setting that excludes it.
    """

    def __init__(
        self,
        cluster: Cluster,
        index: str,
        *,
        idf: Path | None = None,
        setting: Setting | None = None,
        feedback: Feedback | None = None,
    ) -> None:
        self.cluster, self.index = cluster, index
        self.deployment: Deployment = read_deployment(cluster, index)
        encoder = query_encoder(cluster, self.deployment)
        self.encoder: QueryEncoder = encoder if idf is None else encoder.reweighted(idf)
        chosen = setting if setting is not None else read_setting(cluster, index)
        self.setting = chosen if feedback is None else chosen.with_feedback(feedback)
        self.forms = SearchForms(self.deployment, self.encoder, self.setting, own_weights=idf is not None)
        self.passes = Passes(cluster, index, self.forms)

    @property
    def in_one_request(self) -> bool:
        """Whether :meth:`body` is the whole search."""
        return self.setting.feedback is None and self.setting.hybrid is None

    def weights(self, text: str) -> dict[str, float]:
        """Raw token -> query weight, as they are sent; without what feedback joins."""
        return self.forms.weights(text)

    def body(self, text: str, *, size: int, lang: str | None = None) -> dict[str, Any] | None:
        """The search body; of a setting with feedback or fusion the part without these."""
        return self.forms.body(text, self.weights(text), size=size, lang=lang)

    def ask(self, text: str, *, top: int = 10, lang: str | None = None, explain: bool = False) -> Answer:
        """The ``top`` documents with the largest score; ``explain`` adds the matched tokens of each hit."""
        weights = self.weights(text)
        started = time.monotonic()
        if not self.in_one_request:
            (rows,) = self.passes.hits([text], size=top, lang=lang, source=True if explain else None)
            took = int((time.monotonic() - started) * 1000)
        else:
            body = self.body(text, size=top, lang=lang)
            if body is None or not weights:
                return Answer(weights, [], 0, _note_without_query(text))
            if explain:
                body["_source"] = True
            response = ClusterApi(self.cluster).search(self.index, body)
            rows = sorted(response["hits"]["hits"], key=lambda row: (-row["_score"], row["_id"]))  # equal scores by id
            took = int(response["took"])
        hits = [self._hit(row, weights) for row in rows]
        note = "" if hits else _note_without_hits(lang) if weights else _note_without_query(text)
        return Answer(weights, hits, took, note)

    def document_weights(self, source: Mapping[str, Any], query: Mapping[str, float]) -> dict[str, float]:
        """Raw token -> weight as the index keeps it, of a document's ``_source``; empty if that holds none.

        Of a document in pieces, those of the piece with the highest score for ``query``, which is the document's score.
        """
        return self.forms.stored(source, query)

    def _hit(self, row: Mapping[str, Any], weights: Mapping[str, float]) -> Hit:
        source = row.get("_source", {})  # an index may not keep it
        shown = {name: str(source.get(name) or "") for name in ("title", "text", "lang")}
        return Hit(
            row["_id"], float(row["_score"]), **shown, matched=matches(weights, self.document_weights(source, weights))
        )


def read_setting(cluster: Cluster, index: str) -> Setting:
    """The search setting that an index or the index of an alias records; see :func:`recorded_setting`."""
    mapping = ClusterApi(cluster).get_mapping(index) or {}
    metas = [body.get("mappings", {}).get("_meta", {}) for body in mapping.values()]
    return recorded_setting(metas[0], index) if len(metas) == 1 else Setting()


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
