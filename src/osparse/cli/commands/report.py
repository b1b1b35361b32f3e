"""osparse report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._measures import MeasuresCommand, judged_options, measures_option
from osparse.cli.parameter_names import with_flags

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval import WrittenPage

EXAMPLES = """
osparse report --dataset build/dataset --cluster http://localhost:9210 --index products --output report.html
osparse report --dataset build/dataset --bundle build/bundle --output report.html
osparse report --dataset build/dataset --bundle build/bundle --plan build/tuning --output report.html
osparse report --dataset build/dataset --bundle build/bundle --baseline runs/production.run --output report.html
"""


@command("report", examples=EXAMPLES, kind=MeasuresCommand)
@judged_options
@cluster_options(required=False)
@click.option("--index", metavar="NAME", help="The deployed index to show, with --cluster.")
@click.option("--bundle", type=FOLDER,
              help="Without a cluster: the bundle to show. With one: the deployed bundle, where the cluster encodes by "
              "itself.")  # fmt: skip
@click.option("--baseline", default="bm25", show_default=True, metavar="bm25|RUN",
              help="What to compare with: BM25 (of the cluster, else in memory), or a TREC run file.")  # fmt: skip
@measures_option("nDCG@10 hit@1 R@100")
@click.option("--plan", type=FOLDER, metavar="FILE", help="Show the Pareto front of this plan.json of osparse tune.")
@click.option("--load-test", type=FOLDER, metavar="FILE", help="Show the latency curves of this loadtest.json.")
@click.option("--output", type=FOLDER, required=True, metavar="FILE", help="The HTML file to write.")
@click.option("--overwrite", is_flag=True, help="Replace --output.")
def report_command(
    dataset: Path,
    split: str,
    strict: bool,
    cluster: Cluster | None,
    index: str | None,
    bundle: Path | None,
    baseline: str,
    measures: tuple[str, ...],
    plan: Path | None,
    load_test: Path | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Write one HTML file that shows how an index or a bundle does on judged queries, and why queries are lost.

    It holds the figures by direction with their intervals, the ten queries most lost and most won with the tokens of
    both systems' hits, every query to search for, the sizes of documents and posting lists, and cost. It is below 5 MB
    and loads nothing from the network.
    """
    from osparse.evaluation.measures import MEASURES, open_benchmark
    from osparse.retrieval import write_html_report

    page = write_html_report(
        open_benchmark(dataset, split, strict=strict), output, cluster=cluster, index=index, bundle=bundle,
        baseline=baseline, measures=measures or MEASURES, plan=plan, load_test=load_test, overwrite=overwrite,
    )  # fmt: skip
    echo(page.to_json(), lambda: "\n".join(_lines(page)))


def _lines(page: WrittenPage) -> list[str]:
    parameters = click.get_current_context().command.params
    lines = [f"{page.path}: {page.bytes / 1e6:.2f} MB, {page.queries:,} queries"]
    if page.lost:
        worst = page.lost[0]
        lines.append(f"worst lost query: {worst['text']} ({worst['direction']}): {worst['reason']}")
    return [*lines, *(f"note: {with_flags(note, parameters)}" for note in page.notes)]


command = report_command
