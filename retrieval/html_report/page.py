"""The HTML file: the template with its style sheet, its script, the sections and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from osparse.io.files import read_text
from osparse.retrieval.html_report import sections
from osparse.retrieval.html_report.embedded import Embedded
from osparse.retrieval.html_report.load_test import LoadRow
from osparse.retrieval.html_report.outcomes import Outcome
from osparse.retrieval.html_report.sections import Cost
from osparse.retrieval.html_report.weight_source import IndexStatistics
from osparse.retrieval.report import Report
from osparse.retrieval.tuning.result.plan import TuningPlan

NAMES = {
    "overview": "Overview", "lost": "Lost", "won": "Won", "find": "Find a query", "index": "Index",
    "cost": "Cost", "latency": "Latency", "settings": "Settings", "notes": "Notes",
}  # fmt: skip
"""Section -> its name in the navigation."""


@dataclass(frozen=True)
class Page:
    """Everything that is shown."""

    report: Report
    """Of two systems, the baseline first."""
    system: str
    outcomes: Sequence[Outcome]
    embedded: Embedded
    """The most lost queries first, then the most won ones, then others."""
    lost: int
    won: int
    statistics: IndexStatistics
    costs: Sequence[Cost]
    load: Sequence[LoadRow]
    plan: TuningPlan | None
    notes: Sequence[str]


def html_page(page: Page) -> str:
    """One HTML file without any reference to the network."""
    report, baseline = page.report, page.report.systems[0]["name"]
    measure = report.measures[0]
    parts = {
        "index": sections.index_section(page.statistics),
        "cost": sections.cost_section(page.costs),
        "latency": sections.latency_section(page.load),
        "settings": sections.settings_section(page.plan),
    }
    shown = [name for name in NAMES if parts.get(name, "shown")]
    return _template("page.html").substitute(
        title=escape(f"{page.system} against {baseline} on {report.dataset['name']}"),
        about=escape(_about(report)),
        navigation="".join(f'<a href="#{name}">{NAMES[name]}</a>' for name in shown),
        headline=sections.headline(report, page.system),
        intervals=sections.interval_chart(report),
        figures=sections.figures(report, page.outcomes),
        lost_about=escape(_how_many(page.lost, "lost", f"{baseline} is better", measure)),
        won_about=escape(_how_many(page.won, "won", f"{page.system} is better", measure)),
        baseline=escape(baseline),
        sections="".join(parts.values()),
        notes=sections.notes_list(page.notes) or "<li>none</li>",
        data=_data(page, baseline),
        style=_text("page.css"),
        script=_text("page.js"),
    )


def _data(page: Page, baseline: str) -> str:
    return page.embedded.to_json(
        {
            "system": page.system,
            "baseline": baseline,
            "measure": page.report.measures[0],
            "lost": list(range(page.lost)),
            "won": list(range(page.lost, page.lost + page.won)),
        }
    )


def _about(report: Report) -> str:
    documents = ", ".join(f"{number:,} {lang}" for lang, number in report.dataset["documents"].items())
    return f"Dataset {report.dataset['name']}, {report.dataset['split']} queries. Documents: {documents}."


def _how_many(number: int, what: str, better: str, measure: str) -> str:
    if not number:
        return f"No query is {what}."
    start = f"The {number} queries with the largest difference in {measure} where {better}."
    return f"{start} Each opens to its hits and tokens."


def _template(name: str) -> Template:
    return Template(_text(name))


def _text(name: str) -> str:
    return read_text(Path(__file__).with_name(name))
