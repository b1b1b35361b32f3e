"""osparse compare."""

from __future__ import annotations

from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._measures import MeasuresCommand, measures_option

EXAMPLES = """
osparse compare build/runs/bm25.run build/runs/model-a.run --dataset build/dataset
osparse compare a.run b.run c.run --qrels qrels.txt --measures nDCG@10 RR@10 AP
"""


@command("compare", examples=EXAMPLES, kind=MeasuresCommand)
@click.argument("runs", nargs=-1, required=True, type=FOLDER, metavar="RUN RUN...")
@click.option("--dataset", "data", type=FOLDER, help="A dataset directory, or a BEIR folder: figures by direction.")
@click.option("--split", default="test", show_default=True, help="The split of --dataset whose judgements are used.")
@click.option("--qrels", type=FOLDER, metavar="FILE", help="Judgements in the form of TREC or BEIR, without --dataset.")
@measures_option("nDCG@10")
def compare_command(
    runs: tuple[Path, ...], data: Path | None, split: str, qrels: Path | None, measures: tuple[str, ...]
) -> None:
    """Compare TREC run files RUN RUN... on the same judged queries.

    Prints the figures of each run and, for each pair, the difference with p of a two-sided paired randomisation test,
    also corrected by Holm for the number of pairs. osparse evaluate --save-runs writes run files. Give the runs before
    --measures.
    """
    from osparse.evaluation.measures import NDCG, open_benchmark
    from osparse.retrieval import compare

    benchmark = open_benchmark(data, split) if data is not None else None
    comparison = compare(runs, data=benchmark, qrels=qrels, measures=measures or (NDCG,))
    echo(comparison.to_json(), lambda: str(comparison))


command = compare_command
