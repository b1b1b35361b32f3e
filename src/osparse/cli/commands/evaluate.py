"""osparse evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._feedback import feedback_option
from osparse.cli.commands._filter import both_filters, filter_options
from osparse.cli.commands._measures import MeasuresCommand, judged_options, measures_option

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval.serving.settings import Feedback

EXAMPLES = """
osparse evaluate --dataset build/dataset --cluster http://localhost:9210 --index products --baseline bm25
osparse evaluate --dataset build/dataset --model build/a --model build/b --bundle build/bundle --baseline bm25
osparse evaluate --dataset build/dataset --bundle build/bundle --measures nDCG@10 RR@10 R@1000 AP
osparse evaluate --dataset build/dataset --split validation --model build/model --output report.json
osparse evaluate --dataset beir/scifact --cluster http://localhost:9210 --index scifact --save-runs build/runs --json
osparse evaluate --dataset build/dataset --cluster http://localhost:9210 --index products --filter 'price < 100'
osparse evaluate --dataset data --cluster http://localhost:9210 --index products --sparse-field a --sparse-field b
"""


@command("evaluate", examples=EXAMPLES, kind=MeasuresCommand)
@judged_options
@cluster_options(required=False)
@click.option("--index", metavar="NAME", help="The deployed index to measure, with --cluster.")
@feedback_option
@filter_options
@click.option("--sparse-field", "sparse_fields", multiple=True, metavar="NAME[+NAME...]",
              help="Measure this sparse field of --index by itself, or the sum of several; may be repeated: the others "
              "are compared with the first.")  # fmt: skip
@click.option("--model", "models", multiple=True, type=FOLDER, metavar="MODEL",
              help="A model directory to measure without a cluster; may be repeated.")  # fmt: skip
@click.option("--bundle", "bundles", multiple=True, type=FOLDER, metavar="BUNDLE",
              help="A bundle to measure by its ONNX encoder, without a cluster; may be repeated.")  # fmt: skip
@click.option("--run", "runs", multiple=True, type=FOLDER, metavar="RUN",
              help="A TREC run file to measure; may be repeated.")  # fmt: skip
@click.option("--baseline", type=click.Choice(["bm25"]),
              help="Compare with BM25: the cluster's own, in indices NAME-bm25-LANG, or one in memory.")  # fmt: skip
@measures_option("nDCG@10 hit@1 R@100")
@click.option("--full-precision", "quantised", flag_value=False, default=True, type=bool,
              help="With --model or --bundle: do not round weights as the index does.")  # fmt: skip
@click.option("--save-runs", type=FOLDER, metavar="DIR", help="Write a TREC run file per system, and the qrels, here.")
@click.option("--output", type=FOLDER, metavar="FILE",
              help="Keep the report as JSON; one of the same systems is shown, not measured again.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Measure again; replace what --output and --save-runs hold.")
def evaluate_command(
    dataset: Path,
    split: str,
    strict: bool,
    cluster: Cluster | None,
    index: str | None,
    feedback: Feedback | None,
    filter: str | None,
    filter_json: Any,
    sparse_fields: tuple[str, ...],
    models: tuple[Path, ...],
    bundles: tuple[Path, ...],
    runs: tuple[Path, ...],
    baseline: Literal["bm25"] | None,
    measures: tuple[str, ...],
    quantised: bool,
    save_runs: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Measure a deployed index, models, bundles and run files on judged queries, all in one table.

    Prints one row per direction (query language -> document language) and system, with Judged@10, the share of the
    first ten documents that somebody judged, and the condensed nDCG@10, which leaves unjudged documents out.
    """
    from osparse.evaluation.measures import MEASURES, open_benchmark
    from osparse.retrieval import evaluate

    report = evaluate(
        open_benchmark(dataset, split, strict=strict),
        cluster=cluster,
        index=index,
        feedback=feedback,
        filter=both_filters(filter, filter_json),
        sparse_fields=sparse_fields,
        models=models,
        bundles=bundles,
        runs=runs,
        baseline=baseline,
        measures=measures or MEASURES,
        quantised=quantised,
        save_runs=save_runs,
        output=output,
        overwrite=overwrite,
    )
    echo(report.to_json(), lambda: str(report))


command = evaluate_command
