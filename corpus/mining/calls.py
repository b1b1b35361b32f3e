"""Mining and scoring as one calls them from Python: paths or opened datasets, a retriever by its name."""

from __future__ import annotations

from pathlib import Path

from osparse.contracts.dataset import Dataset
from osparse.corpus.mining import hard_negatives
from osparse.corpus.mining.hard_negatives import MiningReport, MiningRules
from osparse.corpus.mining.retrievers import Bm25Retriever, ModelRetriever, Retriever
from osparse.corpus.mining.teacher_scores import ScoringReport, score_candidates


def mine(
    dataset: Dataset | Path | str,
    output: Path | str,
    retriever: Retriever | Path | str = "bm25",
    rules: MiningRules | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Dataset, MiningReport]:
    """Write a copy of a dataset with hard negatives of its training queries in ``candidates.train``.

    Args:
        retriever: "bm25", the folder of a trained model, or a retriever of your own.
        rules: What counts as a hard negative; None takes the defaults.

    Raises what :func:`osparse.corpus.mining.hard_negatives.mine` raises.
    """
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if isinstance(retriever, str | Path):
        retriever = Bm25Retriever() if str(retriever) == "bm25" else ModelRetriever(Path(retriever))
    return hard_negatives.mine(opened, output, retriever, rules, overwrite=overwrite)


def score(
    dataset: Dataset | Path | str,
    output: Path | str,
    teacher: Path | str,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> tuple[Dataset, ScoringReport]:
    """Write a copy of a dataset in which every training query's answers and candidates have a teacher's score.

    Takes the arguments of :func:`osparse.corpus.score_candidates`, and a dataset by its path too.
    """
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    return score_candidates(opened, output, teacher, name=name, overwrite=overwrite)
