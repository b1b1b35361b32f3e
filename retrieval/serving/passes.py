"""Many searches under a setting: feedback first where there is any, then the hits, then the fusion with BM25."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from osparse.algorithms.language import guess_language
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster, reason_of
from osparse.errors import ClusterError
from osparse.retrieval.serving.forms import Hits, SearchForms
from osparse.retrieval.serving.fusion import DEPTH, fused

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
        self, texts: Sequence[str], *, size: int, lang: str | None = None, source: bool | None = False
    ) -> list[list[Row]]:
        """The hits of each text by falling score, equal scores by id.

        Args:
            source: Whether they bring their documents; None: without the weights.

        Raises:
            ClusterError: the cluster refuses one of the searches.
        """
        weights = [self.forms.weights(text) for text in texts]
        more = self._feedback(texts, weights, lang)
        hybrid = self.forms.setting.hybrid
        depth = size if hybrid is None else max(size, DEPTH)
        bodies = [
            self.forms.body(text, query, size=depth, lang=lang, more=joins) if query else None
            for text, query, joins in zip(texts, weights, more, strict=True)
        ]
        if hybrid is None:
            return self._searched(bodies, source)
        words = [self.forms.bm25(text, size=depth, lang=lang) for text in texts]
        both = self._searched([*bodies, *words], source)
        pairs = zip(texts, both[: len(texts)], both[len(texts) :], strict=True)
        return [self._fused(text, sparse, bm25, lang)[:size] for text, sparse, bm25 in pairs]

    def bm25(self, texts: Sequence[str], *, size: int, lang: str | None = None) -> list[dict[str, float]]:
        """Document -> BM25 score of each text, best first."""
        rows = self._searched([self.forms.bm25(text, size=size, lang=lang) for text in texts], source=False)
        return [{row["_id"]: float(row["_score"]) for row in part} for part in rows]

    def _feedback(
        self, texts: Sequence[str], weights: Sequence[dict[str, float]], lang: str | None
    ) -> list[dict[str, float]]:
        """What the first hits join to each query."""
        if self.forms.setting.feedback is None:
            return [{} for _ in texts]
        bodies = [
            self.forms.first_pass(text, query, lang) if query else None
            for text, query in zip(texts, weights, strict=True)
        ]
        answers = self._searched(bodies, source=True)
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

    def _searched(self, bodies: Sequence[dict[str, Any] | None], source: bool | None) -> list[list[Row]]:
        """The hits of each body; none for None."""
        sent = [body if source else {**body, "_source": False} for body in bodies if body is not None]
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


def direction_of(text: str, lang: str | None) -> str | None:
    """``query language->document language``; None where the documents are not restricted to a language."""
    return None if lang is None else f"{guess_language(text)}->{lang}"
