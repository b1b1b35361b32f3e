"""Pairs of a Korean and an English term: from titles that say the same, and from parentheses in running text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from osparse.corpus.analysis import words
from osparse.dataset import Dataset

PARENTHESIS = re.compile(r"([가-힣][가-힣 ]{0,30}[가-힣])\s?\(\s?([A-Za-z][A-Za-z0-9 .+#-]{1,40}?)\s?\)")
MAX_WORDS = 4
"""Of either side of a parenthesis."""


@dataclass(frozen=True)
class Translation:
    """Two terms that seem to say the same."""

    ko: str
    en: str
    confidence: float
    """In (0, 1]."""
    count: int
    """Titles or places that show it."""
    origin: str
    """``titles`` or ``parentheses``."""


def aligned_titles(dataset: Dataset, split: str) -> list[tuple[list[str], list[str]]]:
    """(words of the Korean query, words of the English one) of queries of a split that have the same answers."""
    pairs = dataset.qrels(split).filter(pl.col("score") > 0).select("query_id", "document_id").collect()
    answers = pairs.group_by("query_id").agg(pl.col("document_id").sort()).sort("query_id")
    rows = dataset.split_queries(split).select("id", "text", "lang").collect().iter_rows()
    queries = {name: (text, lang) for name, text, lang in rows}
    same: defaultdict[tuple[str, ...], dict[str, list[str]]] = defaultdict(dict)
    for query, documents in answers.iter_rows():
        text, lang = queries[query]
        same[tuple(documents)].setdefault(lang, words(text))
    return [(found["ko"], found["en"]) for found in same.values() if found.keys() >= {"ko", "en"}]


def from_titles(
    titles: Sequence[tuple[list[str], list[str]]], *, rounds: int = 10, at_least: int = 2
) -> list[Translation]:
    """Mutually best words by IBM Model 1 (Brown et al. 1993) in both directions.

    The confidence is the geometric mean of t(en | ko) and t(ko | en), shrunk by n / (n + 1) for n titles.
    """
    forward = ibm1([(ko, en) for ko, en in titles], rounds)
    backward = ibm1([(en, ko) for ko, en in titles], rounds)
    together = Counter(pair for ko, en in titles for pair in {(k, e) for k in ko for e in en})
    found = []
    for ko, targets in forward.items():
        en = max(sorted(targets), key=targets.__getitem__)
        back = backward.get(en, {})
        count = together[ko, en]
        if back and max(sorted(back), key=back.__getitem__) == ko and count >= at_least and min(len(ko), len(en)) > 1:
            confidence = float(np.sqrt(targets[en] * back[ko])) * count / (count + 1)
            found.append(Translation(ko, en, confidence, count, "titles"))
    return sorted(found, key=lambda pair: (-pair.confidence, pair.ko, pair.en))


def from_parentheses(texts: Iterable[str], *, at_least: int = 2) -> list[Translation]:
    """``기계 학습(machine learning)``: the Korean words before a parenthesis that holds English.

    How many of the words before it belong to the term is decided by what precedes the English most often: the longest
    run of words that is there at least two thirds as often as its last word. The confidence is that run's share of the
    English term's parentheses, shrunk by n / (n + 1).
    """
    runs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for text in texts:
        for before, inside in PARENTHESIS.findall(text):
            english = " ".join(inside.lower().split())
            before_words = before.split()[-MAX_WORDS:]
            if len(english.split()) > MAX_WORDS:
                continue
            total[english] += 1
            runs[english].update(" ".join(before_words[-n:]) for n in range(1, len(before_words) + 1))
    found = []
    for english, counts in runs.items():
        last, n = max(((run, c) for run, c in counts.items() if " " not in run), key=lambda pair: (pair[1], pair[0]))
        longer = [run for run, c in counts.items() if run.endswith(last) and 3 * c >= 2 * n]
        korean = max(longer, key=lambda run: (run.count(" "), run))
        count = counts[korean]
        if count >= at_least:
            found.append(
                Translation(korean, english, count / total[english] * count / (count + 1), count, "parentheses")
            )
    return sorted(found, key=lambda pair: (-pair.confidence, pair.ko, pair.en))


def ibm1(pairs: Sequence[tuple[list[str], list[str]]], rounds: int) -> dict[str, dict[str, float]]:
    """t(target | source) by expectation maximisation from uniform; ``pairs`` are (source, target) words."""
    table: dict[str, dict[str, float]] = {}
    for source, target in pairs:
        for a in source:
            table.setdefault(a, {}).update(dict.fromkeys(target, 1.0))
    for _ in range(rounds):
        counts: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for source, target in pairs:
            for b in target:
                mass = sum(table[a][b] for a in source)
                for a in source:
                    counts[a][b] += table[a][b] / mass
        table = {a: {b: n / sum(row.values()) for b, n in row.items()} for a, row in counts.items()}
    return table
