"""osparse evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval import Report

EXAMPLES = """
osparse evaluate --dataset build/dataset --cluster http://localhost:9210 --index products --baseline bm25
osparse evaluate --dataset build/dataset --split validation --model build/model --output report.json
osparse evaluate --dataset beir/scifact --cluster http://localhost:9210 --index scifact --json
"""


@command("evaluate", examples=EXAMPLES)
@click.option("--dataset", type=FOLDER, required=True, help="A dataset directory, or a BEIR folder.")
@click.option("--split", default="test", show_default=True, help="Split whose judgements are used.")
@click.option(
    "--strict", is_flag=True, help="Refuse judgements of a missing or empty text; by default they are left out."
)
@cluster_options(required=False)
@click.option("--index", metavar="NAME", help="The deployed index to measure, with --cluster.")
@click.option("--model", type=FOLDER, help="A model directory to measure without a cluster.")
@click.option("--baseline", type=click.Choice(["bm25"]),
              help="Measure the cluster's own BM25 beside it, in indices NAME-bm25-LANG.")  # fmt: skip
@click.option("--full-precision", is_flag=True, help="With --model: do not round weights as the index does.")
@click.option(
    "--output",
    type=FOLDER,
    metavar="FILE",
    help="Write the report as JSON; an up-to-date one is shown, not measured again.",
)
@click.option("--overwrite", is_flag=True, help="Measure again and replace the file at --output.")
def evaluate_command(
    dataset: Path,
    split: str,
    strict: bool,
    cluster: Cluster | None,
    index: str | None,
    model: Path | None,
    baseline: str | None,
    full_precision: bool,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Measure a deployed index, or a model, on judged queries: nDCG@10, hit@1 and R@100 by direction."""
    from osparse import open_benchmark

    if (cluster is None) == (model is None):
        raise InputError("name what to measure: either --cluster URL with --index NAME, or --model MODEL")
    if cluster is not None and (index is None or full_precision):
        wrong = "--cluster needs --index NAME" if index is None else "--full-precision goes with --model"
        raise InputError(f"{wrong}; osparse evaluate --help has examples")
    if model is not None and (index is not None or baseline is not None):
        raise InputError("--index and --baseline need a cluster; give them with --cluster URL, not with --model")
    data = open_benchmark(dataset, split, strict=strict)
    report: Report
    if cluster is not None and index is not None:
        from osparse.retrieval import evaluate_cluster

        name: Literal["bm25"] | None = "bm25" if baseline == "bm25" else None
        report = evaluate_cluster(cluster, index, data, baseline=name, output=output, overwrite=overwrite)
    elif model is not None:
        from osparse.contracts.model import Model
        from osparse.retrieval import evaluate_model

        opened = Model.open(model)
        report = evaluate_model(opened, data, quantised=not full_precision, output=output, overwrite=overwrite)
    echo(report.to_json(), lambda: str(report))


command = evaluate_command
