"""``osparse corpus trends``: terms that lately became more or less frequent than chance allows.

A term is a word or a pair of neighbouring words. Its documents in the last ``window`` days are compared with those
before by the conditional test of two Poisson rates (Przyborowski and Wilenski 1940): given n documents that hold the
term, the recent ones are binomial with the recent period's share of all documents. The false-discovery rate over all
terms is held by Benjamini and Hochberg's procedure; log-odds with a prior order the terms, so that a term seen thrice
does not lead the list.
"""

from __future__ import annotations

import datetime
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.corpus.analysis import words
from osparse.corpus.fonts import hangul_font, label
from osparse.corpus.idf import document_frequency
from osparse.dataset import Dataset
from osparse.errors import DatasetError, InputError
from osparse.extras import require
from osparse.files import pretty_json, sha256_file, write_atomic
from osparse.lexicon import load_tokenizer, read_vocabulary
from osparse.progress import progress

log = logging.getLogger("osparse.corpus.trends")
ALL = "all"
"""In place of a split: every document, held back or not."""
PRIOR = 2.0
"""Documents at the overall rate added to each period's count in the log-odds."""


@dataclass(frozen=True, kw_only=True)
class TrendRules:
    """What is compared. Raises :class:`InputError` for values out of range."""

    as_of: datetime.date
    """The last day that counts."""
    window: int = 30
    """Days up to and with ``as_of`` that are recent."""
    fdr: float = 0.05
    """Expected share of false discoveries among the terms reported."""
    min_documents: int = 5
    """Terms in fewer documents are not tested."""
    top: int = 100
    """Terms reported each way."""
    max_boost: float = 2.0
    """Largest factor of a query weight."""

    def __post_init__(self) -> None:
        fine = self.window >= 1 and 0 < self.fdr < 1 and self.min_documents >= 2 and self.top >= 1
        if not fine or not 1 <= self.max_boost <= 64:
            raise InputError(
                f"trends: {self}; wanted: window >= 1, fdr within (0, 1), min_documents >= 2, top >= 1, "
                "max_boost within [1, 64]"
            )


@dataclass(frozen=True)
class Trend:
    """One term."""

    term: str
    recent: int
    """Recent documents that hold it."""
    before: int
    recent_share: float
    before_share: float
    log_odds: float
    """ln of the ratio of the two periods' odds, smoothed; above 0 rises."""
    q: float
    """Smallest false-discovery rate at which the term is reported (Benjamini and Hochberg 1995)."""


@dataclass(frozen=True)
class TrendReport:
    recent_documents: int
    before_documents: int
    undated_documents: int
    terms_tested: int
    rising: list[Trend]
    falling: list[Trend]
    boosts: dict[int, float]
    """Token id -> factor above 1 of its query weight; empty without a tokenizer."""


def find_trends(
    dataset: Dataset,
    output: Path | str,
    rules: TrendRules,
    *,
    tokenizer: Path | str | None = None,
    split: str | None = None,
    plot: Path | str | None = None,
) -> TrendReport:
    """Compare a dataset's recent documents with its older ones and write the report as JSON.

    Args:
        tokenizer: With it rising terms are mapped to its tokens; ``osparse idf --trends`` reads the result.
        split: Only documents judged in it; ``all`` takes every one, None those that are not held back
            (:meth:`osparse.dataset.Dataset.learnable_documents`).
        plot: A PNG of the strongest trends over time.

    Raises:
        DatasetError: no documents in one of the two periods.
    """
    rows = _documents(dataset, split).select("text", "date").collect()
    dated = rows.filter(pl.col("date").is_not_null() & (pl.col("date") <= rules.as_of))
    first = rules.as_of - datetime.timedelta(days=rules.window - 1)
    recent = dated["date"].to_numpy() >= np.datetime64(first)
    if not recent.any() or recent.all():
        raise DatasetError(
            f"{dataset.path}: {int(recent.sum())} of {len(recent)} dated documents lie within {rules.window} days up "
            f"to {rules.as_of}; both periods need some: choose another --as-of or --window"
        )
    counts = _count(dated["text"], recent)
    tested = sorted(term for term, (a, b) in counts.items() if a + b >= rules.min_documents)
    found = compare(tested, counts, int(recent.sum()), int((~recent).sum()))
    kept = [trend for trend in found if trend.q <= rules.fdr]
    rising = sorted((t for t in kept if t.log_odds > 0), key=lambda t: (-t.log_odds, t.term))[: rules.top]
    falling = sorted((t for t in kept if t.log_odds < 0), key=lambda t: (t.log_odds, t.term))[: rules.top]
    boosts: dict[int, float] = {}
    extra: dict[str, Any] = {}
    if tokenizer is not None:
        file = Path(tokenizer) / "tokenizer.json" if Path(tokenizer).is_dir() else Path(tokenizer)
        boosts = piece_boosts(
            rising, file, [t for t, r in zip(dated["text"], recent, strict=True) if r], rules.max_boost
        )
        extra = {"tokenizer_sha256": sha256_file(file)}
    report = TrendReport(
        int(recent.sum()), int((~recent).sum()), rows.height - dated.height, len(tested), rising, falling, boosts
    )
    shown = {**asdict(rules), "as_of": rules.as_of.isoformat()}
    about = {"dataset": dataset.fingerprint, "split": split, "rules": shown, **extra}
    write_atomic(Path(output), pretty_json({**about, **asdict(report)}))
    if plot is not None:
        _plot(Path(plot), dated, [*rising[:8], *falling[:4]], rules)
    return report


