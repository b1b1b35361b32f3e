"""The state of deployments in Prometheus' text format, for a scrape or for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from osparse.deployer.health.status import DeploymentStatus

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One value of a metric."""

    name: str
    """Without the prefix ``osparse_``."""
    labels: Labels
    value: float


HELP = {
    "cluster_up": "1 if the cluster answers",
    "deployment_ready": "1 if the deployment serves without a problem",
    "deployment_problems": "Problems that osparse status names",
    "deployment_documents": "Documents in the index",
    "deployment_bytes": "Bytes of the primary shards",
    "deployment_idf_age_seconds": "Seconds since the index with these query weights was made",
    "model_answers": "1 if a predict on the model works",
    "model_memory_bytes": "Bytes that the model is estimated to take on one node",
    "seismic_segments": "Segments of a sparse_vector field, searched approximately or exactly",
    "seismic_cache_bytes": "Bytes of the SEISMIC caches of all nodes and indices",
    "seismic_recall": "Share of the exact first ten hits that approximate search finds, on a sample of queries",
    "query_log_queries": "Queries of the log that were looked at",
    "query_log_unknown_token_share": "Share of the log's tokens that have no query weight",
    "query_log_zero_hit_share": "Share of the log's queries that find no document",
    "cluster_problems": "Problems of the cluster that belong to no deployment",
}
"""Name -> what it says; every one is a gauge."""


def deployment_samples(deployments: Sequence[DeploymentStatus], idf_ages: Mapping[str, float]) -> list[Sample]:
    """The samples of every deployment.

    Args:
        idf_ages: Index -> seconds.
    """
    return [sample for one in deployments for sample in _of(one, idf_ages.get(one.index))]


def _of(one: DeploymentStatus, idf_age: float | None) -> Iterable[Sample]:
    d = one.deployment
    own = {"index": one.index, "alias": ",".join(one.aliases)}
    yield Sample("deployment_ready", {**own, "bundle": d.bundle, "fingerprint": d.fingerprint[:12]}, one.ready)
    yield Sample("deployment_problems", own, len(one.problems))
    if not one.closed:
        yield Sample("deployment_documents", own, one.documents)
        yield Sample("deployment_bytes", own, one.size)
    if idf_age is not None:
        yield Sample("deployment_idf_age_seconds", {**own, "idf": d.idf_version}, idf_age)
    for model in one.models:
        labels = {**own, "model": model.name, "id": model.id, "state": model.state}
        yield Sample("model_answers", labels, model.answers)
        yield Sample("model_memory_bytes", {**own, "model": model.name, "id": model.id}, model.memory)
    if one.seismic is not None:
        yield Sample("seismic_segments", {**own, "search": "approximate"}, one.seismic.approximate)
        yield Sample("seismic_segments", {**own, "search": "exact"}, one.seismic.exact)


def metrics_text(samples: Iterable[Sample]) -> str:
    """The text, metric by metric, each with its HELP and TYPE lines; a sample that is given twice is written once."""
    by_name: dict[str, dict[tuple[tuple[str, str], ...], float]] = {name: {} for name in HELP}
    for sample in samples:
        by_name[sample.name][tuple(sorted(sample.labels.items()))] = float(sample.value)
    lines = []
    for name, values in by_name.items():
        if values:
            lines += [f"# HELP osparse_{name} {HELP[name]}", f"# TYPE osparse_{name} gauge"]
            lines += [f"osparse_{name}{_labels(labels)} {_number(value)}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
