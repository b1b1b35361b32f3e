"""Compare run files with each other: figures of each, and for each pair how sure the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from osparse.errors import InputError
from osparse.evaluation.measures import NDCG, Benchmark, JudgedSet, open_benchmark, run_depth
from osparse.evaluation.named_measures import check_measures
from osparse.evaluation.significance import holm
from osparse.retrieval.figures import (
    Pair,
    Row,
    SystemMeasures,
    difference,
    direction_name,
    measure_system,
    rows_of,
    share_notes,
)
from osparse.retrieval.systems.run_file import RunFile, read_qrels_file


@dataclass(frozen=True)
class Comparison:
    measures: list[str]
    rows: list[Row]
    """One per direction and run; the first run is the reference of their ``difference``."""
    pairs: list[Pair]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        from osparse.retrieval.report_table import comparison_text

        return comparison_text(self.measures, self.rows, self.pairs, self.notes)


def compare(
    runs: Sequence[Path | str],
    *,
    data: Benchmark | Path | str | None = None,
    qrels: Path | str | None = None,
    measures: Sequence[str] = (NDCG,),
) -> Comparison:
    """Measure run files and test the difference of each two of them.

    Args:
        runs: At least two TREC run files.
        data: A benchmark, a dataset directory or a BEIR folder (test split): figures by direction.
        qrels: Instead of ``data`` a qrels file in the form of TREC or BEIR: figures over all its queries.

    Raises:
        InputError: a file that cannot be read, a run without any judged query, fewer than two runs.
    """
    check_measures(measures)
    if len(runs) < 2:
        raise InputError(f"`runs` must be at least 2 run files to compare, got {len(runs)}")
    sets = _judged_sets(data, qrels)
    systems = [RunFile(Path(run)) for run in runs]
    for system in systems:
        system.check_queries(sets)
    names = _names(systems)
    rows, pairs, notes, depth = list[Row](), list[Pair](), list[str](), run_depth(measures)
    for judged in sets:
        measured = {
            name: measure_system(judged, system.run(judged, depth), measures)
            for name, system in zip(names, systems, strict=True)
        }
        rows += rows_of(judged, measured, measures)
        notes += share_notes(judged, measured)
        for measure in measures:
            pairs += _pairs(judged, measured, measure)
    return Comparison(list(measures), rows, pairs, notes)


def _judged_sets(data: Benchmark | Path | str | None, qrels: Path | str | None) -> list[JudgedSet]:
    if (data is None) == (qrels is None):
        raise InputError("the judgements must come from either `data` or `qrels`; give one of them")
    if qrels is not None:
        return [read_qrels_file(Path(qrels))]
    if isinstance(data, Benchmark):
        return data.sets
    return open_benchmark(str(data)).sets


def _names(systems: Sequence[RunFile]) -> list[str]:
    """File names, or whole paths where two files have the same name."""
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        names = [str(system.path) for system in systems]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"`runs` has {repeated} twice; give each run once")
    return names


def _pairs(judged: JudgedSet, systems: dict[str, SystemMeasures], measure: str) -> list[Pair]:
    names = list(combinations(systems, 2))
    tests = [difference(systems[second].measures, systems[first].measures, measure) for first, second in names]
    adjusted = holm([p for _, p in tests])
    return [
        Pair(direction_name(judged), measure, first, second, gain, p, p_adjusted)
        for (first, second), (gain, p), p_adjusted in zip(names, tests, adjusted, strict=True)
    ]
