"""osparse status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from osparse.commands._cluster import cluster_options
from osparse.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse status --cluster http://localhost:9210
osparse status --cluster http://localhost:9210 --index products --json
"""


@command("status", examples=EXAMPLES)
@cluster_options
@click.option("--index", help="One deployment only; all of them otherwise.")
def status_command(cluster: Cluster, index: str | None) -> None:
    """Read a cluster's deployments back: fingerprints, documents, models, ready or not.

    The exit code is 1 if one of them is not ready.
    """
    from osparse.deployer import status

    found = status(cluster, index)
    echo(
        {"cluster": cluster.url, "deployments": [one.to_json() for one in found]},
        lambda: "\n".join(map(str, found)) or f"{cluster.url} has no deployment; make one with: osparse deploy",
    )
    if not all(one.ready for one in found):
        click.get_current_context().exit(1)


command = status_command
