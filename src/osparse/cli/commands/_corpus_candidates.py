"""``osparse corpus mine`` and ``score``: hard negatives, and teachers' scores of them."""

from __future__ import annotations

from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command


@make_command(
    "mine",
    examples="""osparse corpus mine data/deb-koen --output data/mined
osparse corpus mine data/deb-koen --output data/mined --retriever build/model --processes 2
osparse corpus mine data/deb-koen --output data/mined --consistency 10 --teacher models/cross-encoder""",
)
@click.argument("dataset", type=FOLDER)
@click.option("--output", required=True, type=FOLDER, help="The dataset directory to write.")
@click.option("--retriever", default="bm25", show_default=True, help="bm25, or a trained model's folder.")
@click.option("--negatives", default=30, show_default=True, help="Most negatives per query and language.")
@click.option(
    "--ranks",
    nargs=2,
    type=int,
    default=(1, 100),
    show_default=True,
    help="First and last rank to take negatives from.",
)
@click.option(
    "--margin",
    default=0.95,
    show_default=True,
    help="Only documents below this share of the relevant document's score.",
)
@click.option("--consistency", type=int, help="Keep a pair only if its relevant document is among the first N.")
@click.option("--processes", default=1, show_default=True, help="For a model; the result does not depend on it.")
@click.option("--teacher", type=FOLDER, help="Score the negatives too, as osparse corpus score does.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def mine_command(
    dataset: Path,
    output: Path,
    retriever: str,
    negatives: int,
    ranks: tuple[int, int],
    margin: float,
    consistency: int | None,
    processes: int,
    teacher: Path | None,
    overwrite: bool,
) -> None:
    """Copy a DATASET and add hard negatives for its training queries, found by BM25 or a trained model."""
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import MiningRules, mine, score_candidates
    from osparse.corpus.mining.retrievers import Bm25Retriever, ModelRetriever, Retriever
    from osparse.corpus.mining.teacher_scores import require_teacher

    if teacher is not None:
        require_teacher(teacher)  # before the mining, which is the long part
    chosen: Retriever = Bm25Retriever() if retriever == "bm25" else ModelRetriever(Path(retriever), processes=processes)
    rules = MiningRules(
        negatives=negatives, first=ranks[0], last=ranks[1], margin=margin, consistency=consistency
    )  # fmt: skip
    made, report = mine(Dataset.open(dataset), output, chosen, rules, overwrite=overwrite)
    result = {"path": str(output), **report.to_json()}
    lines = [f"{output}: {report}"]
    if teacher is not None:
        beside = None if retriever == "bm25" else retriever
        _, scored = score_candidates(made, output, teacher, retriever=beside, overwrite=True)
        result["teacher"] = scored.to_json()
        lines.append(f"  {scored}")
    echo(result, "\n".join(lines))


@make_command(
    "score",
    examples="osparse corpus score data/mined --teacher models/cross-encoder --output data/scored",
)
@click.argument("dataset", type=FOLDER)
@click.option("--teacher", required=True, type=FOLDER, help="A cross-encoder, a bi-encoder or an osparse model.")
@click.option("--name", help="Name of the scores; the folder's name by default.")
@click.option("--output", required=True, type=FOLDER, help="The dataset directory to write.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def score_command(dataset: Path, teacher: Path, name: str | None, output: Path, overwrite: bool) -> None:
    """Copy a DATASET and add a teacher's scores of its training queries' answers and candidates."""
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import score_candidates

    _, scored = score_candidates(Dataset.open(dataset), output, teacher, name=name, overwrite=overwrite)
    echo({"path": str(output), **scored.to_json()}, f"{output}\n  {scored}")


COMMANDS = (mine_command, score_command)
