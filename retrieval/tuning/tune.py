"""Tune a deployed index: simulate many settings, measure the best on the cluster, choose, report, apply."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.io.files import output_folder
from osparse.retrieval.tuning.applying.apply_plan import apply_plan
from osparse.retrieval.tuning.budgets import parse_budgets
from osparse.retrieval.tuning.measure import measure_finalists
from osparse.retrieval.tuning.result.output import FILES, write_output
from osparse.retrieval.tuning.result.plan import TuningPlan
from osparse.retrieval.tuning.search import Search, finalists
from osparse.retrieval.tuning.subject import read_subject

SEARCHED, SEARCHED_SEISMIC = 0.6, 0.3
"""Of the minutes; the rest is for the copies and for measuring. Builds of a ``sparse_vector`` field take most of it."""


def tune(
    cluster: Cluster,
    index: str,
    dataset: Path | str,
    *,
    budget: Sequence[str] = (),
    minutes: float = 20.0,
    apply: bool = False,
    bundle: Bundle | None = None,
    output: Path | str | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> TuningPlan:
    """Choose how an index is searched, and which of its weights are kept or how SEISMIC is built, by judged queries.

        plan = tune(cluster, "products", "build/dataset", budget=["p95<=20ms"], minutes=10)

    Settings are chosen on the validation queries and reported on the test queries.

    Args:
        dataset: A dataset directory with the splits validation and test, whose documents the index holds.
        budget: Limits such as "p95<=20ms" and "size<=2GB"; what has none may not be above the present setting's.
        minutes: How long to search and measure; the time that applying takes is not counted.
        apply: Put the chosen setting in the place of the present one, if it is better or equal at less cost.
        bundle: The deployed bundle; needed to apply pruning or another build of a ``sparse_vector`` field in mode
            ml-commons or remote.
        output: A folder for plan.json, table.txt, front.png and index.html.
        overwrite: Replace what ``output`` holds of another run.
        seed: Of the order in which queries are drawn.

    Raises:
        InputError: a budget that is none, an empty index, a dataset without one of the splits, an ``output`` in use.
        ClusterError: see its text.
        CheckError: ``apply``, and the gate does not hold; the name stays where it was.
    """
    started = time.monotonic()
    budgets = parse_budgets(budget)
    if not minutes > 0:
        raise InputError(f"`minutes` must be above 0, got {minutes:g}")
    folder = output_folder(output, FILES, overwrite)
    subject = read_subject(cluster, index, Path(dataset), seed)
    search = Search(subject.ranker, subject.validation, subject.cost, subject.base, subject.abilities)
    searched = SEARCHED_SEISMIC if subject.abilities.seismic else SEARCHED
    seconds = minutes * 60 * searched - (time.monotonic() - started)
    present, trials, tried = search.run(max(1.0, seconds))
    settings = [present.setting, *finalists(present, trials)]
    measured = {trial.setting: trial.ndcg for trial in (present, *trials)}
    plan = measure_finalists(subject, settings, measured, budgets, tried, started, started + minutes * 60)
    if folder is not None:
        write_output(folder, plan)  # before what may fail
    if apply:
        plan = replace(plan, applied=apply_plan(cluster, index, plan, subject.searcher, Path(dataset), bundle))
    if folder is not None:
        write_output(folder, plan)
    return plan
