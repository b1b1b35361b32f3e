"""Requests to a cluster: many queries at once by _msearch, the time of single ones, the non-zeros of documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from osparse.contracts.deployment import stored_vectors
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster, reason_of
from osparse.errors import ClusterError
from osparse.io.progress import progress
from osparse.retrieval.systems.system import Run

BATCH = 50
"""Queries in one _msearch."""
WARM_UP = 20
TIMED = 200
"""Queries timed one by one, after the warm-up."""
SIZED = 20_000
"""Documents read to count their non-zeros."""
PAGE = 1000
"""Documents read in one request."""
_LEAN = {"_source": False, "track_total_hits": False}
_SHOWN = "responses.hits.hits._id,responses.hits.hits._score,responses.error,responses.status"


def cluster_run(cluster: Cluster, index: str, bodies: Mapping[str, dict[str, Any] | None], label: str) -> Run:
    """Send many queries; equal scores are ordered by document id, and a query without a body has no documents.

    Raises :class:`ClusterError` if the cluster refuses one of the queries.
    """
    run: Run = {query: {} for query in bodies}
    sent = [(query, body) for query, body in bodies.items() if body is not None]
    with progress(label, len(bodies), "queries") as bar:
        bar.advance(len(bodies) - len(sent))
        for start in range(0, len(sent), BATCH):
            batch = sent[start : start + BATCH]
            for (query, _), answer in zip(batch, _msearch(cluster, index, [b for _, b in batch]), strict=True):
                run[query] = _ranking(query, answer)
            bar.advance(len(batch))
    return run


def _msearch(cluster: Cluster, index: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return ClusterApi(cluster).searches(index, [{**body, **_LEAN} for body in bodies], _SHOWN)


def _ranking(query: str, answer: Mapping[str, Any]) -> dict[str, float]:
    if "error" in answer:
        raise ClusterError(f"the cluster refused query {query} ({answer.get('status')}): {reason_of(dict(answer))}")
    hits = answer.get("hits", {}).get("hits", [])
    ranked = sorted(hits, key=lambda hit: (-hit["_score"], hit["_id"]))
    return {hit["_id"]: float(hit["_score"]) for hit in ranked}


def latencies(systems: Mapping[str, Callable[[str], object]], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """System -> p50 and p95 in ms of one query at a time; they take turns, so a busy moment slows all of them."""
    step = max(1, len(texts) // (TIMED + WARM_UP))
    chosen = texts[::step][: TIMED + WARM_UP]
    warm_up = min(WARM_UP, len(chosen) // 2)
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for number, text in enumerate(chosen):
        for name, send in systems.items():
            started = time.perf_counter()
            send(text)
            if number >= warm_up:
                spent[name].append((time.perf_counter() - started) * 1000)
    return {
        name: {"p50": float(np.percentile(ms, 50)), "p95": float(np.percentile(ms, 95))}
        for name, ms in spent.items()
        if ms
    }


def non_zeros(cluster: Cluster, index: str, field: str) -> dict[str, float]:
    """mean and max weights per document, over the first :data:`SIZED` ``documents`` of the index, at most."""
    counts = np.fromiter(_sizes(cluster, index, field), np.int64)
    if not len(counts):
        return {"mean": 0.0, "max": 0.0, "documents": 0}
    return {"mean": float(counts.mean()), "max": float(counts.max()), "documents": len(counts)}


def _sizes(cluster: Cluster, index: str, field: str) -> Iterator[int]:
    """Number of weights of each document; of a Serverless collection, which has no scrolls, of a page of them."""
    api, source = ClusterApi(cluster), {"includes": [field]}
    if cluster.serverless:
        yield from (_weights(hit, field) for hit in api.some(index, PAGE, source))
        return
    with closing(api.pages(index, PAGE, source)) as pages:
        documents = (hit for hits in pages for hit in hits)
        yield from (_weights(hit, field) for hit in islice(documents, SIZED))


def _weights(hit: Mapping[str, Any], field: str) -> int:
    return sum(map(len, stored_vectors(hit.get("_source", {}), field)))
