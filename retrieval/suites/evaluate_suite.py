"""Measure systems on every set of a suite that is at hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.errors import InputError
from osparse.evaluation.measures import NDCG, open_benchmark
from osparse.io.streams import find
from osparse.retrieval.evaluator import BaselineName, evaluate
from osparse.retrieval.suites.published import NAMES, Suite
from osparse.retrieval.suites.suite_report import SetResult, SuiteReport

log = logging.getLogger("osparse.retrieval.suites.evaluate_suite")
LANGUAGE = "en"
"""Of all texts of a suite: each set is one collection, whatever some of its texts look like."""


def evaluate_suite(
    suite: Suite | str,
    folder: Path | str,
    *,
    models: Sequence[Model | Path | str] = (),
    bundles: Sequence[Bundle | Path | str] = (),
    baseline: BaselineName | None = None,
    quantised: bool = True,
    device: str = "cpu",
    processes: int | None = None,
    save_runs: Path | str | None = None,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> SuiteReport:
    """nDCG@10 on the test split of each set of the suite that ``folder`` holds, beside published figures.

    Args:
        suite: "beir": the 13 sets whose mean is usually reported.
        folder: Holds the sets in BEIR's form, each in a folder of BEIR's name for it: ``folder/scifact/corpus.jsonl``.
        models: As :func:`osparse.retrieval.evaluate` takes them; so are the arguments below.
        save_runs: A folder for a folder of run files per set.
        output: A folder for a report per set; one that is up to date is not measured again, so that a suite which was
            stopped goes on where it was.
        overwrite: Measure again, and replace what ``save_runs`` and ``output`` hold.

    Raises:
        InputError: an unknown suite, no set of it in ``folder``, nothing to measure.
        DatasetError: a set that cannot be read.
    """
    known = suite if isinstance(suite, Suite) else _known(suite)
    root = Path(folder)
    present = [name for name in known.sets if _holds_a_set(root / name)]
    if not present:
        raise InputError(
            f"{root} holds none of the sets of {known.name} ({', '.join(known.sets)}); unpack them there, each in a "
            "folder of that name with corpus.jsonl, queries.jsonl and qrels/test.tsv"
        )
    results = []
    for number, name in enumerate(present, start=1):
        log.info("%s, set %d of %d", name, number, len(present))
        report = evaluate(
            open_benchmark(root / name, lang=LANGUAGE),
            models=models,
            bundles=bundles,
            baseline=baseline,
            measures=[NDCG],
            quantised=quantised,
            device=device,
            processes=processes,
            save_runs=Path(save_runs) / name if save_runs is not None else None,
            output=Path(output) / f"{name}.json" if output is not None else None,
            overwrite=overwrite,
        )
        size = known.sets[name]
        whole = (report.rows[0].documents, report.rows[0].queries) == (size.documents, size.queries)
        results.append(SetResult(name, report, whole))
    missing = [name for name in known.sets if name not in present]
    others = sorted(path.name for path in root.iterdir() if path.name not in known.sets and _holds_a_set(path))
    return SuiteReport(known, str(root), results, missing, others)


def _known(name: str) -> Suite:
    if name not in NAMES:
        raise InputError(f"`suite` must be {', '.join(NAMES)}, got {name!r}")
    return Suite.known(name)


def _holds_a_set(path: Path) -> bool:
    return path.is_dir() and find(path, "corpus.jsonl") is not None
