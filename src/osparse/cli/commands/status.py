"""osparse status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.errors import ClusterError, InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.deployer.health.status import DeploymentStatus
    from osparse.retrieval.monitoring.watch import Watched

EXAMPLES = """
osparse status --cluster http://localhost:9210
osparse status --cluster http://localhost:9210 --index products --bundle build/bundle
osparse status --cluster http://localhost:9210 --heal --quiet
osparse status --cluster http://localhost:9210 --index products --query-log queries.log --max-zero-hits 0.05
osparse status --cluster http://localhost:9210 --metrics > /var/lib/node_exporter/osparse.prom
"""
_SHARE = click.FloatRange(0, 1)


@command("status", examples=EXAMPLES)
@cluster_options
@click.option("--index", help="One deployment only; all of them otherwise.")
@click.option("--bundle", type=FOLDER, help="Also report deployments of another bundle than this one.")
@click.option(
    "--heal", is_flag=True, help="Deploy models again that do not answer, rebuild pipelines, put defaults back."
)
@click.option("--plan", "plan_only", is_flag=True, help="With --heal: print what would be done; change nothing.")
@click.option("--metrics", is_flag=True, help="Print Prometheus' text format, also of a cluster that does not answer.")
@click.option("--query-log", type=FOLDER, metavar="FILE",
              help="Count unknown tokens and zero-hit queries in its last 1,000 lines; goes with --index.")  # fmt: skip
@click.option("--max-unknown", type=_SHARE, metavar="SHARE",
              help="With --query-log: exit code 3 if more of the tokens are unknown.")  # fmt: skip
@click.option("--max-zero-hits", type=_SHARE, metavar="SHARE",
              help="With --query-log: exit code 3 if more of the queries find nothing.")  # fmt: skip
@click.option("--recall", type=click.IntRange(1, 10_000), metavar="N",
              help="Measure recall@10 of a sparse_vector field on N queries, of --query-log or made of titles; reads "
              "every document. Goes with --index.")  # fmt: skip
def status_command(
    cluster: Cluster,
    index: str | None,
    bundle: Path | None,
    heal: bool,
    plan_only: bool,
    metrics: bool,
    query_log: Path | None,
    max_unknown: float | None,
    max_zero_hits: float | None,
    recall: int | None,
) -> None:
    """Read a cluster's deployments back: fingerprints, documents, models on their nodes, ready or not.

    Exit codes, for cron: 0 all ready, 1 one of them is not, a model that no index uses failed, or the cluster does not
    answer, 3 all ready, but not of --bundle, or above --max-unknown or --max-zero-hits.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import drift_from, other_problems, status
    from osparse.deployer import heal as heal_deployments
    from osparse.retrieval.monitoring.watch import samples, watch

    if plan_only and not heal:
        raise InputError("--plan goes with --heal; without it, status touches nothing anyway")
    if index is None and (query_log is not None or recall is not None):
        raise InputError("--query-log and --recall look at one deployment; name it with --index")
    if query_log is None and (max_unknown is not None or max_zero_hits is not None):
        raise InputError("--max-unknown and --max-zero-hits go with --query-log FILE; give that too")
    expected = Bundle.open(bundle) if bundle is not None else None
    try:
        healed = heal_deployments(cluster, index, plan_only=plan_only) if heal else []
        deployments = status(cluster, index)
        others = other_problems(cluster) if index is None else []
        watched = watch(cluster, index, deployments, query_log, recall)
    except ClusterError:
        if metrics:
            click.echo(_text([("cluster_up", 0)]), nl=False)
        raise
    drift = drift_from(deployments, expected) if expected is not None else []
    exceeded = watched.exceeded(max_unknown, max_zero_hits)
    result = {
        "cluster": cluster.url,
        "deployments": [deployment.to_json() for deployment in deployments],
        "healed": [{"index": one.index, "what": one.what, "problem": one.problem} for one in healed],
        "problems": others,
        "drift": drift,
        "query_log": None if watched.log is None else asdict(watched.log),
        "recall": None if watched.recall is None else asdict(watched.recall),
        "exceeded": exceeded,
    }
    verb = "would" if plan_only else "healed"
    lines = [
        *(f"{'could not' if one.problem else verb} {one}" for one in healed),
        *_lines(deployments, watched),
        *(f"problem: {problem}" for problem in others),
        *(f"drift: {sentence}" for sentence in drift),
        *(f"exceeded: {sentence}" for sentence in exceeded),
    ]
    if metrics:
        click.echo(samples(deployments, watched, others), nl=False)
    else:
        echo(result, lambda: "\n".join(lines) or f"{cluster.url} has no deployment; make one with: osparse deploy")
    if others or not all(deployment.ready for deployment in deployments):
        click.get_current_context().exit(1)
    if drift or exceeded:
        click.get_current_context().exit(3)


def _lines(deployments: list[DeploymentStatus], watched: Watched) -> Iterator[str]:
    yield from map(str, deployments)
    for part in (watched.log, watched.recall):
        if part is not None:
            yield str(part)


def _text(values: list[tuple[str, float]]) -> str:
    from osparse.deployer import metrics_text
    from osparse.deployer.health.metrics import Sample

    labels: dict[str, Any] = {}
    return metrics_text([Sample(name, labels, value) for name, value in values])


command = status_command
