"""osparse doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import command, echo
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse doctor
osparse doctor --cluster http://localhost:9210
osparse doctor --cluster http://localhost:9210 --index products
"""


@command("doctor", examples=EXAMPLES)
@cluster_options(required=False)
@click.option("--index", metavar="NAME", help="Also: is it closed or blocked, and may these credentials deploy it?")
def doctor_command(cluster: Cluster | None, index: str | None) -> None:
    """Report what this machine, and a cluster if one is named, lack for each mode."""
    from osparse.deployer import doctor

    if index is not None and cluster is None:
        raise InputError("--index is looked at on a cluster; give --cluster too")
    found = doctor(cluster, index)
    echo(found.to_json(), lambda: str(found))


command = doctor_command
