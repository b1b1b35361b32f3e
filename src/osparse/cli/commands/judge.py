"""``osparse judge``: collect documents to judge from runs, judge by clicks, take the judgements back; interleave."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands import _common
from osparse.cli.commands._cluster import cluster_options

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EPILOG = """\b
Examples:
  osparse judge pool build/runs/*.run --dataset build/dataset --output to-judge.csv
  osparse judge clicks ubi_queries.jsonl ubi_events.jsonl --output clicks.jsonl
  osparse judge import to-judge.csv --dataset build/dataset --output build/judged
"""


_ACTIONS = click.option(
    "--action", "actions", multiple=True, default=["click"], show_default=True,
    help="An action_name that counts as a click; repeatable.",
)  # fmt: skip


def _echo_written(made: Any, text: str) -> None:
    """What a function that wrote the file ``made.path`` says of it."""
    _common.echo({**asdict(made), "path": str(made.path)}, text)


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
    _echo_written(made, text)


@_common.command(
    "clicks",
    group=command,
    examples="osparse judge clicks ubi_queries.jsonl ubi_events.jsonl --output clicks.jsonl\n"
    "osparse judge clicks q.jsonl e.jsonl --action click --action add_to_cart --grade-from 0.1 --output clicks.jsonl",
)
@click.argument("queries", type=_common.FOLDER, metavar="QUERIES")
@click.argument("events", type=_common.FOLDER, metavar="EVENTS")
@_ACTIONS
@click.option("--depth", type=click.IntRange(2), default=20, show_default=True, help="First places of each search.")
@click.option("--min-examined", type=float, default=10, show_default=True,
              help="Expected looks at a document from which it is graded.")  # fmt: skip
@click.option("--grade-from", "grades_from", type=float, multiple=True, default=[0.05, 0.2, 0.4], show_default=True,
              help="Probability of a click, once looked at, for grade 1, 2 and so on; repeatable.")  # fmt: skip
@click.option("--output", type=_common.FOLDER, required=True, metavar="FILE", help="FILE.jsonl for judge import.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
def clicks_command(queries: Path, events: Path, output: Path, **options: Any) -> None:
    """Make graded judgements of the clicks in QUERIES and EVENTS, exports of UBI's two indexes as JSON lines.

    A document shown at the top is clicked more often because more people look there. A position-based click model
    estimates how often each place is looked at, and grades a document by its clicks among those looks.
    """
    from osparse.retrieval import judge_clicks

    made = judge_clicks(queries, events, output, **options)
    looks = ", ".join(f"{place}: {share:.2f}" for place, share in list(made.examination.items())[:10])
    text = (
        f"{made.path}: {made.judgements:,} judgements of {made.queries:,} queries ({made.relevant:,} relevant) from "
        f"{made.searches:,} searches\nlooks at each place, relative to the most looked at: {looks}\n"
        f"left out: {made.too_few:,} documents looked at too seldom, {made.not_comparable:,} at places that cannot be "
        f"compared, {made.unknown_clicks:,} clicks of no known search or document"
    )
    _echo_written(made, text)


@_common.command(
    "export",
    group=command,
    examples="osparse judge export build/dataset --format quepid --output ratings.csv\n"
    "osparse judge export build/dataset --format workbench-judgements --output judgements.json",
)
@click.argument("dataset", type=_common.FOLDER, metavar="DATASET")
@click.option("--format", type=click.Choice(["quepid", "workbench-judgements", "workbench-queries"]), required=True,
              help="Quepid's CSV, or a request of the Search Relevance Workbench.")  # fmt: skip
@click.option("--split", default="test", show_default=True, help="The split whose queries are written.")
@click.option("--output", type=_common.FOLDER, required=True, metavar="FILE", help="FILE.csv for quepid, else .json.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
def export_command(dataset: Path, split: str, output: Path, **options: Any) -> None:
    """Write the judgements or queries of DATASET (a dataset or BEIR folder) for Quepid or the workbench.

    Send the .json files with PUT to /_plugins/_search_relevance/judgments and /_plugins/_search_relevance/query_sets.
    """
    from osparse.evaluation.measures import open_benchmark
    from osparse.retrieval import export_judgements

    made = export_judgements(open_benchmark(dataset, split), output, **options)
    text = f"{made.path}: {made.queries:,} queries, {made.judgements:,} judgements"
    _echo_written(made, text)


@_common.command(
    "import",
    group=command,
    examples="osparse judge import to-judge.csv --dataset build/dataset --output build/judged\n"
    "osparse judge import clicks.jsonl --dataset build/dataset --keep --output build/judged",
)
@click.argument("judged", type=_common.FOLDER, metavar="FILE")
@click.option("--dataset", "data", type=_common.FOLDER, required=True, help="The dataset or BEIR folder it is from.")
@click.option("--split", default="test", show_default=True, help="The split whose judgements are added to.")
@click.option("--output", type=_common.FOLDER, required=True, metavar="DIR", help="The dataset with the judgements.")
@click.option("--keep", is_flag=True, help="Keep the dataset's grade where FILE has another, instead of refusing it.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
def import_command(judged: Path, data: Path, split: str, output: Path, keep: bool, overwrite: bool) -> None:
    """Write the dataset again with the grades of FILE.

    FILE is of osparse judge pool or osparse judge clicks, Quepid's CSV (query, docid, rating), or a .json file of the
    Search Relevance Workbench's judgements (its request, or its answer to GET). A FILE without the column query_id
    names queries by their text; rows of queries that the split does not have are counted and left out.
    """
    from osparse.retrieval import import_judgements

    made = import_judgements(judged, data, output, split=split, keep=keep, overwrite=overwrite)
    text = (
        f"{made.path}: {made.added:,} judgements added ({made.relevant:,} relevant), {made.known:,} known already, "
        f"{made.without_grade:,} rows without a grade left out"
        + (f", {made.other_queries:,} judgements of other queries left out" if made.other_queries else "")
    )
    _echo_written(made, text)


@_common.command(
    "interleave",
    group=command,
    examples="osparse judge interleave ubi_queries.jsonl --cluster http://localhost:9200 --index products "
    "--index products-previous --output lists.jsonl\n"
    "osparse judge interleave queries.jsonl --run a.run --run b.run --output lists.jsonl",
)
@click.argument("log", type=_common.FOLDER, metavar="LOG")
@cluster_options(required=False)
@click.option(
    "--index", "indices", multiple=True, metavar="NAME", help="A deployed index, with --cluster; given twice."
)
@click.option("--run", "runs", multiple=True, type=_common.FOLDER, metavar="RUN",
              help="Instead of --index a TREC run file whose queries are the log's query_id; given twice.")  # fmt: skip
@click.option("--depth", type=click.IntRange(1), default=10, show_default=True, help="Documents of a list.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the coins that decide who drafts first.")
@click.option("--output", type=_common.FOLDER, required=True, metavar="FILE", help="FILE.jsonl with the lists.")
@click.option("--overwrite", is_flag=True, help="Replace the output.")
def interleave_command(log: Path, output: Path, cluster: Cluster | None, **options: Any) -> None:
    """Write interleaved lists of two systems for the searches of LOG, to learn which one users prefer.

    LOG has a query a line, or JSON lines such as an export of UBI's index ubi_queries. Each list is a team draft: the
    systems take turns, and each document belongs to the one that drafted it. Show users the lists, then count their
    clicks with osparse judge preference.
    """
    from osparse.retrieval import interleave

    made = interleave(log, output, cluster=cluster, **options)
    text = (
        f"{made.path}: {made.searches:,} lists of {' and '.join(made.systems)}\n"
        f"no preference can show in {made.equal:,} where both show the same list, {made.one_sided:,} where one finds "
        f"nothing, {made.empty:,} where neither finds anything"
    )
    _echo_written(made, text)


@_common.command(
    "preference",
    group=command,
    examples="osparse judge preference lists.jsonl ubi_events.jsonl\n"
    "osparse judge preference ubi_queries.jsonl ubi_events.jsonl --unit client --json\n"
    "osparse judge preference ubi_events.jsonl",
)
@click.argument("files", nargs=-1, type=_common.FOLDER, metavar="[LISTS] EVENTS")
@_ACTIONS
@click.option("--unit", type=click.Choice(["search", "client"]), default="search", show_default=True,
              help="What has one vote: a search, or a client_id with all its searches.")  # fmt: skip
def preference_command(files: tuple[Path, ...], **options: Any) -> None:
    """Say which of two interleaved systems users prefer, by their clicks.

    LISTS is the file of osparse judge interleave, or an export of ubi_queries that keeps its query_attributes. EVENTS
    is an export of ubi_events. A system wins a search in which more documents of its team were clicked. Without LISTS,
    or where they have no teams, the events say whose hit was clicked: search_config, as OpenSearch's own interleaving
    of two search configurations logs it.
    """
    from osparse.retrieval import judge_preference

    if len(files) not in (1, 2):
        raise click.UsageError(f"give LISTS and EVENTS, or EVENTS alone; got {len(files)} files")
    made = judge_preference(files[0] if len(files) == 2 else None, files[-1], **options)
    first, second = made.systems
    low, high = made.interval
    text = (
        f"{first} against {second}: {made.wins:,} wins, {made.losses:,} losses, {made.ties:,} ties ({made.unit} by "
        f"{made.unit}; {made.clicked:,} of {made.searches:,} searches were clicked)\n"
        f"{first} wins {made.share:.1%} of what was decided (95 % interval {low:.1%} to {high:.1%}), p {made.p:.4f} "
        f"(two-sided sign test); delta {made.delta:+.3f}\n"
        f"left out: {made.other_clicks:,} clicks of no known search, or on no drafted document"
    )
    _common.echo(asdict(made), text)
