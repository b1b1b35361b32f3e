"""The parts of the page that Python writes: headline, tables and charts. Everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from osparse.retrieval.figures import Row
from osparse.retrieval.html_report import charts
from osparse.retrieval.html_report.load_test import LoadRow
from osparse.retrieval.html_report.outcomes import Outcome
from osparse.retrieval.html_report.weight_source import IndexStatistics
from osparse.retrieval.report import Report
from osparse.retrieval.tuning.result.choice import front
from osparse.retrieval.tuning.result.plan import HEAD, TuningPlan, row

LEVEL = 0.05
"""Of the significance tests."""
LONGEST = 20
"""Posting lists shown."""


@dataclass(frozen=True)
class Cost:
    """What one system needs."""

    system: str
    bytes: int | None
    """On disk; None where nothing is stored."""
    flops: float | None
    """Multiplications of one search divided by the number of documents; None of a system without token weights."""
    non_zeros: float | None
    """Weights per document."""
    latency: Mapping[str, float]
    """``p50`` and ``p95`` in ms; empty where there is no server."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """An HTML table; the first column and the one of systems are text. ``classes``: of each row."""
    sides = [_class("text" if at == 0 or name == "system" else "") for at, name in enumerate(header)]
    head = "".join(f"<th{side}>{escape(name)}</th>" for side, name in zip(sides, header, strict=True))
    body = "".join(
        f"<tr{_class(classes[n] if classes else '')}>"
        + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, cells, strict=True))
        + "</tr>"
        for n, cells in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def headline(report: Report, system: str) -> str:
    """In which directions the system is better or worse than the baseline, and by how much."""
    kinds: dict[str, list[str]] = {"better": [], "worse": [], "not different beyond chance": []}
    for line in report.rows:
        if not line.whole or line.system != system or line.difference is None:
            continue
        gain, sure = line.difference.gain, line.difference.p_adjusted < LEVEL
        kind = "not different beyond chance" if not sure else "better" if gain > 0 else "worse"
        kinds[kind].append(f'<span class="nowrap">{escape(line.direction)} ({gain:+.3f})</span>')
    start = f"{system} against {report.systems[0]['name']}, by {report.measures[0]}:"
    said = "; ".join(f"{kind} in {', '.join(directions)}" for kind, directions in kinds.items() if directions)
    return f"{escape(start)} {said}."


def interval_chart(report: Report) -> str:
    """Means with intervals, and the legend."""
    names = [described["name"] for described in report.systems]
    whole = [line for line in report.rows if line.whole]
    rows = [
        (direction, [_mean(line, report.measures[0]) for name in names for line in whole
                     if (line.direction, line.system) == (direction, name)])
        for direction in dict.fromkeys(line.direction for line in whole)
    ]  # fmt: skip
    return charts.legend(names) + charts.intervals(rows, names, report.measures[0])


def figures(report: Report, outcomes: Sequence[Outcome]) -> str:
    """The evaluation's table, with the numbers of queries won, equal and lost."""
    header = [
        "direction", "queries", "system", *report.measures, "gain", "p (Holm)", "won / equal / lost", "Judged@10"
    ]  # fmt: skip
    rows = [_figures_row(line, report.measures, outcomes) for line in report.rows]
    classes = ["" if line.whole else "part" for line in report.rows]
    legend = (
        f"\u00b1 is the 95 % interval of {report.measures[0]}; gain over {report.systems[0]['name']}; p of a paired "
        "randomisation test with Holm's correction. Judged@10: share of the first ten documents that somebody judged."
    )
    return table(header, rows, classes) + f'<p class="quiet">{escape(legend)}</p>'


def index_section(statistics: IndexStatistics) -> str:
    """Sizes of documents and posting lists."""
    sizes, documents = statistics.non_zeros, statistics.documents
    if not documents:
        return ""
    longest = sorted(statistics.posting_lists.items(), key=lambda pair: (-pair[1], pair[0]))[:LONGEST]
    bars = [(token, length, f"{length:,} ({length / documents:.0%})") for token, length in longest]
    middle, high = np.percentile(sizes, [50, 95])
    words = (
        f"{documents:,} documents with {int(sizes.sum()):,} weights on {len(statistics.posting_lists):,} tokens: mean "
        f"{sizes.mean():.1f}, median {middle:.0f}, 95 % have at most {high:.0f}, the largest {int(sizes.max()):,}."
    )
    return _section(
        "index",
        "Documents and posting lists",
        f'<p>{escape(words)}</p><div class="charts"><div><h3>Non-zeros per document</h3>'
        + charts.histogram(sizes, "weights of a document", "documents")
        + f"</div><div><h3>The {len(bars)} longest posting lists</h3>"
        + charts.bars(bars, "Documents in the longest posting lists")
        + "</div></div>",
    )


