"""A picture of trends: the share of documents that hold each term, by period."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from osparse.plugins.extras import require

if TYPE_CHECKING:
    from osparse.corpus.terms.trends import Trend, TrendRules

PERIODS = 24
"""Shown at most, up to the last."""

HANGUL_FONTS = (
    "Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "UnDotum",
)  # fmt: skip

log = logging.getLogger("osparse.corpus.terms.trend_plot")


def draw(
    path: Path, trends: Sequence[Trend], rules: TrendRules, periods: NDArray[np.int64], documents: Iterable[set[str]]
) -> None:
    """Write a PNG; reads the documents once and counts the terms of ``trends`` alone.

    Args:
        periods: (N,) how many windows before the last each document lies; 0 is the last.
        documents: the terms of each document, in the same order.
    """
    require("matplotlib", "corpus")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    font = hangul_font()
    if font is None and any(not trend.term.isascii() for trend in trends):
        log.warning("%s: no installed font has Hangul; terms are shown by their place in the report", path)
    holders = _holders([trend.term for trend in trends], periods, documents)
    shown = np.arange(min(periods.max(), PERIODS - 1), -1, -1)
    sizes = np.bincount(periods, minlength=PERIODS)[shown]
    with pyplot.rc_context({"font.family": [font, "DejaVu Sans"]} if font is not None else {}):
        figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
        for place, trend in enumerate(trends, start=1):
            counts = np.array([holders[trend.term, int(period)] for period in shown])
            share = np.divide(counts, sizes, out=np.full(len(shown), np.nan), where=sizes > 0)
            style = "-" if trend.log_odds > 0 else "--"
            axes.plot(-shown * rules.window, share * 100, style, marker=".", label=_label(trend.term, place, font))
        axes.set_xlabel(f"days before {rules.as_of} (periods of {rules.window} days)")
        axes.set_ylabel("documents that hold the term, %")
        axes.set_title("Rising (solid) and falling (dashed) terms")
        if trends:
            axes.legend(ncols=2, fontsize="small")
        figure.savefig(path, dpi=120)
        pyplot.close(figure)


def _holders(
    terms: Sequence[str], periods: NDArray[np.int64], documents: Iterable[set[str]]
) -> Counter[tuple[str, int]]:
    """(term, period) -> documents of the period that hold the term."""
    holders: Counter[tuple[str, int]] = Counter()
    for period, found in zip(periods.tolist(), documents, strict=True):
        holders.update((term, period) for term in terms if term in found)
    return holders


def hangul_font() -> str | None:
    """Name of an installed font that has Hangul, the best first (matplotlib's own has none); None if there is none."""
    font_manager = require("matplotlib.font_manager", "corpus")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in installed), None)


def _label(text: str, position: int, font: str | None) -> str:
    """``text``, or "#position" where it has letters that no installed font can draw."""
    return text if font is not None or text.isascii() else f"#{position}"
