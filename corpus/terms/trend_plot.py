"""A picture of trends: the share of documents that hold each term, over time."""

from __future__ import annotations

import datetime
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from osparse.charts.fonts import NO_HANGUL, drawable, lacks_hangul
from osparse.charts.style import Theme, colour, new_figure, plain_numbers, save, say, theme
from osparse.corpus.text.stop_words import says_something
from osparse.plugins.extras import require

if TYPE_CHECKING:
    from osparse.corpus.terms.trends import Trend, TrendReport, TrendRules

PERIODS = 24
"""Shown at most, up to the last."""
TERMS = 7
"""Shown at most each way: as many as there are colours."""
SAME = 0.8
"""Share of a word's documents that hold a phrase with it, from which on the phrase alone is shown."""
Holders = Counter[tuple[str, int]]
"""(term, period) -> documents."""

log = logging.getLogger("osparse.corpus.terms.trend_plot")


def draw(
    path: Path,
    report: TrendReport,
    rules: TrendRules,
    periods: NDArray[np.int64],
    documents: Iterable[set[str]],
    *,
    look: str = "light",
) -> None:
    """Write a PNG; reads the documents once and counts the shown terms alone.

    Args:
        periods: (N,) how many windows before the last each document lies; 0 is the last.
        documents: the terms of each document, in the same order.
        look: "light" or "dark".
    """
    rising, falling = telling(report.rising)[:TERMS], telling(report.falling)[:TERMS]
    terms = [trend.term for trend in (*rising, *falling)]
    if lacks_hangul(terms):
        log.warning("%s: %s", path, NO_HANGUL)
    holders = _holders(terms, periods, documents)
    with theme(look) as colours:
        figure = new_figure(9, 6.5)
        panels = figure.subplots(2, 1, sharex=True)
        for axes, title, trends in zip(panels, ("Rising terms", "Falling terms"), (rising, falling), strict=True):
            axes.set_title(title)
            if trends:
                _draw_terms(axes, trends, rules, periods, holders, colours)
            else:
                word = "rose" if trends is rising else "fell"
                say(axes, nothing_found(word, report, rules), colours)
        if terms:
            _date_axis(panels[0 if not falling else 1])
        else:
            for axes in panels:
                axes.xaxis.set_visible(False)
        save(figure, path, terms)


def telling(trends: Sequence[Trend]) -> list[Trend]:
    """Trends for people, in their order: without stop words, and without the parts of a phrase that is there too.

    A word is left out where most of its documents, of the period in which it is frequent, hold a phrase of the list
    with it; so is a phrase that overlaps with one shown before it, in the same documents.
    """
    spoken = [trend for trend in trends if says_something(trend.term)]
    shown: list[Trend] = []
    for trend in spoken:
        words = trend.term.split()
        longer = (other for other in spoken if len(other.term.split()) > len(words))
        before = (other for other in shown if len(words) > 1 and len(other.term.split()) == len(words))
        same = (o for o in (*longer, *before) if {*o.term.split()} & {*words} and _size(o) >= SAME * _size(trend))
        if next(same, None) is None:
            shown.append(trend)
    return shown


def nothing_found(word: str, report: TrendReport, rules: TrendRules) -> str:
    """A sentence in place of a curve; ``word``: "rose" or "fell"."""
    return (
        f"No term {word} more than chance allows: {report.terms_tested:,} terms of\n"
        f"{report.recent_documents:,} recent and {report.before_documents:,} earlier documents were tested\n"
        f"at a false-discovery rate of {rules.fdr:.0%}."
    )


def _size(trend: Trend) -> int:
    return trend.recent if trend.log_odds > 0 else trend.before


def _draw_terms(
    axes: Any, trends: Sequence[Trend], rules: TrendRules, periods: NDArray[np.int64], holders: Holders, look: Theme
) -> None:
    shown = np.arange(min(int(periods.max(initial=0)), PERIODS - 1), -1, -1)
    sizes = np.bincount(periods, minlength=PERIODS)[shown]
    ends = [rules.as_of - datetime.timedelta(days=int(period) * rules.window) for period in shown]
    for place, (counts, of_curve) in enumerate(_curves(trends, shown, holders).items()):
        share = np.divide(counts, sizes, out=np.full(len(shown), np.nan), where=sizes > 0)
        names = "\n".join(drawable(trend.term) for trend in of_curve)
        label = f"{names}  {of_curve[0].before_share:.1%} to {of_curve[0].recent_share:.1%}"
        axes.plot(ends, share * 100, marker=".", label=label, color=colour(look, place))
    axes.set_ylabel("documents with the term, %")
    axes.set_ylim(bottom=0)
    axes.grid(True)
    plain_numbers(axes.yaxis)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _curves(trends: Sequence[Trend], shown: NDArray[np.int64], holders: Holders) -> dict[tuple[int, ...], list[Trend]]:
    """Documents of each period -> the terms that have so many: lines that lie on each other are one, with all names."""
    curves: dict[tuple[int, ...], list[Trend]] = {}
    for trend in trends:
        curves.setdefault(tuple(holders[trend.term, int(period)] for period in shown), []).append(trend)
    return curves


def _date_axis(axes: Any) -> None:
    dates = require("matplotlib.dates", "corpus")
    locator = dates.AutoDateLocator(minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("end of the period")


def _holders(terms: Sequence[str], periods: NDArray[np.int64], documents: Iterable[set[str]]) -> Holders:
    holders: Holders = Counter()
    for period, held in zip(periods.tolist(), documents, strict=True):
        holders.update((term, period) for term in terms if term in held)
    return holders
