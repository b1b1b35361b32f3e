"""The state of a ``sparse_vector`` field: which segments are searched approximately, and what their cache takes.

Segments of at least ``approximate_threshold`` documents are searched by SEISMIC clusters with 8-bit weights, smaller
ones exactly; so both the speed and the scores of an index change when a merge takes a segment past the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.shards import check_shards
from osparse.deployer.index.seismic_parameters import threshold_of
from osparse.deployer.segments.segments import Segment, read_segments
from osparse.errors import ClusterError

STATISTICS = "plugins.neural_search.stats_enabled"
BREAKER = "plugins.neural_search.circuit_breaker.limit"
_KB = 1024


@dataclass(frozen=True)
class SeismicStatus:
    """What serves the approximate searches of an index."""

    threshold: int
    approximate: int
    """Segments of at least so many documents, which SEISMIC searches."""
    exact: int
    """Smaller segments, which are searched exactly."""
    share: float
    """Of the documents, in segments that SEISMIC searches."""
    memory: int | None
    """Bytes of the caches of all nodes and indices; None where the cluster does not count."""
    queries: int | None
    """Searches by SEISMIC since the nodes started, those that name ``method_parameters``; None as ``memory``."""
    limit: str
    """Of the caches, as the cluster setting says: a share of each node's heap."""

    def __str__(self) -> str:
        parts = [
            f"SEISMIC: {self.approximate} segments of at least {self.threshold:,} documents ({self.share:.0%} of all "
            f"documents), {self.exact} smaller ones searched exactly"
        ]
        if self.memory is None:
            parts.append(f"memory not counted; the cluster setting {STATISTICS} turns that on")
        else:
            parts.append(f"{self.memory / 1e6:.1f} MB cached by all indices (limit {self.limit} of a node's heap)")
            parts.append(f"{self.queries:,} searches since the nodes started")
        return "; ".join(parts)


def read_seismic(api: ClusterApi, index: str, field: str) -> SeismicStatus:
    """Read the state of a concrete index."""
    threshold = threshold_of((api.get_mapping(index) or {}).get(index, {}).get("mappings", {}), field)
    large, small = split_segments(read_segments(api, index), threshold)
    documents = sum(segment.documents for segment in (*large, *small))
    memory, queries = _statistics(api)
    return SeismicStatus(
        threshold, len(large), len(small), sum(s.documents for s in large) / documents if documents else 0.0,
        memory, queries, api.settings().get(BREAKER, "10%"),
    )  # fmt: skip


def split_segments(segments: Sequence[Segment], threshold: int) -> tuple[list[Segment], list[Segment]]:
    """Those that SEISMIC searches, and those searched exactly; deleted documents count, as the server counts them."""
    large = [segment for segment in segments if segment.documents + segment.deleted >= threshold]
    return large, [segment for segment in segments if segment not in large]


def warm_up_seismic(api: ClusterApi, index: str) -> None:
    """Load the clusters of an index into the caches of its nodes.

    Raises:
        ClusterError: a shard did not fit into the cache, which the server answers with status 200.
    """
    answer = api.cluster.request("POST", f"/_plugins/_neural/warmup/{quote(index, safe='')}", timeout=600)
    try:
        check_shards(index, answer.body or {})
    except ClusterError as problem:
        if "Circuit Breaker" not in str(problem):
            raise
        raise ClusterError(
            f"{index} was not cached whole, since the SEISMIC caches of a node are full ({problem}); searches stay "
            f"correct and are slower. Give the nodes more heap, or prune the documents; raising {BREAKER} takes heap "
            "that the node needs otherwise"
        ) from None


def _statistics(api: ClusterApi) -> tuple[int | None, int | None]:
    """Bytes in the caches and searches counted; None where the endpoint is turned off or not there."""
    answer = api.cluster.request("GET", "/_plugins/_neural/stats", allow=(400, 403, 404))
    if answer.status != 200 or not isinstance(answer.body, Mapping):
        return None, None
    total = answer.body.get("all_nodes", {})
    memory = total.get("memory", {}).get("sparse", {}).get("sparse_memory_usage")
    counted = total.get("query", {}).get("neural_sparse", {}).get("seismic_query_requests")
    return (None if memory is None else int(float(memory) * _KB)), (None if counted is None else int(counted))