def cost_section(costs: Sequence[Cost]) -> str:
    """What each system needs."""
    rows = [
        [
            cost.system,
            "" if cost.bytes is None else f"{cost.bytes / 1e6:,.1f} MB",
            "" if cost.non_zeros is None else f"{cost.non_zeros:,.1f}",
            "" if cost.flops is None else f"{cost.flops:.3f}",
            *(f"{cost.latency[name]:.1f} ms" if name in cost.latency else "" for name in ("p50", "p95")),
        ]
        for cost in costs
    ]
    header = ["system", "index", "weights per document", "FLOPS", "p50", "p95"]
    legend = (
        "FLOPS: multiplications of one search divided by the number of documents. p50 and p95: one query at a time, "
        "tokenising and HTTP included, the systems in turns; on a busy machine they say little."
    )
    return _section("cost", "Cost", table(header, rows) + f'<p class="quiet">{escape(legend)}</p>')


def latency_section(rows: Sequence[LoadRow]) -> str:
    """Percentiles over the number of clients, of a load test."""
    if not rows:
        return ""
    systems = list(dict.fromkeys(line.system for line in rows))
    parts = [charts.legend(systems), '<div class="charts">']
    for name in ("p50", "p99"):
        series = {
            system: [(line.clients, line.percentiles[name]) for line in rows
                     if line.system == system and name in line.percentiles]
            for system in systems
        }  # fmt: skip
        if any(series.values()):
            chart = charts.lines(series, "clients", f"{name}, ms")
            parts.append(f"<div><h3>{name} by number of clients</h3>{chart}</div>")
    names = list(dict.fromkeys(name for line in rows for name in line.percentiles))
    cells = [
        [line.system, f"{line.clients}", *(_ms(line.percentiles.get(name)) for name in names),
         "" if line.throughput is None else f"{line.throughput:,.1f}", f"{line.errors}"]
        for line in rows
    ]  # fmt: skip
    header = ["system", "clients", *(f"{name} ms" for name in names), "answers/s", "errors"]
    return _section("latency", "Latency under load", "".join(parts) + "</div>" + table(header, cells))


def settings_section(plan: TuningPlan | None) -> str:
    """The Pareto front of a tuning plan."""
    if plan is None:
        return ""
    ordered = front(plan.points)
    costs = {
        "p95 of one search, ms": [point.p95 for point in plan.points],
        "index, MB": [point.bytes / 1e6 for point in plan.points],
    }
    panels = []
    for label, values in costs.items():
        marks = [
            charts.Point(cost, point.test, str(number), _kind(point, plan))
            for number, (point, cost) in enumerate(zip(plan.points, values, strict=True))
        ]
        on_front = [mark for mark, point in zip(marks, plan.points, strict=True) if any(point is p for p in ordered)]
        panels.append(f"<div>{charts.scatter(marks, on_front, label, 'nDCG@10 on test queries')}</div>")
    rows = [[row(point, plan)[0], str(number), *row(point, plan)[1:]] for number, point in enumerate(plan.points)]
    words = f"Chosen: {plan.choice.setting} ({plan.verdict})."
    marks_text = "> and green: chosen; = and dark: present; * and the line: Pareto front on validation queries."
    return _section(
        "settings",
        "Settings: quality against cost",
        f'<p>{escape(words)}</p><div class="charts">{"".join(panels)}</div><p class="quiet">{escape(marks_text)}</p>'
        + table([HEAD[0], "number", *HEAD[1:]], rows),
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'


def _kind(point: object, plan: TuningPlan) -> str:
    if point is plan.choice:
        return "chosen"
    return "present" if point is plan.present else "other"


def _figures_row(line: Row, measures: Sequence[str], outcomes: Sequence[Outcome]) -> list[str]:
    first, *others = (line.figures[measure] for measure in measures)
    name = f"{line.direction}, no shared word" if line.no_shared_word else line.direction
    name = f"{line.direction}, not trained on" if line.not_trained_on else name
    gain = ["", "", ""]
    if line.difference is not None:
        counts = _counts([o for o in outcomes if o.direction == line.direction]) if line.whole else ""
        gain = [f"{line.difference.gain:+.3f}", f"{line.difference.p_adjusted:.4f}", counts]
    return [
        name, f"{line.queries:,}", line.system, f"{first:.3f} \u00b1{line.margin:.3f}",
        *(f"{value:.3f}" for value in others), *gain, f"{line.judged10:.3f}",
    ]  # fmt: skip


def _counts(outcomes: Sequence[Outcome]) -> str:
    won, lost = (sum(sign * outcome.gain > 0 for outcome in outcomes) for sign in (1, -1))
    return f"{won:,} / {len(outcomes) - won - lost:,} / {lost:,}"


def _mean(line: Row, measure: str) -> tuple[float, float]:
    return line.figures[measure], line.margin


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def notes_list(notes: Sequence[Any]) -> str:
    return "".join(f"<li>{escape(str(note))}</li>" for note in notes)
