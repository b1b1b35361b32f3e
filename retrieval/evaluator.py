"""Measure systems on judged queries: a deployed index, models, bundles, run files and BM25, all in one report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.evaluation.measures import MEASURES, Benchmark, JudgedSet, open_benchmark, run_depth
from osparse.evaluation.named_measures import check_measures
from osparse.evaluation.trained_on import TrainedOn, trained_on
from osparse.retrieval.figures import Row, ceiling_notes, measure_system, rows_of, share_notes
from osparse.retrieval.filters.clauses import Filter
from osparse.retrieval.report import Report
from osparse.retrieval.serving.settings import Feedback
from osparse.retrieval.systems.cluster_bm25 import ClusterBm25
from osparse.retrieval.systems.cluster_index import ClusterIndex
from osparse.retrieval.systems.cluster_run import latencies
from osparse.retrieval.systems.local_bm25 import LocalBm25
from osparse.retrieval.systems.memory import bundle_system, model_system
from osparse.retrieval.systems.run_file import RunFile, run_path, write_qrels, write_run
from osparse.retrieval.systems.system import Run, System
from osparse.runtime.spread import check_processes

log = logging.getLogger("osparse.retrieval.evaluator")

BaselineName = Literal["bm25"]
Rankings = dict[str, list[tuple[JudgedSet, Run]]]
"""System -> its ranking of each judged set."""


def evaluate(
    data: Benchmark | Path | str,
    *,
    cluster: Cluster | None = None,
    index: str | None = None,
    models: Sequence[Model | Path | str] = (),
    bundles: Sequence[Bundle | Path | str] = (),
    runs: Sequence[Path | str] = (),
    feedback: Feedback | None = None,
    filter: Filter | None = None,
    sparse_fields: Sequence[str] = (),
    baseline: BaselineName | None = None,
    measures: Sequence[str] = MEASURES,
    quantised: bool = True,
    device: str = "cpu",
    processes: int | None = None,
    save_runs: Path | str | None = None,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> Report:
    """Measure a deployed index, models, bundles and run files on the same judged queries.

        evaluate("build/dataset", cluster=cluster, index="products", baseline="bm25")
        evaluate("build/dataset", models=["build/model"], bundles=["build/bundle"], baseline="bm25")

    Args:
        data: A benchmark, a dataset directory or a BEIR folder; of the latter two the test split.
        cluster: Where ``index`` is.
        index: A deployed index.
        models: Model directories (extra ``train``): the corpus is encoded with torch and ranked exactly in memory.
        bundles: Bundles with an ONNX encoder: the same without torch.
        runs: TREC run files.
        feedback: Let the stored weights of the index's first hits join each query, without a model.
        filter: Rank only those documents of the index that satisfy this, such as "price < 100". Judged documents that
            it leaves out count as not found; a note of the report says how many.
        sparse_fields: Sparse fields of the index, each measured by itself, the first being what the others are
            compared with; ``a+b`` is the search of both. Without any, the index is searched as it serves.
        baseline: "bm25" measures BM25 beside the others and is what they are compared with: the cluster's own, in
            indices ``<index>-bm25-<lang>``, or without a cluster one in memory over words without stemming.
        measures: nDCG@k, hit@k, R@k and Judged@k, or with the extra ``measures`` any name of ir-measures. The first
            one has the interval and the significance tests.
        quantised: Round document weights of models and bundles as the index does, so that the figures are the served
            ones.
        device: Where models are run, as torch names it.
        processes: Rank the corpus of models and bundles block by block in so many processes (1: in this one), so that
            the vectors of a block are in memory and not those of the corpus. The figures are the same to the last bit.
            Processes are spawned: call this under ``if __name__ == "__main__"`` in a script.
        save_runs: A folder for ``<system>.run`` of each system and ``qrels.txt``; the systems are then run again even
            if ``output`` is up to date.
        output: A file for the report; one of the same data, systems and measures is returned as it is.
        overwrite: Replace a report of anything else, and run files.

    Raises:
        InputError: nothing to measure, an empty index, a name that is no measure, an ``output`` of anything else.
        ClusterError: see its text.
        MissingExtraError: torch or ir-measures is needed and not installed.
    """
    check_measures(measures)
    if processes is not None:
        check_processes(processes)
    benchmark = data if isinstance(data, Benchmark) else open_benchmark(data)
    target = Path(output) if output is not None else None
    systems: list[System] = [
        *_baseline(baseline, cluster, index, benchmark),
        *_deployed(cluster, index, benchmark, feedback, filter, sparse_fields),
        *(model_system(model, quantised=quantised, device=device, processes=processes) for model in models),
        *(bundle_system(bundle, quantised=quantised, processes=processes) for bundle in bundles),
        *(_run_file(Path(run), benchmark) for run in runs),
    ]
    if not systems:
        raise InputError(
            "there is nothing to measure: give `cluster` with `index`, `models`, `bundles`, `runs` or `baseline`"
        )
    _name_apart(systems)
    key = {
        "dataset": benchmark.fingerprint,
        "split": benchmark.split,
        "measures": list(measures),
        "systems": {system.name: system.key() for system in systems},
    }
    folder = Path(save_runs) if save_runs is not None else None
    if (stored := _stored_report(target, key, overwrite)) is not None and folder is None:
        return stored
    _check_run_files(folder, systems, overwrite)
    rankings: Rankings = {}
    report = measure_systems(benchmark, systems, measures, key, rankings if folder is not None else None)
    if folder is not None:
        _write_runs(folder, benchmark, rankings)
    for note in report.notes:
        log.warning("%s", note)
    if target is not None:
        report.save(target)
    return report


def _baseline(name: str | None, cluster: Cluster | None, index: str | None, data: Benchmark) -> list[System]:
    if name not in (None, "bm25"):
        raise InputError(f"`baseline` must be bm25, got {name!r}")
    if name is None:
        return []
    return [LocalBm25() if cluster is None or index is None else ClusterBm25(cluster, index, data)]


def _deployed(
    cluster: Cluster | None,
    index: str | None,
    data: Benchmark,
    feedback: Feedback | None,
    filter: Filter | None,
    sparse_fields: Sequence[str],
) -> list[System]:
    if (cluster is None) != (index is None):
        missing, given = ("`index`", "`cluster`") if index is None else ("`cluster`", "`index`")
        raise InputError(f"{given} needs {missing}: the name the index was deployed under, and the cluster it is on")
    if feedback is not None and index is None:
        raise InputError("`feedback` needs `index`: it reads the weights that a deployed index stores")
    if filter is not None and index is None:
        raise InputError("`filter` needs `index`: it is the server that filters the documents of a deployed index")
    if sparse_fields and index is None:
        raise InputError("`sparse_fields` needs `index`: a deployed index that has them")
    if cluster is None or index is None:
        return []
    searched = [text.split("+") for text in sparse_fields] if sparse_fields else [None]
    return [ClusterIndex(cluster, index, data, feedback, filter, fields) for fields in searched]


def _run_file(path: Path, data: Benchmark) -> RunFile:
    run = RunFile(path)
    run.check_queries(data.sets)
    return run


def _name_apart(systems: Sequence[System]) -> None:
    """Number the systems of equal names."""
    counts = Counter(system.name for system in systems)
    numbers = Counter[str]()
    for system in systems:
        if counts[name := system.name] > 1:
            numbers[name] += 1
            system.name = f"{name} ({numbers[name]})"


def measure_systems(
    data: Benchmark,
    systems: Sequence[System],
    measures: Sequence[str],
    key: dict[str, Any],
    runs: Rankings | None = None,
) -> Report:
    """Measure systems of different names; the first one is the reference of the others.

    Args:
        key: What the report says it depends on.
        runs: Is given each system's ranking of each judged set.
    """
    for system in systems:
        system.prepare(data)
    learnt = _learnt(data, systems)
    affected = affected_queries(data, learnt.values())
    depth, rows, unequal = run_depth(measures), list[Row](), list[str]()
    for judged, trained in zip(data.sets, affected, strict=True):
        ranked = {system.name: system.run(judged, depth) for system in systems}
        figures = {name: measure_system(judged, run, measures) for name, run in ranked.items()}
        rows += rows_of(judged, figures, measures, trained)
        unequal += [*share_notes(judged, figures), *ceiling_notes(judged, figures, measures[0])]
        if runs is not None:
            for name, run in ranked.items():
                runs.setdefault(name, []).append((judged, run))
    return Report(
        key=key,
        dataset={
            "name": data.name, "fingerprint": data.fingerprint, "split": data.split, "documents": data.languages
        },
        measures=list(measures),
        systems=_descriptions(data, systems, learnt),
        rows=rows,
        notes=[
            *(note for system in systems for note in system.notes()), *unequal,
            *_learnt_notes(data, learnt, rows),
        ],
    )  # fmt: skip


def _learnt(data: Benchmark, systems: Sequence[System]) -> dict[str, TrainedOn]:
    """System -> what it was trained on of the judged queries and answers; of those whose training texts are known."""
    known = {system.name: texts for system in systems if (texts := system.training_texts()) is not None}
    return {name: trained_on(data.documents, data.sets, texts) for name, texts in known.items()}


def affected_queries(data: Benchmark, learnt: Iterable[TrainedOn]) -> list[frozenset[str]]:
    """Of each judged set, the queries that any of the models was trained on, or on an answer of theirs."""
    by_model = [counts.affected for counts in learnt]
    return [frozenset().union(*(affected[number] for affected in by_model)) for number in range(len(data.sets))]


def _learnt_notes(data: Benchmark, learnt: Mapping[str, TrainedOn], rows: Sequence[Row]) -> list[str]:
    left = 'the rows "not trained on" leave the queries concerned out'
    if not any(row.not_trained_on for row in rows):
        left = "no query is left that was not"
    return [f"{name}: {counts.text(data.split)}; {left}" for name, counts in learnt.items() if counts.any]


def _descriptions(data: Benchmark, systems: Sequence[System], learnt: Mapping[str, TrainedOn]) -> list[dict[str, Any]]:
    """Timed with the first direction's own queries: ten hits without their text."""
    judged = data.sets[0]
    timed: dict[str, Callable[[str], object]] = {
        system.name: send for system in systems if (send := system.timed_search(judged)) is not None
    }
    times = latencies(timed, list(judged.queries.values()))
    described = []
    for system in systems:
        optional = {"non_zeros": system.non_zeros(), "latency_ms": times.get(system.name)}
        if system.learns:
            optional["trained_on"] = learnt[system.name].to_json() if system.name in learnt else {"known": False}
        present = {name: value for name, value in optional.items() if value}
        described.append({"name": system.name, **system.description(), **present})
    return described


