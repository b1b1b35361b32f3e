"""A report as text for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from osparse.evaluation.trained_on import TrainedOn
from osparse.retrieval.figures import Pair, Row

WIDTH = 400
"""Columns at most: a table is as wide as its content, and is not wrapped."""


def report_text(
    dataset: Mapping[str, Any],
    systems: Sequence[Mapping[str, Any]],
    measures: Sequence[str],
    rows: Sequence[Row],
    notes: Sequence[str],
) -> str:
    """Title, table and legend of a report."""
    lines = [_title(dataset, systems), *figures_table(rows, measures), *_legend(systems, measures)]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def figures_table(rows: Sequence[Row], measures: Sequence[str]) -> list[str]:
    """The lines of a table with one row per direction and system."""
    several = len({row.system for row in rows}) > 1
    table = Table()
    table.add_column("direction", no_wrap=True)
    for name in ("queries", *(("system",) if several else ())):
        table.add_column(name, justify="left" if name == "system" else "right", no_wrap=True)
    for name in (*measures, *(("gain", "p") if several else ()), "Judged@10", "condensed"):
        table.add_column(name, justify="right", no_wrap=True)
    for previous, row in pairwise([None, *rows]):
        if row is not None:
            table.add_row(*_cells(row, measures, several, previous), style=None if row.whole else "dim")
    return table_lines(table)


def _cells(row: Row, measures: Sequence[str], several: bool, previous: Row | None) -> list[str]:
    repeated = previous is not None and _part(previous) == _part(row)
    name = "  no shared word" if row.no_shared_word else "  not trained on" if row.not_trained_on else row.direction
    first, *others = (row.figures[measure] for measure in measures)
    gain = [f"{row.difference.gain:+.3f}", f"{row.difference.p_adjusted:.4f}"] if row.difference else ["", ""]
    return [
        *(["", ""] if repeated else [name, f"{row.queries:,}"]),
        *([row.system] if several else []),
        f"{first:.3f} \u00b1{row.margin:.3f}",
        *(f"{value:.3f}" for value in others),
        *(gain if several else []),
        f"{row.judged10:.3f}",
        f"{row.condensed_ndcg10:.3f}",
    ]


def _part(row: Row) -> tuple[str, bool, bool]:
    return row.direction, row.no_shared_word, row.not_trained_on


def table_lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, force_jupyter=False)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def _title(dataset: Mapping[str, Any], systems: Sequence[Mapping[str, Any]]) -> str:
    corpora = ", ".join(f"{n:,} {lang}" for lang, n in dataset["documents"].items())
    names = ", ".join(system["name"] for system in systems)
    return f"{names} on {dataset['name']} ({dataset['split']} queries; documents: {corpora})"


def _legend(systems: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    lines = [_about(measures)]
    if len(systems) > 1:
        lines.append(
            f"gain in {measures[0]} over {systems[0]['name']}; p: paired randomisation test, Holm's correction over "
            "the systems of a direction"
        )
    for system in systems:
        if parts := [*_sizes(system), *_weights(system), *_times(system), *_analyzers(system), *_trained(system)]:
            lines.append(f"{system['name']}: {'; '.join(parts)}")
    return lines


def _about(measures: Sequence[str]) -> str:
    return f"\u00b1 is the 95 % interval of {measures[0]}; condensed: nDCG@10 without unjudged documents"


def _sizes(system: Mapping[str, Any]) -> list[str]:
    sizes = system.get("non_zeros")
    if not isinstance(sizes, dict):
        return []
    mean, largest, documents = sizes["mean"], sizes["max"], sizes["documents"]
    return [f"non-zeros per document mean {mean:.1f}, max {largest:,.0f} (over {documents:,.0f})"]


def _weights(system: Mapping[str, Any]) -> list[str]:
    return [f"document weights {system['weights']}"] if "weights" in system else []


def _trained(system: Mapping[str, Any]) -> list[str]:
    counts = system.get("trained_on")
    if not isinstance(counts, dict):
        return []
    if counts.get("known") is False:
        return ["what it was trained on is not known"]
    seen = TrainedOn.from_json(counts)
    unknown = f" (not known of its {', '.join(seen.unknown)})" if seen.unknown else ""
    if seen.any:
        return [f"trained on {seen.answers_seen:,} of the answers and {seen.queries_seen:,} of the queries{unknown}"]
    return [f"trained on none of the answers and queries{unknown}"]


def _times(system: Mapping[str, Any]) -> list[str]:
    times = system.get("latency_ms")
    if not isinstance(times, dict):
        return []
    return [f"one query at a time p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms"]


def _analyzers(system: Mapping[str, Any]) -> list[str]:
    analyzers = system.get("analyzers")
    if not isinstance(analyzers, dict):
        return []
    used = ", ".join(f"{name} for {lang}" for lang, name in analyzers.items())
    return [f"k1 1.2, b 0.75, statistics of each language by itself, analyzer {used}"]


def comparison_text(measures: Sequence[str], rows: Sequence[Row], pairs: Sequence[Pair], notes: Sequence[str]) -> str:
    """The figures of each run, then the test of each pair."""
    table = Table()
    for name in ("direction", "measure", "runs"):
        table.add_column(name, no_wrap=True)
    for name in ("difference", "p", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in pairs:
        numbers = f"{pair.difference:+.3f}", f"{pair.p:.4f}", f"{pair.p_adjusted:.4f}"
        table.add_row(pair.direction, pair.measure, f"{pair.second} - {pair.first}", *numbers)
    return "\n".join(
        [
            *figures_table(rows, measures),
            *table_lines(table),
            _about(measures),
            "p: two-sided paired randomisation test; Holm: corrected over the pairs of a direction and measure (in the "
            "upper table over the differences from its first run)",
            *(f"note: {note}" for note in notes),
        ]
    )
