"""A suite's report as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from osparse.evaluation.measures import NDCG
from osparse.retrieval.report_table import table_lines
from osparse.retrieval.suites.published import Published
from osparse.retrieval.suites.suite_report import SetResult, SuiteReport


def suite_text(report: SuiteReport) -> str:
    """Title, table, sources of the published figures, and what is not in the table."""
    title = f"{report.suite.name} in {report.folder}: {len(report.results)} of {len(report.suite.sets)} sets, {NDCG}"
    return "\n".join([title, *table_lines(_table(report)), *_legend(report)])


def _table(report: SuiteReport) -> Table:
    table = Table()
    table.add_column("set", no_wrap=True)
    for name in ("queries", "documents", *report.systems):
        table.add_column(name, justify="right", no_wrap=True)
    for number, published in _numbered(report):
        table.add_column(f"{published.name} \\[{number}]", justify="right", no_wrap=True, style="dim")
    for result in report.results:
        sizes = f"{result.queries:,}", f"{result.documents:,}"
        table.add_row(result.name, *sizes, *_measured(report, result), *_published(report, result))
    table.add_section()
    if report.whole != report.results:
        table.add_row(f"mean of {len(report.results)}", "", "", *_means(report, report.results))
    if report.whole:
        means = (f"{report.published_mean(published):.3f}" for published in report.suite.systems)
        whole = "" if report.whole == report.results else " whole"
        table.add_row(f"mean of {len(report.whole)}{whole}", "", "", *_means(report, report.whole), *means)
    return table


def _numbered(report: SuiteReport) -> list[tuple[int, Published]]:
    """The published systems, none where their figures are of other sets."""
    return list(enumerate(report.suite.systems, start=1)) if report.whole else []


def _measured(report: SuiteReport, result: SetResult) -> list[str]:
    return [f"{result.ndcg10(system):.3f}" for system in report.systems]


def _published(report: SuiteReport, result: SetResult) -> list[str]:
    if not result.whole:
        return []
    return [f"{published.ndcg10[result.name]:.3f}" for published in report.suite.systems]


def _means(report: SuiteReport, results: Sequence[SetResult]) -> list[str]:
    return [f"{report.mean(system, results):.3f}" for system in report.systems]


def _legend(report: SuiteReport) -> Iterator[str]:
    for number, published in _numbered(report):
        yield f"[{number}] published: {published.name}: {published.source}"
    if report.missing:
        yield f"not in {report.folder}: {', '.join(report.missing)}; the means are over the sets that are"
    for result in report.results:
        if not result.whole:
            size = report.suite.sets[result.name]
            yield (
                f"note: {result.name} has {result.documents:,} documents and {result.queries:,} judged queries, the "
                f"published set {size.documents:,} and {size.queries:,}: the published figures are of another set"
            )
    if report.others:
        yield f"note: not of the suite, and not measured: {', '.join(report.others)}"
    notes = dict.fromkeys(note for result in report.results for note in result.report.notes)
    yield from (f"note: {note}" for note in notes)