def _check_run_files(folder: Path | None, systems: Sequence[System], overwrite: bool) -> None:
    if folder is None or overwrite:
        return
    paths = [folder / "qrels.txt", *(run_path(folder, system.name) for system in systems)]
    if existing := [path for path in paths if path.exists()]:
        raise InputError(
            f"{existing[0]} exists; pass `overwrite=True` to replace the run files, or another `save_runs`"
        )


def _write_runs(folder: Path, data: Benchmark, runs: Rankings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_qrels(folder / "qrels.txt", data.sets)
    for name, sets in runs.items():
        write_run(run_path(folder, name), sets, name)


def _stored_report(output: Path | None, key: Mapping[str, Any], overwrite: bool) -> Report | None:
    """The report at ``output`` if it has the same key; an error if it has another and may not be replaced."""
    if output is None or not output.exists() or overwrite:
        return None
    report = Report.open(output)
    if report.key == key:
        log.info("%s is up to date", output)
        return report
    differing = ", ".join(_differing(report.key, key))
    raise InputError(
        f"{output} is a report of another {differing}; pass `overwrite=True` to replace it, or another `output`"
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the parts of two keys that differ; of systems that both have, the parts of those."""
    before, after = old.get("systems", {}), new.get("systems", {})
    names = {name for name in ("dataset", "split", "measures") if old.get(name) != new.get(name)}
    if before.keys() != after.keys():
        names.add("set of systems")
    for system in before.keys() & after.keys():
        parts = {*before[system], *after[system]}
        names |= {part for part in parts if before[system].get(part) != after[system].get(part)}
    return sorted(names)
