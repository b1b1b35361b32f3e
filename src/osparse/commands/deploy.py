"""osparse deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.commands._cluster import cluster_options
from osparse.commands._common import FOLDER, command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse deploy build/bundle --cluster http://localhost:9210 --index products
osparse deploy build/bundle --cluster https://search.example:9200 --ca-file ca.pem --index products --plan
"""


@command("deploy", examples=EXAMPLES)
@click.argument("bundle", type=FOLDER)
@cluster_options
@click.option("--index", required=True, help="The name to search under: an alias onto <name>-<fingerprint>.")
@click.option("--mode", type=click.Choice(["auto", "ml-commons", "client"]), default="auto", show_default=True,
              help="ml-commons: the cluster encodes; client: osparse does; auto: what the plugins allow.")  # fmt: skip
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done and why; touch nothing.")
@click.option("--two-phase", is_flag=True, help="Score text queries in two phases (ml-commons; big indices).")
@click.option("--allow-settings", is_flag=True, help="Change the cluster settings that ML Commons needs.")
def deploy_command(bundle: Path, cluster: Cluster, index: str, **options: Any) -> None:
    """Serve BUNDLE on a cluster under an index name.

    Running it again changes nothing and says so; after an interruption it finishes the work.
    """
    from osparse.bundle import Bundle
    from osparse.deployer import deploy

    result = deploy(Bundle.open(bundle), cluster, index, **options)
    echo(result.to_json(), lambda: str(result))


command = deploy_command