def _documents(dataset: Dataset, split: str | None) -> pl.LazyFrame:
    if split is None:
        return dataset.learnable_documents()
    return dataset.documents if split == ALL else dataset.split_documents(split)


def terms_of(text: str) -> set[str]:
    """Its words and pairs of neighbouring words."""
    found = words(text)
    return {*found, *(f"{x} {y}" for x, y in zip(found, found[1:], strict=False))}


def compare(tested: Sequence[str], counts: dict[str, tuple[int, int]], recent: int, before: int) -> list[Trend]:
    """Each term's trend; ``counts`` are (recent, earlier) documents of ``recent`` and ``before``."""
    if not tested:
        return []
    stats = require("scipy.stats", "corpus")
    a, b = np.array([counts[t] for t in tested], dtype=np.float64).T
    share = recent / (recent + before)
    p = np.minimum(1.0, 2 * np.minimum(stats.binom.cdf(a, a + b, share), stats.binom.sf(a - 1, a + b, share)))
    q = stats.false_discovery_control(p)
    rate = (a + b) / (recent + before)
    odds = [(x + PRIOR * rate) / (n - x + PRIOR * (1 - rate)) for x, n in ((a, recent), (b, before))]
    effect = np.log(odds[0] / odds[1])
    return [
        Trend(t, int(a[i]), int(b[i]), float(a[i] / recent), float(b[i] / before), float(effect[i]), float(q[i]))
        for i, t in enumerate(tested)
    ]


def piece_boosts(rising: Sequence[Trend], tokenizer: Path, recent: Sequence[str], limit: float) -> dict[int, float]:
    """Token id -> factor: sqrt of the term's odds ratio, cut to ``limit``, as far as the token belongs to the term.

    A token that other words share too is boosted by the term's share of the recent documents that hold the token; one
    of several terms gets the largest of their factors.
    """
    loaded = load_tokenizer(tokenizer)
    tokens, special = read_vocabulary(tokenizer)
    df, _ = document_frequency(tokenizer, recent, len(tokens), total=len(recent))
    found: dict[int, float] = {}
    for trend in rising:
        factor = min(limit, float(np.exp(trend.log_odds / 2)))
        for token in set(loaded.encode(trend.term, add_special_tokens=False).ids) - {*special}:
            part = min(1.0, trend.recent / max(1, int(df[token])))
            found[token] = max(found.get(token, 1.0), 1 + (factor - 1) * part)
    return {token: round(factor, 6) for token, factor in sorted(found.items()) if factor > 1}


def _count(texts: Iterable[str], recent: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """Term -> (recent, earlier) documents that hold it."""
    now: Counter[str] = Counter()
    before: Counter[str] = Counter()
    with progress("count terms", len(recent), "documents") as bar:
        for text, is_recent in zip(texts, recent.tolist(), strict=True):
            (now if is_recent else before).update(terms_of(text))
            bar.advance(1)
    return {term: (now[term], before[term]) for term in now.keys() | before.keys()}


def _plot(path: Path, dated: pl.DataFrame, trends: Sequence[Trend], rules: TrendRules) -> None:
    """Share of documents that hold each term, by period of the window's length."""
    require("matplotlib", "corpus").use("Agg")
    pyplot = require("matplotlib.pyplot", "corpus")
    font = hangul_font()
    with pyplot.rc_context({} if font is None else {"font.family": [font, "DejaVu Sans"]}):
        _draw(pyplot, path, dated, trends, rules, font)


def _draw(
    pyplot: Any, path: Path, dated: pl.DataFrame, trends: Sequence[Trend], rules: TrendRules, font: str | None
) -> None:
    ages = np.array([(rules.as_of - day).days // rules.window for day in dated["date"]])
    periods = np.arange(min(ages.max(), 23), -1, -1)
    sizes = np.array([(ages == period).sum() for period in periods])
    held = [terms_of(text) for text in dated["text"]]
    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    if font is None and any(not trend.term.isascii() for trend in trends):
        log.warning("%s: no installed font has Hangul; terms are shown by their place in the report", path)
    for place, trend in enumerate(trends, start=1):
        holds = np.array([trend.term in found for found in held])
        share = [holds[ages == period].mean() if size else np.nan for period, size in zip(periods, sizes, strict=True)]
        style = "-" if trend.log_odds > 0 else "--"
        axes.plot(
            -periods * rules.window, np.array(share) * 100, style, marker=".", label=label(trend.term, place, font)
        )
    axes.set_xlabel(f"days before {rules.as_of} (periods of {rules.window} days)")
    axes.set_ylabel("documents that hold the term, %")
    axes.set_title("Rising (solid) and falling (dashed) terms")
    if trends:
        axes.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
