"""osparse rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse rollback --cluster http://localhost:9210 --index products --plan
osparse rollback --cluster http://localhost:9210 --index products
"""


@command("rollback", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, help="The alias whose last switch is undone.")
@click.option("--carry-aliases", is_flag=True, help="Move the other aliases of the current index too.")
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be done; change nothing.")
def rollback_command(cluster: Cluster, index: str, carry_aliases: bool, plan_only: bool) -> None:
    """Give a name back to the index it stood on before the last switch.

    One call moves the alias; no query fails. A second rollback undoes the first.
    """
    from osparse.deployer import rollback

    result = rollback(cluster, index, plan_only=plan_only, carry_aliases=carry_aliases)
    echo(result.to_json(), lambda: with_own_flags(result))


command = rollback_command
