"""osparse tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.parameter_names import with_flags
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse tune --cluster http://localhost:9210 --index products --dataset build/dataset
osparse tune --cluster http://localhost:9210 --index products --dataset build/dataset --budget "p95<=20ms" --minutes 10
osparse tune --cluster http://localhost:9210 --index products --dataset build/dataset --output build/tuning --apply
osparse tune --cluster http://localhost:9210 --index products --known-items --apply
"""


@command("tune", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--dataset", type=FOLDER,
              help="Judged queries: settings are chosen on the split validation and reported on test.")  # fmt: skip
@click.option("--known-items", is_flag=True,
              help="Without judgements: fit the weight of BM25 beside the sparse search by sentences of the index's "
              "documents, each of which asks for its document.")  # fmt: skip
@click.option("--budget", multiple=True, metavar="LIMIT",
              help='Limit such as "p95<=20ms" or "size<=2GB"; may be repeated.  [default: what the present setting '
              "needs]")  # fmt: skip
@click.option("--minutes", type=float, default=20.0, show_default=True,
              help="How long to search and measure; applying comes on top.")  # fmt: skip
@click.option("--apply", is_flag=True,
              help="Put the chosen setting into service, if it is better or equal at less cost.")  # fmt: skip
@click.option("--bundle", type=FOLDER,
              help="The deployed bundle: needed to apply pruning, or another build of a sparse_vector field, in modes "
              "ml-commons and remote.")  # fmt: skip
@click.option("--output", type=FOLDER, metavar="DIR", help="Write plan.json, table.txt, front.png and index.html here.")
@click.option("--overwrite", is_flag=True, help="Replace what --output holds of another run.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Order in which queries are drawn.")
def tune_command(
    cluster: Cluster,
    index: str,
    dataset: Path | None,
    known_items: bool,
    budget: tuple[str, ...],
    minutes: float,
    apply: bool,
    bundle: Path | None,
    output: Path | None,
    overwrite: bool,
    seed: int,
) -> None:
    """Choose how a deployed index is searched, and which of its weights are kept, by judged queries or by known items.

    Tries query weights, two-phase search, feedback, fusion with BM25, and pruning of documents, computed exactly from
    the stored weights; measures the best on the cluster; prints what each gives and costs. Of a sparse_vector field it
    makes indices with other SEISMIC parameters too, measures them and deletes them. The table marks the chosen setting
    with >, the present one with = and the Pareto front with *.
    """
    if known_items:
        given = {"--dataset": dataset, "--budget": budget, "--bundle": bundle, "--output": output}
        return _by_known_items(cluster, index, given, apply=apply, seed=seed)
    if dataset is None:
        raise click.UsageError("Missing option '--dataset' (judged queries), or '--known-items' (none are needed).")
    from osparse.contracts.bundle import Bundle
    from osparse.retrieval import tune

    plan = tune(
        cluster, index, dataset, budget=budget, minutes=minutes, apply=apply,
        bundle=None if bundle is None else Bundle.open(bundle), output=output, overwrite=overwrite, seed=seed,
    )  # fmt: skip
    echo(plan.to_json(), lambda: with_flags(str(plan), click.get_current_context().command.params))


def _by_known_items(cluster: Cluster, index: str, given: dict[str, Any], *, apply: bool, seed: int) -> None:
    from osparse.retrieval import fit_fusion

    if idle := [flag for flag, value in given.items() if value]:
        raise InputError(f"--known-items chooses the fusion alone; leave out {' and '.join(idle)}")
    fit = fit_fusion(cluster, index, apply=apply, seed=seed)
    echo(fit.to_json(), lambda: str(fit))


command = tune_command
