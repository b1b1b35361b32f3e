"""What ``osparse status`` reports beyond the state of the deployments, and all of it as metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.health.metrics import Sample, deployment_samples, metrics_text
from osparse.deployer.health.status import DeploymentStatus
from osparse.retrieval.monitoring.query_log import LATEST, QueryLog, examine_queries, read_query_log
from osparse.retrieval.monitoring.recall import Recall, recall, sample_queries
from osparse.retrieval.searcher import Searcher


@dataclass(frozen=True)
class Watched:
    """What was asked for."""

    index: str | None = None
    log: QueryLog | None = None
    recall: Recall | None = None
    idf_ages: Mapping[str, float] = field(default_factory=dict)
    """Index -> seconds since it was made, and with it its query weights."""

    def exceeded(self, max_unknown: float | None, max_zero_hits: float | None) -> list[str]:
        """A sentence for each limit that the query log does not keep."""
        if self.log is None:
            return []
        limits = (
            ("of the tokens are unknown", self.log.unknown_tokens, max_unknown),
            ("of the queries find nothing", self.log.zero_hits, max_zero_hits),
        )
        return [
            f"{share:.1%} {what}, at most {limit:.1%} may be"
            for what, share, limit in limits
            if limit is not None and share > limit
        ]


def watch(
    cluster: Cluster,
    index: str | None,
    deployments: Sequence[DeploymentStatus],
    query_log: Path | None = None,
    recall_queries: int | None = None,
) -> Watched:
    """Look at the queries of a log, and measure recall, of one deployment; read the ages of all.

    Raises:
        InputError: the log has no query, or recall is asked of a field with exact scores.
        ClusterError: see its text.
    """
    ages = {one.index: age_of(ClusterApi(cluster), one.index) for one in deployments}
    if index is None or (query_log is None and recall_queries is None):
        return Watched(index, idf_ages=ages)
    searcher = Searcher(cluster, index)
    texts = read_query_log(query_log, max(LATEST, recall_queries or 0)) if query_log is not None else None
    log = examine_queries(searcher, texts) if texts is not None else None
    measured = None
    if recall_queries is not None:
        asked = sample_queries(cluster, index, recall_queries) if texts is None else texts[-recall_queries:]
        measured = recall(searcher, asked)
    return Watched(index, log, measured, ages)


def age_of(api: ClusterApi, index: str) -> float:
    """Seconds since an index was made, by this machine's clock; 0 where that is behind the cluster's."""
    return max(0.0, time.time() - api.creation_date(index) / 1000)


def samples(deployments: Sequence[DeploymentStatus], watched: Watched, others: Sequence[str]) -> str:
    """The metrics of a cluster that answers, in Prometheus' text format."""
    values = [
        Sample("cluster_up", {}, 1),
        Sample("cluster_problems", {}, len(others)),
        *deployment_samples(deployments, watched.idf_ages),
    ]
    own = {"alias": watched.index or ""}
    memory = {one.seismic.memory for one in deployments if one.seismic is not None} - {None}
    values += [Sample("seismic_cache_bytes", {}, number) for number in memory if number is not None]
    if watched.log is not None:
        values += [
            Sample("query_log_queries", own, watched.log.queries),
            Sample("query_log_unknown_token_share", own, watched.log.unknown_tokens),
            Sample("query_log_zero_hit_share", own, watched.log.zero_hits),
        ]
    if watched.recall is not None:
        values.append(Sample("seismic_recall", own, watched.recall.mean))
    return metrics_text(values)
