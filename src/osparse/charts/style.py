"""The look of a picture: colours for light and dark pages, quiet axes, plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from osparse.charts.fonts import NO_HANGUL, drawable, families, lacks_hangul
from osparse.errors import InputError
from osparse.plugins.extras import require

ThemeName = Literal["light", "dark"]
DPI = 100


@dataclass(frozen=True)
class Theme:
    """Colours of one kind of page."""

    page: str
    text: str
    quiet: str
    """Of grids, frames and remarks."""
    series: tuple[str, ...]
    """Told apart by people with any colour vision (light: Okabe and Ito 2008)."""


THEMES: dict[str, Theme] = {
    "light": Theme(
        "#ffffff", "#222222", "#777777", ("#0072b2", "#d55e00", "#009e73", "#a3528a", "#b88600", "#4a9fd8", "#6a51a3")
    ),
    "dark": Theme(
        "#16191d", "#e8e6e3", "#8b929a", ("#5ab4ea", "#ff9e5e", "#4fd1a5", "#f0a3cb", "#f2d16b", "#a9d8f7", "#b9a5e8")
    ),
}


@contextmanager
def theme(name: str) -> Iterator[Theme]:
    """Pictures made in the block have this look; matplotlib's settings are restored after it.

    Raises :class:`InputError` for another name, :class:`MissingExtraError` without matplotlib.
    """
    if name not in THEMES:
        raise InputError(f"`look` must be one of {', '.join(THEMES)}, got {name!r}")
    chosen = THEMES[name]
    settings = {
        "font.family": families(), "font.size": 10.0, "axes.titlesize": 11.0, "axes.titlelocation": "left",
        "figure.facecolor": chosen.page, "savefig.facecolor": chosen.page, "axes.facecolor": chosen.page,
        "text.color": chosen.text, "axes.labelcolor": chosen.text, "axes.titlecolor": chosen.text,
        "xtick.color": chosen.quiet, "ytick.color": chosen.quiet, "xtick.labelcolor": chosen.text,
        "ytick.labelcolor": chosen.text, "axes.edgecolor": chosen.quiet, "grid.color": chosen.quiet, "grid.alpha": 0.25,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.labelcolor": chosen.text,
        "axes.unicode_minus": False, "axes.axisbelow": True,
    }  # fmt: skip
    with require("matplotlib", "corpus").rc_context(settings):
        yield chosen


def new_figure(width: float, height: float) -> Any:
    """A figure of so many inches that belongs to no window."""
    figure = require("matplotlib.figure", "corpus").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", "corpus").FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path, texts: Sequence[str] = ()) -> None:
    """Write a PNG; equal figures give equal bytes. Says below it if ``texts`` were written in other letters."""
    if lacks_hangul(texts):
        figure.supxlabel(NO_HANGUL, fontsize=8, alpha=0.8)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def colour(look: Theme, place: int) -> str:
    """The colour of the series at this place; they repeat."""
    return look.series[place % len(look.series)]


def plain_numbers(axis: Any) -> None:
    """Ticks such as 10 and 20,000, on linear and logarithmic axes; not 10^4 nor 1e6."""
    ticker = require("matplotlib.ticker", "corpus")
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(ticker.NullFormatter())


def decade_ticks(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each power of ten: a logarithmic axis of one decade has numbers to read too."""
    axis.set_major_locator(require("matplotlib.ticker", "corpus").LogLocator(subs=(1, 2, 5)))
    plain_numbers(axis)


def plain(value: float) -> str:
    """A number for people: thousands with commas up to a million, few digits, nothing for what is not finite."""
    if not math.isfinite(value):
        return ""
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-4:
        mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else (f"{value:.2g}", "0")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if size >= 100 or value == int(value) else f"{value:.3g}"


def at_least_span(axes: Any, least: float, *, low: float | None = None, high: float | None = None) -> None:
    """Widen the y axis to ``least`` around its middle, so that noise is not drawn as a fall; within [low, high]."""
    bottom, top = axes.get_ylim()
    missing = max(0.0, least - (top - bottom)) / 2
    bottom, top = bottom - missing, top + missing
    if high is not None and top > high:
        bottom, top = min(bottom, max(bottom - (top - high), high - least)), high
    if low is not None and bottom < low:
        bottom, top = low, max(top, min(low + least, high if high is not None else math.inf))
    axes.set_ylim(bottom, top)


def say(axes: Any, text: str, look: Theme) -> None:
    """Words in place of a curve, where there is nothing to draw."""
    lines = "\n".join(map(drawable, text.split("\n")))
    axes.text(0.5, 0.5, lines, transform=axes.transAxes, ha="center", va="center", color=look.quiet)
    axes.yaxis.set_visible(False)  # the x axis may be shared with another panel
    axes.grid(False)
