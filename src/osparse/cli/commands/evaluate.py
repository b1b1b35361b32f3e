"""osparse evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._feedback import feedback_option
from osparse.cli.commands._filter import both_filters, filter_options
from osparse.cli.commands._measures import MeasuresCommand, judged_options, measures_option

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval import Report, SuiteReport
    from osparse.retrieval.serving.settings import Feedback

EXAMPLES = """
osparse evaluate --dataset build/dataset --cluster http://localhost:9210 --index products --baseline bm25
osparse evaluate --dataset build/dataset --model build/a --model build/b --bundle build/bundle --baseline bm25
osparse evaluate --dataset build/dataset --bundle build/bundle --measures nDCG@10 RR@10 R@1000 AP
osparse evaluate --dataset build/dataset --split validation --model build/model --output report.json
osparse evaluate --dataset beir/scifact --cluster http://localhost:9210 --index scifact --save-runs build/runs --json
osparse evaluate --dataset build/dataset --cluster http://localhost:9210 --index products --filter 'price < 100'
osparse evaluate --suite beir beir/ --bundle build/bundle --baseline bm25 --processes 8 --output build/beir
osparse evaluate --dataset data --cluster http://localhost:9210 --index products --sparse-field a --sparse-field b
"""
_OF_ONE_DATASET = (
    "split", "strict", "cluster", "profile", "index", "feedback", "filter", "filter_json", "sparse_fields",
    "runs", "measures",
)  # fmt: skip


@command("evaluate", examples=EXAMPLES, kind=MeasuresCommand)
@judged_options(required=False)
@click.option("--suite", type=(click.Choice(["beir"]), FOLDER), metavar="beir DIR",
              help="Instead of --dataset: nDCG@10 on each of BEIR's 13 sets that DIR holds, beside published "
              "figures.")  # fmt: skip
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
@click.option("--processes", type=click.IntRange(1), metavar="N",
              help="With --model or --bundle: rank the corpus block by block in N processes, without its vectors in "
              "memory; the figures are the same.  [default: one index of the corpus]")  # fmt: skip
@click.option("--save-runs", type=FOLDER, metavar="DIR", help="Write a TREC run file per system, and the qrels, here.")
@click.option("--output", type=FOLDER, metavar="FILE",
              help="Keep the report as JSON; one of the same systems is shown, not measured again. With --suite a "
              "folder for a report per set.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Measure again; replace what --output and --save-runs hold.")
def evaluate_command(
    dataset: Path | None,
    suite: tuple[str, Path] | None,
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
    processes: int | None,
    save_runs: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Measure a deployed index, models, bundles and run files on judged queries, all in one table.

    Prints one row per direction (query language -> document language) and system, with Judged@10, the share of the
    first ten documents that somebody judged, and the condensed nDCG@10, which leaves unjudged documents out.
    """
    from osparse.evaluation.measures import MEASURES, open_benchmark
    from osparse.retrieval import evaluate, evaluate_suite

    if (dataset is None) == (suite is None):
        raise click.UsageError("Give the judged queries as one of --dataset DATASET and --suite beir DIR")
    shared: dict[str, Any] = {
        "models": models, "bundles": bundles, "baseline": baseline, "quantised": quantised, "processes": processes,
        "save_runs": save_runs, "output": output, "overwrite": overwrite,
    }  # fmt: skip
    report: Report | SuiteReport
    if suite is not None:
        _refuse_with_suite()
        report = evaluate_suite(*suite, **shared)
    else:
        report = evaluate(
            open_benchmark(str(dataset), split, strict=strict),
            cluster=cluster,
            index=index,
            feedback=feedback,
            filter=both_filters(filter, filter_json),
            sparse_fields=sparse_fields,
            runs=runs,
            measures=measures or MEASURES,
            **shared,
        )
    echo(report.to_json(), lambda: str(report))


def _refuse_with_suite() -> None:
    """Options of one dataset or one index."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(str(option.name)) == ParameterSource.COMMANDLINE
        if given and option.name in _OF_ONE_DATASET:
            raise click.UsageError(
                f"{option.opts[0]} does not go with --suite, which measures models, bundles and BM25 by nDCG@10 on the "
                "test splits"
            )


command = evaluate_command
