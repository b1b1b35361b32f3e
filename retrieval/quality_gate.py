"""The gate of a deployment: nDCG@10 over judged queries, of the old and of the new index."""

from __future__ import annotations

import logging
from pathlib import Path

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.index.gate import MARGIN, Gate
from osparse.errors import CheckError
from osparse.evaluation.measures import NDCG, Benchmark, open_benchmark
from osparse.retrieval.evaluator import evaluate

log = logging.getLogger("osparse.retrieval.quality_gate")

LOOKED_UP = 1000
"""Document ids in one request."""


def gate(cluster: Cluster, dataset: Path | str, *, split: str = "test", margin: float = MARGIN) -> Gate:
    """What :func:`osparse.deployer.deploy` takes as ``gate``.

        deploy(bundle, cluster, "products", upgrade=Upgrade(gate=gate(cluster, "build/dataset")))

    Args:
        dataset: A dataset directory or a BEIR folder whose documents are in both indices.
        split: Whose judgements are used.
        margin: nDCG@10 that the new index may lose.

    Raises:
        DatasetError: the dataset cannot be read, or has no such split.
    """
    data = open_benchmark(dataset, split)
    name = f"{data.name} ({split})"
    return Gate(lambda index: ndcg(cluster, index, data, name), name, margin)


def ndcg(cluster: Cluster, index: str, data: Benchmark, name: str) -> float:
    """Mean over the queries of every direction; raises :class:`CheckError` if no judged document is in the index."""
    check_present(cluster, index, data, name)
    rows = [row for row in evaluate(data, cluster=cluster, index=index).rows if not row.no_shared_word]
    return sum(row.figures[NDCG] * row.queries for row in rows) / sum(row.queries for row in rows)


def check_present(cluster: Cluster, index: str, data: Benchmark, name: str) -> None:
    judged = sorted({document for judged in data.sets for grades in judged.qrels.values() for document in grades})
    api = ClusterApi(cluster)
    batches = (judged[start : start + LOOKED_UP] for start in range(0, len(judged), LOOKED_UP))
    present = sum(len(api.present(index, ids)) for ids in batches)
    if not present:
        raise CheckError(
            f"none of the {len(judged):,} relevant documents of {name} is in {index} (like {judged[0]!r}), so the gate "
            "cannot tell a good index from a bad one; give the dataset whose documents are indexed, under the same ids"
        )
    if present < len(judged):
        missing = len(judged) - present
        log.warning("%s: %d of %d relevant documents of %s are missing", index, missing, len(judged), name)
