"""osparse workload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._queries import queries_options

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse workload --cluster http://127.0.0.1:9210 --index products --dataset build/dataset --output build/workload
osparse workload --cluster http://127.0.0.1:9210 --index products --queries queries.txt --system bm25 --system sparse --output build/workload
"""  # noqa: E501


@command("workload", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@queries_options
@click.option("--system", multiple=True,
              type=click.Choice(["bm25", "sparse", "two-phase", "seismic", "filtered", "deployed"]),
              help="Way to search; may be repeated.  [default: all that the index serves]")  # fmt: skip
@click.option("--name", metavar="INDEX", help="Index that the workload creates.  [default: NAME-workload]")
@click.option("--output", type=FOLDER, required=True, metavar="DIR", help="Where to write it.")
@click.option("--overwrite", is_flag=True, help="Replace a workload in --output.")
def workload_command(
    cluster: Cluster,
    index: str,
    dataset: Path | None,
    queries: Path | None,
    split: str,
    system: tuple[str, ...],
    name: str | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Write a deployed index and queries as a workload that opensearch-benchmark runs.

    It holds the documents with their weights, the mapping, and search bodies with token weights: the cluster that it
    runs on needs neither the models nor the pipelines. Its parameters: bulk_size, bulk_clients, search_clients,
    warmup_iterations, iterations, target_throughput.
    """
    from osparse.retrieval import write_workload
    from osparse.retrieval.loadtest.query_texts import query_texts

    texts = query_texts(dataset, queries, split)
    made = write_workload(cluster, index, texts, output, system=system, name=name, overwrite=overwrite)
    echo(made.to_json(), lambda: str(made))


command = workload_command
