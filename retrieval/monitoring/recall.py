"""How many of the exact first hits an approximate field finds."""

from __future__ import annotations

import heapq
import random
from collections.abc import Collection, Mapping, Sequence
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
KEPT = 50
"""Exact hits that are kept of a query: more than are compared, since some have the score of the tenth."""
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


@dataclass(frozen=True)
class ExactHits:
    """What an exact search finds, computed from the stored weights of an index."""

    texts: list[str]
    """The queries, each once."""
    best: list[dict[str, float]]
    """Document -> score of the first :data:`KEPT` of each query."""

    def recall(self, hits: Sequence[Collection[str]]) -> Recall | None:
        """Of the first :data:`DEPTH` hits of each query; None where no query matches a document.

        A hit counts whose exact score is at least that of the tenth document, so that equal scores cost nothing, up to
        :data:`KEPT` of them.
        """
        shares = []
        for best, found in zip(self.best, hits, strict=True):
            least = sorted(best.values(), reverse=True)[:DEPTH]
            if least:
                right = sum(best.get(document, 0.0) >= least[-1] * (1 - EQUAL) for document in found)
                shares.append(min(1.0, right / len(least)))
        return Recall(sum(shares) / len(shares), min(shares), len(shares)) if shares else None


def recall(searcher: Searcher, texts: Sequence[str]) -> Recall:
    """Compare the index's first ten hits with those of an exact search, computed here; every document is read once.

    Raises:
        InputError: the index has no ``sparse_vector`` field.
        ClusterError: no query matches a document.
    """
    exact = exact_hits(searcher, texts)
    hits = searcher.passes.hits(exact.texts, size=DEPTH)
    measured = exact.recall([[row["_id"] for row in rows] for rows in hits])
    if measured is None:
        raise ClusterError(f"none of the {len(texts)} queries matches a document of {searcher.index}")
    return measured


def exact_hits(searcher: Searcher, texts: Sequence[str]) -> ExactHits:
    """The first hits of an exact search with the searcher's query weights; every document is read once.

    Raises:
        InputError: the index has no ``sparse_vector`` field.
    """
    if searcher.deployment.vector != "sparse_vector":
        raise InputError(
            f"recall is measured of a sparse_vector field, and {searcher.index} has {searcher.deployment.vector}, "
            "whose scores are exact"
        )
    different = list(dict.fromkeys(texts))
    ids = {token: number for number, token in enumerate(searcher.encoder.lexicon.tokens)}
    queries = [{str(ids[token]): w for token, w in searcher.weights(text).items()} for text in different]
    return ExactHits(different, [{name: score for score, name in heap} for heap in _exact(searcher, queries)])


def _exact(searcher: Searcher, queries: Sequence[Mapping[str, float]]) -> list[list[tuple[float, str]]]:
    """(exact score, document) of the best documents of each query, as a heap."""
    api, field = ClusterApi(searcher.cluster), searcher.deployment.field
    postings: dict[str, list[tuple[int, float]]] = {}
    for number, query in enumerate(queries):
        for token, weight in query.items():
            postings.setdefault(token, []).append((number, weight))
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    with (
        progress("exact scores", api.count(searcher.index), "documents") as bar,
        closing(api.pages(searcher.index, PAGE, {"includes": [field]})) as pages,
    ):
        for page in pages:
            for hit in page:
                for number, score in _scores(stored_vectors(hit.get("_source", {}), field), postings).items():
                    _keep(best[number], (score, hit["_id"]))
            bar.advance(len(page))
    return best


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


def _keep(heap: list[tuple[float, str]], entry: tuple[float, str]) -> None:
    if len(heap) < KEPT:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def sample_queries(cluster: Cluster, index: str, number: int) -> list[str]:
    """Titles of documents drawn at random, or the first words of their texts: queries where no log is given."""
    body = {**render("documents_random", size=number, seed=random.randrange(2**31)), "_source": ["title", "text"]}
    hits = ClusterApi(cluster).search(index, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    texts = [str(hit["_source"].get("title") or hit["_source"].get("text") or "") for hit in hits]
    return [" ".join(text.split()[:WORDS]) for text in texts if text.strip()]
