"""osparse doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse doctor
osparse doctor --cluster http://localhost:9210
"""


@command("doctor", examples=EXAMPLES)
@cluster_options(required=False)
def doctor_command(cluster: Cluster | None) -> None:
    """Report what this machine, and a cluster if one is named, lack for each mode."""
    from osparse.deployer import doctor

    found = doctor(cluster)
    echo(found.to_json(), lambda: str(found))


command = doctor_command
