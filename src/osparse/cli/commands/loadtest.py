"""osparse loadtest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._queries import queries_options

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval.loadtest.arrivals import ArrivalKind

EXAMPLES = """
osparse loadtest --cluster http://127.0.0.1:9210 --index products --dataset build/dataset
osparse loadtest --cluster http://127.0.0.1:9210 --index products --queries queries.txt --clients 10 --bound 50
osparse loadtest --cluster https://search.example:9200 --index products --queries queries.txt --allow-remote --rate 20
"""
SYSTEMS = ["bm25", "sparse", "two-phase", "seismic", "hybrid", "filtered", "deployed"]


@command("loadtest", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@queries_options
@click.option("--system", multiple=True, type=click.Choice(SYSTEMS),
              help="Way to search; may be repeated.  [default: all that the index serves]")  # fmt: skip
@click.option("--clients", multiple=True, type=click.IntRange(1, 64), default=(1, 10), show_default=True,
              help="Requests that can be under way at a time; may be repeated.")  # fmt: skip
@click.option("--rate", type=float, metavar="R",
              help="Requests a second of each system.  [default: half of what the slowest can answer]")  # fmt: skip
@click.option("--seconds", type=float, default=20.0, show_default=True,
              help="How long each system is sent requests with each number of clients.")  # fmt: skip
@click.option("--arrivals", "kind", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True,
              help="Gaps between requests: random as of independent users, or equal.")  # fmt: skip
@click.option("--bound", type=float, metavar="MS", help="Also find the highest rate at which p99 is at most this.")
@click.option("--lang", metavar="CODE",
              help="Language that the system filtered searches.  [default: that of each query]")  # fmt: skip
@click.option("--allow-remote", is_flag=True,
              help="Load a cluster elsewhere, whose owner must agree; --rate is then required.")  # fmt: skip
@click.option("--output", type=FOLDER, metavar="DIR", help="Write loadtest.json, loadtest.txt and loadtest.png here.")
@click.option("--overwrite", is_flag=True, help="Replace what --output holds of another test.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the schedule.")
def loadtest_command(
    cluster: Cluster,
    index: str,
    dataset: Path | None,
    queries: Path | None,
    split: str,
    system: tuple[str, ...],
    clients: tuple[int, ...],
    rate: float | None,
    seconds: float,
    kind: ArrivalKind,
    bound: float | None,
    lang: str | None,
    allow_remote: bool,
    output: Path | None,
    overwrite: bool,
    seed: int,
) -> None:
    """Measure how long searches take on a deployed index under load, several ways to search beside each other.

    Requests are sent by a schedule that does not wait for answers, and each is timed from when it was due: a moment in
    which the cluster stalls delays all requests of that moment. The ways to search take turns on the same index.
    """
    from osparse.retrieval import load_test
    from osparse.retrieval.loadtest.load_test import check_allowed
    from osparse.retrieval.loadtest.query_texts import query_texts

    check_allowed(cluster, allow_remote, rate)
    report = load_test(
        cluster, index, query_texts(dataset, queries, split, seed), system=system, clients=clients, rate=rate,
        seconds=seconds, kind=kind, bound=bound, lang=lang, allow_remote=allow_remote, output=output,
        overwrite=overwrite, seed=seed,
    )  # fmt: skip
    echo(report.to_json(), lambda: str(report))


command = loadtest_command
