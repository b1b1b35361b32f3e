"""The gate of a deployment: nDCG@10 over judged queries, of the old and of the new index."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.index.gate import MARGIN, Gate
from osparse.errors import CheckError
from osparse.evaluation.measures import NDCG, Benchmark, Measures, open_benchmark, run_depth
from osparse.evaluation.trained_on import TrainedOn, trained_on
from osparse.retrieval.evaluator import affected_queries
from osparse.retrieval.figures import measure_system
from osparse.retrieval.systems.cluster_index import ClusterIndex

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
    measured = _MeasuredIndices(cluster, data, name)
    return Gate(measured.ndcg, name, margin, measured.remark)


@dataclass(frozen=True)
class _MeasuredIndices:
    """nDCG@10 of each query in the indices that were measured, and what their models were trained on."""

    cluster: Cluster
    data: Benchmark
    name: str
    values: dict[str, list[Measures]] = field(default_factory=dict)
    """Index -> of each judged set."""
    learnt: dict[str, TrainedOn | None] = field(default_factory=dict)

    def ndcg(self, index: str) -> float:
        """Mean over the queries of every direction; raises :class:`CheckError` if no judged document is there."""
        check_present(self.cluster, index, self.data, self.name)
        system = ClusterIndex(self.cluster, index, self.data)
        depth = run_depth([NDCG])
        self.values[index] = [
            measure_system(judged, system.run(judged, depth), [NDCG]).measures for judged in self.data.sets
        ]
        for note in system.notes():
            log.warning("%s: %s", index, note)
        texts = system.training_texts()
        self.learnt[index] = None if texts is None else trained_on(self.data.documents, self.data.sets, texts)
        return _mean(self.values[index])

    def remark(self, old: str, new: str) -> str:
        """What the models of both indices were trained on of the judged queries, and nDCG@10 without that."""
        known = {index: counts for index in (old, new) if (counts := self.learnt[index]) is not None}
        parts = [f"{index}: {counts.text(self.data.split)}" for index, counts in known.items() if counts.any]
        parts += [f"{index}: what its model was trained on is not known" for index in (old, new) if index not in known]
        if not any(counts.any for counts in known.values()):
            return "; ".join(parts)
        affected = affected_queries(self.data, known.values())
        rest = [frozenset(judged.qrels) - trained for judged, trained in zip(self.data.sets, affected, strict=True)]
        if not any(rest):
            return "; ".join([*parts, "no query is left that was not trained on"])
        of_rest = {
            index: _mean([one.subset(queries) for one, queries in zip(self.values[index], rest, strict=True)])
            for index in (new, old)
        }
        without = f"without them ({sum(map(len, rest)):,} queries): {of_rest[new]:.4f}, {of_rest[old]:.4f} in the old"
        return "; ".join([*parts, without])


def _mean(measures: list[Measures]) -> float:
    """Over the queries of all sets together."""
    return float(np.concatenate([of_set.values(NDCG) for of_set in measures]).mean())


def ndcg(cluster: Cluster, index: str, data: Benchmark, name: str) -> float:
    """Mean over the queries of every direction; raises :class:`CheckError` if no judged document is in the index."""
    return _MeasuredIndices(cluster, data, name).ndcg(index)


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
