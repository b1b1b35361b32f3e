"""osparse undeploy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import command, echo
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse undeploy --cluster http://localhost:9210 --index products --plan
osparse undeploy --cluster http://localhost:9210 --index products --keep 0
osparse undeploy --cluster http://localhost:9210 --index products --all --plan
"""


@command("undeploy", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, help="The name whose old indices are removed.")
@click.option("--keep", type=click.IntRange(0), default=1, show_default=True,
              help="Number of old indices to keep for a rollback, newest first.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="Delete the index in use too, and the BM25 indices of osparse evaluate.")  # fmt: skip
@click.option("--orphans", is_flag=True, help="Also delete pipelines, models and stored bundles that no index uses.")
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be removed; change nothing.")
def undeploy_command(cluster: Cluster, index: str, keep: int, everything: bool, orphans: bool, plan_only: bool) -> None:
    """Remove old indices of a name with their models, pipelines and bundle parts; the one in use only with --all.

    A staged index, younger than the one in use, is removed with --keep 0 or --all only. An index on which another alias
    stands, or whose pipelines or models something else names, is left.
    The exit code is 1 if something could not be removed; running it again goes on.
    """
    from osparse.deployer import undeploy

    if everything and click.get_current_context().get_parameter_source("keep") == ParameterSource.COMMANDLINE:
        raise InputError("--all keeps nothing; leave out --keep")
    result = undeploy(cluster, index, keep=keep, everything=everything, orphans=orphans, plan_only=plan_only)
    echo(result.to_json(), lambda: with_own_flags(result))
    if result.left:
        click.get_current_context().exit(1)


command = undeploy_command
