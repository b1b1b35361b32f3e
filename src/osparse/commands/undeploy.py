"""osparse undeploy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from osparse.commands._cluster import cluster_options
from osparse.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse undeploy --cluster http://localhost:9210 --index products --plan
osparse undeploy --cluster http://localhost:9210 --index products --keep 0
"""


@command("undeploy", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, help="The name whose old indices are removed.")
@click.option("--keep", type=click.IntRange(0), default=1, show_default=True,
              help="How many old ones to keep for a rollback, the youngest.")  # fmt: skip
@click.option("--orphans", is_flag=True, help="Also osparse's models and bundle parts that no index names.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be removed; touch nothing.")
def undeploy_command(cluster: Cluster, index: str, keep: int, orphans: bool, plan_only: bool) -> None:
    """Remove old indices of a name with their models, pipelines and bundle parts; never the one in use.

    A staged index, younger than the one in use, goes with --keep 0 only.
    The exit code is 1 if something could not be removed; running it again goes on.
    """
    from osparse.deployer import undeploy

    result = undeploy(cluster, index, keep=keep, orphans=orphans, plan_only=plan_only)
    echo(result.to_json(), lambda: str(result))
    if result.left:
        click.get_current_context().exit(1)


command = undeploy_command
