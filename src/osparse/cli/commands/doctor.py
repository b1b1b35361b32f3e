"""osparse doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._rows import LOCATION, row_options
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse doctor
osparse doctor --cluster http://localhost:9210
osparse doctor --cluster http://localhost:9210 --index products
osparse doctor --sizing --bundle build/bundle products.csv --text-field name --documents 30000000
osparse doctor --sizing --bundle build/bundle --cluster http://localhost:9210 --index products-v7 --text-field name
"""


@command("doctor", examples=EXAMPLES)
@click.argument("documents", type=LOCATION, nargs=-1)
@cluster_options(required=False)
@click.option("--index", metavar="NAME", help="Also: is it closed or blocked, and may these credentials deploy it?")
@click.option("--sizing", "as_sheet", is_flag=True,
              help="Print a capacity sheet instead: disk, memory, model slots and hours, from a sample of DOCUMENTS or "
              "of --index.")  # fmt: skip
@click.option("--bundle", type=FOLDER, help="With --sizing: encodes the sample.")
@click.option("--documents", "count", type=click.IntRange(1), metavar="N",
              help="With --sizing: compute for so many.  [default: as many as there are]")  # fmt: skip
@click.option("--field", type=click.Choice(["rank_features", "sparse_vector", "semantic"]),
              help="With --sizing: of the vectors.  [default: that of --index, or rank_features]")  # fmt: skip
@click.option("--replicas", type=click.IntRange(0),
              help="With --sizing: copies of each shard.  [default: 1; 0 on a cluster of one node]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="With --sizing: processes that encode on this machine.  [default: one per core]")  # fmt: skip
@row_options
def doctor_command(
    documents: tuple[Path, ...],
    cluster: Cluster | None,
    index: str | None,
    as_sheet: bool,
    bundle: Path | None,
    count: int | None,
    **options: Any,
) -> None:
    """Report what this machine, and a cluster if one is named, lack for each mode.

    With --sizing: what DOCUMENTS (what osparse index reads), or those of an index, take on a cluster. Nothing is
    changed there; a model that the cluster serves is asked for ten seconds.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import doctor, sizing
    from osparse.rows.row_rules import parse_renames

    if as_sheet:
        options["rename"] = parse_renames(options["rename"])
        opened = None if bundle is None else Bundle.open(bundle)
        sheet = sizing(opened, documents, cluster=cluster, index=index, documents=count, **options)
        echo(sheet.to_json(), lambda: with_own_flags(sheet))
        return
    if documents or bundle is not None or count is not None or any(options.values()):
        raise InputError("documents and the options of a capacity sheet go with --sizing; give that too")
    if index is not None and cluster is None:
        raise InputError("--index is looked at on a cluster; give --cluster too")
    found = doctor(cluster, index)
    echo(found.to_json(), lambda: str(found))


command = doctor_command
