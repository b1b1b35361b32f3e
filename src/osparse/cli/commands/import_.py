"""``osparse import``: a model that another tool registered, read back into a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command

if TYPE_CHECKING:
    from osparse.deployer import Cluster

_AT = re.compile(r"([^@/\s]+)@(https?://.+)")
"""MODEL_ID@URL."""


class _AtCluster(click.Command):
    """Reads ``MODEL_ID@URL`` as ``MODEL_ID --cluster URL``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        split: list[str] = []
        for argument in args:
            found = _AT.fullmatch(argument)
            if found and "--cluster" in args:
                raise click.UsageError(f"{argument} names a cluster, and --cluster names one too; leave one out", ctx)
            split += [found[1], "--cluster", found[2]] if found else [argument]
        return super().parse_args(ctx, split)


@make_command(
    "import",
    kind=_AtCluster,
    examples="""
osparse import tvsCIKIBixoRLQ2wlHOz@http://localhost:9200 --output build/serving
osparse import tvsCIKIBixoRLQ2wlHOz --cluster https://search:9200 --query-model uPsCIKIBixoRLQ2wm3P6 --output FOLDER
osparse import opensearch_neural_sparse_model_files --output FOLDER
osparse verify build/serving --reference naver/splade-v3
""",
)
@click.argument("model", metavar="BUNDLE|MODEL_ID@CLUSTER")
@cluster_options(required=False)
@click.option("--output", type=FOLDER, required=True, help="Folder to write.")
@click.option(
    "--query-model",
    help="Model that weighs the queries: an id on the cluster, or a zip. Default: the one that indices with this "
    "encoder name in their pipelines; none for zips of this machine, where the folder does not hold one.",
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier import wrote.")
def command(cluster: Cluster | None, model: str, output: Path, query_model: str | None, overwrite: bool) -> None:
    """Read back a model that another tool made, and say what it is; osparse verify then checks it.

    MODEL_ID@CLUSTER is a model that a cluster stores: its content is read by the ML Commons API, with the right to
    read models. BUNDLE is a zip, or a folder with the zips, as opensearch-py-ml writes them. Nothing on the cluster and
    nothing in the zips is changed.
    """
    from osparse.packager import from_files, import_model

    if cluster is None:
        fetch = from_files(Path(model), None if query_model is None else Path(query_model))
    else:
        from osparse.deployer import from_cluster

        fetch = from_cluster(cluster, model, query_model)
    done = import_model(fetch, output, overwrite=overwrite)
    notes = [f"note: {with_own_flags(note)}" for note in done.model.notes]
    lines = [f"{output}: {' and '.join(part.file for part in done.model.parts.values())}", done.table(), *notes]
    lines.append(f"next: osparse verify {output} --reference MODEL")
    echo({"folder": str(output), "parts": done.description, "notes": list(done.model.notes)}, "\n".join(lines))
