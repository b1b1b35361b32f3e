"""``osparse judge``: collect documents to judge from several runs, and take the judgements back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from osparse.cli.commands import _common

EPILOG = """\b
Examples:
  osparse judge pool build/runs/*.run --dataset build/dataset --output to-judge.csv
  osparse judge import to-judge.csv --dataset build/dataset --output build/judged
"""


@click.group("judge", epilog=EPILOG)
def command() -> None:
    """Judge what several systems found, so that their figures are fair.

    A document that nobody judged counts as not relevant, which favours the systems that the judgements were made from.
    """


@_common.command(
    "pool",
    group=command,
    examples="osparse judge pool build/runs/*.run --dataset build/dataset --output to-judge.csv\n"
    "osparse judge pool a.run b.run --dataset beir/scifact --depth 20 --output to-judge.jsonl",
)
@click.argument("runs", nargs=-1, required=True, type=_common.FOLDER, metavar="RUN...")
@click.option("--dataset", type=_common.FOLDER, required=True, help="The dataset or BEIR folder of the runs.")
@click.option("--split", default="test", show_default=True, help="The split whose queries are judged.")
@click.option("--depth", type=click.IntRange(1), default=10, show_default=True, help="First documents of each run.")
@click.option("--output", type=_common.FOLDER, required=True, metavar="FILE",
              help="FILE.csv for people, FILE.jsonl for programs.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the output, and the judgements that it may hold.")
def pool_command(runs: tuple[Path, ...], dataset: Path, split: str, depth: int, output: Path, overwrite: bool) -> None:
    """Write the documents near the top of any RUN that nobody has judged.

    Fill in the column grade: 0 for not relevant, 1 for relevant, more for more relevant. The order within a query says
    nothing about ranks or systems.
    """
    from osparse.evaluation.measures import open_benchmark
    from osparse.retrieval import pool

    made = pool(runs, open_benchmark(dataset, split), output, depth=depth, overwrite=overwrite)
    text = (
        f"{made.path}: {made.to_judge:,} documents of {made.queries:,} queries to judge; {made.judged:,} others near "
        "the top are judged already"
    )
    _common.echo({**asdict(made), "path": str(made.path)}, text)


@_common.command(
    "import",
    group=command,
    examples="osparse judge import to-judge.csv --dataset build/dataset --output build/judged",
)
@click.argument("judged", type=_common.FOLDER, metavar="FILE")
@click.option("--dataset", "data", type=_common.FOLDER, required=True, help="The dataset or BEIR folder it is from.")
@click.option("--split", default="test", show_default=True, help="The split whose judgements are added to.")
@click.option("--output", type=_common.FOLDER, required=True, metavar="DIR", help="The dataset with the judgements.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
def import_command(judged: Path, data: Path, split: str, output: Path, overwrite: bool) -> None:
    """Write the dataset again with the grades of FILE, which osparse judge pool made."""
    from osparse.retrieval import import_judgements

    made = import_judgements(judged, data, output, split=split, overwrite=overwrite)
    text = (
        f"{made.path}: {made.added:,} judgements added ({made.relevant:,} relevant), {made.known:,} known already, "
        f"{made.without_grade:,} rows without a grade left out"
    )
    _common.echo({**asdict(made), "path": str(made.path)}, text)
