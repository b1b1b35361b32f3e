"""Pairs of a Korean and an English term: from titles that say the same, and from parentheses in running text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from osparse.algorithms.ibm_model1 import Ids, translation_probabilities
from osparse.contracts.dataset import Dataset
from osparse.corpus.text.analysis import words

if TYPE_CHECKING:
    from scipy import sparse

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
    return [(titles["ko"], titles["en"]) for titles in same.values() if titles.keys() >= {"ko", "en"}]


def from_titles(
    titles: Sequence[tuple[list[str], list[str]]], *, rounds: int = 10, at_least: int = 2
) -> list[Translation]:
    """Mutually best words by IBM Model 1 (osparse.algorithms.ibm_model1) in both directions.

    The confidence is the geometric mean of t(en | ko) and t(ko | en), shrunk by n / (n + 1) for n titles.
    """
    words = sorted({word for title in titles for side in title for word in side})
    number = {word: i for i, word in enumerate(words)}
    korean, english = ([_numbers(title[side], number) for title in titles] for side in (0, 1))
    forward = _best_targets(translation_probabilities(korean, english, len(words), iterations=rounds, empty=False))
    backward = _best_targets(translation_probabilities(english, korean, len(words), iterations=rounds, empty=False))
    mutual = {ko: en for ko, (en, _) in forward.items() if backward[en][0] == ko}
    pairs = ((set(ks.tolist()), set(es.tolist())) for ks, es in zip(korean, english, strict=True))
    counts = Counter(ko for ks, es in pairs for ko in ks & mutual.keys() if mutual[ko] in es)
    translations = [
        Translation(
            words[ko], words[en], float(np.sqrt(forward[ko][1] * backward[en][1])) * n / (n + 1), n, "titles"
        )
        for ko, en in mutual.items()
        if (n := counts[ko]) >= at_least and min(len(words[ko]), len(words[en])) > 1
    ]  # fmt: skip
    return sorted(translations, key=lambda pair: (-pair.confidence, pair.ko, pair.en))


def _numbers(words: Sequence[str], number: dict[str, int]) -> Ids:
    return np.array([number[word] for word in words], dtype=np.int64)


def _best_targets(table: sparse.csr_matrix) -> dict[int, tuple[int, float]]:
    """Source -> its most probable target (of equal ones the smallest) and the probability."""
    best = {}
    for source in np.flatnonzero(np.diff(table.indptr)).tolist():
        row = slice(table.indptr[source], table.indptr[source + 1])
        place = int(np.argmax(table.data[row]))
        best[source] = int(table.indices[row][place]), float(table.data[row][place])
    return best


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
