"""``osparse corpus trends``: terms that lately became more or less frequent than chance allows.

A term is a word or a pair of neighbouring words. Its documents in the last ``window`` days are compared with those
before by the conditional test of two Poisson rates (Przyborowski and Wilenski 1940): given n documents that hold the
term, the recent ones are binomial with the recent period's share of all documents. The false-discovery rate over all
terms is held by Benjamini and Hochberg's procedure; log-odds with a prior order the terms, so that a term seen thrice
does not lead the list.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.corpus.terms.idf import count_tokens
from osparse.corpus.text.analysis import words
from osparse.errors import DatasetError, InputError
from osparse.formula.lexicon import load_tokenizer, read_vocabulary
from osparse.io.files import pretty_json, sha256_file, write_atomic
from osparse.io.progress import progress
from osparse.io.tables import row_batches
from osparse.plugins.extras import require

HASHES = 1 << 26
"""Counters of terms' hashes, a byte each."""
READ = 2_048
"""Documents read at a time."""
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
                f"trends: {self}; required: window >= 1, fdr within (0, 1), min_documents >= 2, top >= 1, "
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
    look: str = "light",
) -> TrendReport:
    """Compare a dataset's recent documents with its older ones and write the report as JSON.

    Args:
        tokenizer: With it rising terms are mapped to its tokens; ``osparse idf --trends`` reads the result.
        split: Only documents judged in it; ``all`` takes every one, None those that are not held back
            (:meth:`osparse.contracts.dataset.Dataset.learnable_documents`).
        plot: A PNG of the strongest trends over time.
        look: "light" or "dark", of the picture.

    Raises:
        DatasetError: no documents in one of the two periods.
    """
    documents = dataset.learnable_documents() if split is None else dataset.split_documents(split)
    dated = documents.filter(pl.col("date").is_not_null() & (pl.col("date") <= rules.as_of))
    days = dated.select("date").collect(engine="streaming")["date"]
    undated = int(documents.select(pl.len()).collect(engine="streaming").item()) - len(days)
    recent = days.to_numpy() >= np.datetime64(rules.as_of - datetime.timedelta(days=rules.window - 1))
    if not recent.any() or recent.all():
        raise DatasetError(
            f"{dataset.path}: {int(recent.sum())} of {len(recent)} dated documents lie within {rules.window} days up "
            f"to {rules.as_of}; both periods need some: choose another `as_of` or `window`"
        )

    def texts() -> Iterator[str]:
        return (text for batch in row_batches(dated.select("text"), READ) for (text,) in batch)

    counts = count_terms(texts, recent, rules.min_documents)
    trends = compare(sorted(counts), counts, int(recent.sum()), int((~recent).sum()))
    significant = [trend for trend in trends if trend.q <= rules.fdr]
    rising = sorted((t for t in significant if t.log_odds > 0), key=lambda t: (-t.log_odds, t.term))[: rules.top]
    falling = sorted((t for t in significant if t.log_odds < 0), key=lambda t: (t.log_odds, t.term))[: rules.top]
    boosts: dict[int, float] = {}
    extra: dict[str, Any] = {}
    if tokenizer is not None:
        file = Path(tokenizer) / "tokenizer.json" if Path(tokenizer).is_dir() else Path(tokenizer)
        boosts = piece_boosts(rising, file, compress(texts(), recent.tolist()), rules.max_boost)
        extra = {"tokenizer_sha256": sha256_file(file)}
    report = TrendReport(int(recent.sum()), int((~recent).sum()), undated, len(trends), rising, falling, boosts)
    shown = {**asdict(rules), "as_of": rules.as_of.isoformat()}
    about = {"dataset": dataset.fingerprint, "split": split, "rules": shown, **extra}
    write_atomic(Path(output), pretty_json({**about, **asdict(report)}))
    if plot is not None:
        from osparse.corpus.terms.trend_plot import draw

        ages = (np.datetime64(rules.as_of) - days.to_numpy()).astype("timedelta64[D]").astype(np.int64)
        draw(Path(plot), report, rules, ages // rules.window, map(terms_of, texts()), look=look)
    return report


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
    everywhere = rate == 1  # in every document: no odds, and no trend
    absent = np.where(everywhere, 1.0, PRIOR * (1 - rate))
    odds = [(x + PRIOR * rate) / (n - x + absent) for x, n in ((a, recent), (b, before))]
    effect = np.where(everywhere, 0.0, np.log(odds[0] / odds[1]))
    return [
        Trend(t, int(a[i]), int(b[i]), float(a[i] / recent), float(b[i] / before), float(effect[i]), float(q[i]))
        for i, t in enumerate(tested)
    ]


def piece_boosts(rising: Sequence[Trend], tokenizer: Path, recent: Iterable[str], limit: float) -> dict[int, float]:
    """Token id -> factor: sqrt of the term's odds ratio, cut to ``limit``, as far as the token belongs to the term.

    A token that other words share too is boosted by the term's share of the recent documents that hold the token; one
    of several terms gets the largest of their factors.
    """
    loaded = load_tokenizer(tokenizer)
    tokens, special = read_vocabulary(tokenizer)
    df = count_tokens(tokenizer, ((text, None) for text in recent), len(tokens)).df
    found: dict[int, float] = {}
    for trend in rising:
        factor = min(limit, float(np.exp(trend.log_odds / 2)))
        for token in set(loaded.encode(trend.term, add_special_tokens=False).ids) - {*special}:
            part = min(1.0, trend.recent / max(1, int(df[token])))
            found[token] = max(found.get(token, 1.0), 1 + (factor - 1) * part)
    return {token: round(factor, 6) for token, factor in sorted(found.items()) if factor > 1}


def count_terms(
    texts: Callable[[], Iterable[str]], recent: NDArray[np.bool_], at_least: int
) -> dict[str, tuple[int, int]]:
    """Term -> (recent, earlier) documents that hold it, of the terms in at least so many documents.

    Most terms are in one document only. A first pass counts hashes of terms, a second one the terms whose hash came
    often enough (Park, Chen and Yu 1995), so that memory grows with the terms that are counted and not with the rest.
    """
    often = _Hashes()
    now: Counter[str] = Counter()
    before: Counter[str] = Counter()
    with progress("count terms", 2 * len(recent), "documents") as bar:
        for text in texts():
            often.add(terms_of(text))
            bar.advance(1)
        for text, is_recent in zip(texts(), recent.tolist(), strict=True):
            (now if is_recent else before).update(often.among(terms_of(text), at_least))
            bar.advance(1)
    counted = ((term, now[term], before[term]) for term in now.keys() | before.keys())
    return {term: (a, b) for term, a, b in counted if a + b >= at_least}


class _Hashes:
    """How many documents hold a term of each hash, up to 255; never less than hold the term itself."""

    def __init__(self) -> None:
        self._counts = np.zeros(HASHES, np.uint8)

    def add(self, terms: set[str]) -> None:
        """One document's."""
        places = self._places(terms)
        self._counts[places] = np.minimum(self._counts[places], 254) + 1

    def among(self, terms: set[str], at_least: int) -> list[str]:
        """Those that may be in so many documents."""
        often = self._counts[self._places(terms)] >= min(at_least, 255)
        return list(compress(terms, often.tolist()))

    @staticmethod
    def _places(terms: set[str]) -> NDArray[np.int64]:
        return np.fromiter(map(hash, terms), np.int64, len(terms)) % HASHES
