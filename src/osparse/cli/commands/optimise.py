"""osparse optimise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse optimise --cluster http://127.0.0.1:9210 --index products --plan
osparse optimise --cluster http://127.0.0.1:9210 --index products
osparse optimise --cluster http://127.0.0.1:9210 --index products --segments 4 --threads 4
"""


@command("optimise", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--segments", type=click.IntRange(1), metavar="N",
              help="Segments of each shard.  [default: as few as keep each below 5 GB]")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N",
              help="Threads that build a sparse_vector field meanwhile: a cluster setting, put back after the merge.  "
              "[default: as it is set]")  # fmt: skip
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be done; change nothing.")
def optimise_command(cluster: Cluster, index: str, segments: int | None, threads: int | None, plan_only: bool) -> None:
    """Merge the segments of a deployed index and warm it up: after a load, or after a restart of the nodes.

    For an index that is loaded in one go; the merge of one that is written all the time is undone by the next writes.
    """
    from osparse.deployer import optimise

    done = optimise(cluster, index, segments=segments, threads=threads, plan_only=plan_only)
    echo(done.to_json(), lambda: with_own_flags(done))


command = optimise_command
