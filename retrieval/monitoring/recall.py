"""How many of the exact first hits an approximate field finds."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from osparse.contracts.deployment import stored_vectors
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.errors import ClusterError, InputError
from osparse.formula.lucene_rounding import quantise
from osparse.io.progress import progress
from osparse.opensearch_templates import render
from osparse.retrieval.searcher import Searcher

DEPTH = 10
"""Hits that are compared."""
PAGE = 500
"""Documents read in one request."""
WORDS = 8
"""Of a document's title, or of its text where it has none, that make a query."""
EQUAL = 1e-6
"""Relative difference of scores that counts as none."""


@dataclass(frozen=True)
class Recall:
    """Recall@10 of approximate search against exact search, which scores with weights of 9 significant bits."""

    mean: float
    lowest: float
    queries: int
    """Those that match a document."""

    def __str__(self) -> str:
        return (
            f"recall@{DEPTH} against exact search: {self.mean:.4f} over {self.queries:,} queries, "
            f"{self.lowest:.1f} at worst"
        )


def recall(searcher: Searcher, texts: Sequence[str]) -> Recall:
    """Compare the index's first ten hits with those of an exact search, computed here; every document is read once.

    A hit counts whose exact score is at least that of the tenth document, so that equal scores cost nothing.

    Raises:
        InputError: the index has no ``sparse_vector`` field.
        ClusterError: no query matches a document.
    """
    if searcher.deployment.vector != "sparse_vector":
        raise InputError(
            f"recall is measured of a sparse_vector field, and {searcher.index} has {searcher.deployment.vector}, "
            "whose scores are exact"
        )
    different = list(dict.fromkeys(texts))
    hits = searcher.passes.hits(different, size=DEPTH)
    ids = {token: number for number, token in enumerate(searcher.encoder.lexicon.tokens)}
    queries = [{str(ids[token]): w for token, w in searcher.weights(text).items()} for text in different]
    best, scored = _exact(searcher, queries, [{row["_id"] for row in rows} for rows in hits])
    shares = [
        min(1.0, sum(score >= least[0] * (1 - EQUAL) for score in mine.values()) / len(least))
        for least, mine in zip(best, scored, strict=True)
        if least
    ]
    if not shares:
        raise ClusterError(f"none of the {len(texts)} queries matches a document of {searcher.index}")
    return Recall(sum(shares) / len(shares), min(shares), len(shares))


def _exact(
    searcher: Searcher, queries: Sequence[Mapping[str, float]], found: Sequence[set[str]]
) -> tuple[list[list[float]], list[dict[str, float]]]:
    """Of each query: the exact scores of its best documents as a heap, and those of the documents in ``found``."""
    api, field = ClusterApi(searcher.cluster), searcher.deployment.field
    postings: dict[str, list[tuple[int, float]]] = {}
    for number, query in enumerate(queries):
        for token, weight in query.items():
            postings.setdefault(token, []).append((number, weight))
    best: list[list[float]] = [[] for _ in queries]
    scored: list[dict[str, float]] = [{} for _ in queries]
    with (
        progress("exact scores", api.count(searcher.index), "documents") as bar,
        closing(api.pages(searcher.index, PAGE, {"includes": [field]})) as pages,
    ):
        for page in pages:
            for hit in page:
                for number, score in _scores(stored_vectors(hit.get("_source", {}), field), postings).items():
                    _keep(best[number], score)
                    if hit["_id"] in found[number]:
                        scored[number][hit["_id"]] = score
            bar.advance(len(page))
    return best, scored


def _scores(
    vectors: Sequence[Mapping[str, float]], postings: Mapping[str, Sequence[tuple[int, float]]]
) -> dict[int, float]:
    """Query -> dot product with a document, its weights rounded as an exact search of the field rounds them."""
    scores: dict[int, float] = {}
    for vector in vectors:
        shared = [token for token in vector if token in postings]
        weights = quantise(np.array([float(vector[token]) for token in shared], np.float32))
        for token, weight in zip(shared, weights.tolist(), strict=True):
            for number, query_weight in postings[token]:
                scores[number] = scores.get(number, 0.0) + weight * query_weight
    return scores


def _keep(heap: list[float], score: float) -> None:
    if len(heap) < DEPTH:
        heapq.heappush(heap, score)
    else:
        heapq.heappushpop(heap, score)


def sample_queries(cluster: Cluster, index: str, number: int) -> list[str]:
    """Titles of documents drawn at random, or the first words of their texts: queries where no log is given."""
    body = {**render("documents_random", size=number, seed=random.randrange(2**31)), "_source": ["title", "text"]}
    hits = ClusterApi(cluster).search(index, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    texts = [str(hit["_source"].get("title") or hit["_source"].get("text") or "") for hit in hits]
    return [" ".join(text.split()[:WORDS]) for text in texts if text.strip()]
