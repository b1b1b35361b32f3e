"""osparse status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse status --cluster http://localhost:9210
osparse status --cluster http://localhost:9210 --index products --bundle build/bundle
osparse status --cluster http://localhost:9210 --heal --quiet
"""


@command("status", examples=EXAMPLES)
@cluster_options
@click.option("--index", help="One deployment only; all of them otherwise.")
@click.option("--bundle", type=FOLDER, help="Also report deployments of another bundle than this one.")
@click.option(
    "--heal", is_flag=True, help="Deploy models again that do not answer, rebuild pipelines, put defaults back."
)
@click.option("--plan", "plan_only", is_flag=True, help="With --heal: print what would be done; change nothing.")
def status_command(cluster: Cluster, index: str | None, bundle: Path | None, heal: bool, plan_only: bool) -> None:
    """Read a cluster's deployments back: fingerprints, documents, models on their nodes, ready or not.

    Exit codes, for cron: 0 all ready, 1 one of them is not, a model that no index uses failed, or the cluster does not
    answer, 3 all ready, but not of --bundle.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import drift_from, other_problems, status
    from osparse.deployer import heal as heal_deployments

    if plan_only and not heal:
        raise InputError("--plan goes with --heal; without it, status touches nothing anyway")
    wanted = Bundle.open(bundle) if bundle is not None else None
    healed = heal_deployments(cluster, index, plan_only=plan_only) if heal else []
    found = status(cluster, index)
    drift = drift_from(found, wanted) if wanted is not None else []
    others = other_problems(cluster) if index is None else []
    words = "would" if plan_only else "healed"
    lines = [
        *(f"{'could not' if one.problem else words} {one}" for one in healed),
        *map(str, found),
        *(f"problem: {one}" for one in others),
        *(f"drift: {one}" for one in drift),
    ]
    result = {
        "cluster": cluster.url,
        "deployments": [one.to_json() for one in found],
        "healed": [{"index": one.index, "what": one.what, "problem": one.problem} for one in healed],
        "problems": others,
        "drift": drift,
    }
    echo(result, lambda: "\n".join(lines) or f"{cluster.url} has no deployment; make one with: osparse deploy")
    if others or not all(one.ready for one in found):
        click.get_current_context().exit(1)
    if drift:
        click.get_current_context().exit(3)


command = status_command
