"""Many searches under a setting: feedback first where there is any, then the hits, then the fusion with BM25."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from osparse.algorithms.language import guess_language
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster, reason_of
from osparse.errors import ClusterError
from osparse.opensearch_templates import render
from osparse.retrieval.queries import with_language
from osparse.retrieval.serving.forms import Filters, Hits, SearchForms
from osparse.retrieval.serving.fusion import DEPTH, fused

ANY = "*"
"""Documents of every language, in the name of a direction."""
BATCH = 50
"""Searches in one request."""
_SHOWN = (
    "responses.hits.hits._id,responses.hits.hits._score,responses.hits.hits._source,responses.error,responses.status"
)
Row = dict[str, Any]
"""One hit as the server answers it."""


class Passes:
    """Runs searches on one index."""

    def __init__(self, cluster: Cluster, index: str, forms: SearchForms) -> None:
        self.api, self.index, self.forms = ClusterApi(cluster), index, forms

    def hits(
        self,
        texts: Sequence[str],
        *,
        size: int,
        lang: str | None = None,
        filters: Filters = (),
        source: bool | Mapping[str, Any] | None = False,
    ) -> list[list[Row]]:
        """The hits of each text by falling score, equal scores by id.

        Args:
            filters: Query clauses that each hit satisfies, in every part of the search.
            source: Whether they bring their documents, or which fields of them; None: without the weights.

        Raises:
            ClusterError: the cluster refuses one of the searches.
        """
        sparse, words = self._bodies(texts, size, with_language(filters, lang))
        if self.forms.setting.hybrid is None:
            return self._searched(sparse, source)
        both = self._searched([*sparse, *words], source)
        pairs = zip(texts, both[: len(texts)], both[len(texts) :], strict=True)
        return [self._fused(text, tokens, bm25, lang)[:size] for text, tokens, bm25 in pairs]

    def aggregations(
        self, text: str, asked: Mapping[str, Any], *, lang: str | None = None, filters: Filters = ()
    ) -> dict[str, Any]:
        """Aggregations over all documents that any part of the search matches, as the server answers them."""
        clauses = with_language(filters, lang)
        sparse, words = self._bodies([text], 1, clauses)
        queries = [body["query"] for body in (*sparse, *words) if body is not None]
        if not queries:
            return {}
        whole = render("filter_any", clauses=queries)
        body = {"size": 0, "track_total_hits": False, "query": whole, "aggs": dict(asked)}
        return dict(self.api.search(self.index, body).get("aggregations", {}))

    def bm25(self, texts: Sequence[str], *, size: int, lang: str | None = None) -> list[dict[str, float]]:
        """Document -> BM25 score of each text, best first."""
        clauses = with_language((), lang)
        rows = self._searched([self.forms.bm25(text, size=size, filters=clauses) for text in texts], source=False)
        return [{row["_id"]: float(row["_score"]) for row in part} for part in rows]

    def _bodies(
        self, texts: Sequence[str], size: int, filters: Filters
    ) -> tuple[list[dict[str, Any] | None], list[dict[str, Any] | None]]:
        """The sparse searches, and the BM25 searches that are fused with them (none without fusion)."""
        weights = [self.forms.weights(text) for text in texts]
        more = self._feedback(texts, weights, filters)
        hybrid = self.forms.setting.hybrid
        depth = size if hybrid is None else max(size, DEPTH)
        sparse = [
            self.forms.body(text, query, size=depth, filters=filters, more=joins) if query else None
            for text, query, joins in zip(texts, weights, more, strict=True)
        ]
        return sparse, [] if hybrid is None else [self.forms.bm25(text, size=depth, filters=filters) for text in texts]

    def _feedback(
        self, texts: Sequence[str], weights: Sequence[dict[str, float]], filters: Filters
    ) -> list[dict[str, float]]:
        """What the first hits join to each query."""
        if self.forms.setting.feedback is None:
            return [{} for _ in texts]
        bodies = [
            self.forms.first_pass(text, query, filters) if query else None
            for text, query in zip(texts, weights, strict=True)
        ]
        answers = self._searched(bodies, source=None)
        return [
            self.forms.joined(query, self._as_hits(rows, query)) for query, rows in zip(weights, answers, strict=True)
        ]

    def _as_hits(self, rows: Sequence[Row], query: Mapping[str, float]) -> Hits:
        vectors = [self.forms.stored(row.get("_source", {}), query) for row in rows]
        return Hits(vectors, [float(row["_score"]) for row in rows])

    def _fused(self, text: str, sparse: Sequence[Row], bm25: Sequence[Row], lang: str | None) -> list[Row]:
        choice = self.forms.setting.hybrid
        if choice is None:
            return list(sparse)
        rows = {row["_id"]: row for row in (*sparse, *bm25)}
        words, tokens = ({row["_id"]: float(row["_score"]) for row in part} for part in (bm25, sparse))
        combined = fused(words, tokens, choice, choice.weight_for(direction_of(text, lang)))
        return [{**rows[document], "_score": score} for document, score in combined.items()]

    def _searched(
        self, bodies: Sequence[dict[str, Any] | None], source: bool | Mapping[str, Any] | None
    ) -> list[list[Row]]:
        """The hits of each body; none for None. ``source`` replaces that of the bodies, None leaves it."""
        chosen = {} if source is None else {"_source": source}
        sent = [{**body, **chosen} for body in bodies if body is not None]
        answers = iter(
            [rows for start in range(0, len(sent), BATCH) for rows in self._batch(sent[start : start + BATCH])]
        )
        return [next(answers) if body is not None else [] for body in bodies]

    def _batch(self, bodies: Sequence[dict[str, Any]]) -> Iterator[list[Row]]:
        lean = [{**body, "track_total_hits": False} for body in bodies]
        for answer in self.api.searches(self.index, lean, _SHOWN):
            if "error" in answer:
                raise ClusterError(f"the cluster refused a search ({answer.get('status')}): {reason_of(dict(answer))}")
            rows = answer.get("hits", {}).get("hits", [])
            yield sorted(rows, key=lambda row: (-row["_score"], row["_id"]))


def direction_of(text: str, lang: str | None) -> str:
    """``query language->document language``, the latter :data:`ANY` where the documents are not restricted to one."""
    return f"{guess_language(text)}->{ANY if lang is None else lang}"
