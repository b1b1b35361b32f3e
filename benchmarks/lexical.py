"""Opponents without a network for benchmarks/quality.py: BM25 over any tokens, and a query expanded by a dictionary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from osparse.algorithms.language import is_hangul
from osparse.evaluation.measures import JudgedSet

K1, B = 1.2, 0.75
"""Lucene's defaults, and science's."""
ITERATIONS = 10
"""Of EM; the table changes little after five."""
TRANSLATIONS = 10
"""Translations of a token that are kept."""

Tokenise = Callable[[str], Iterable[str]]
Scores = NDArray[np.float64]
"""(Q, D): rows as ``judged.queries``, columns as ``judged.document_ids``; 0 is not found."""
Tables = dict[tuple[str, str], dict[str, list[tuple[str, float]]]]
"""(query language, document language) -> token -> its likeliest translations, the best first."""
_CONTENT = ("N", "V", "MM", "MA", "XR", "SL", "SH", "SN")
"""Tags of the Sejong corpus: nouns, verbs and adjectives, modifiers, roots; foreign words, hanja, numbers."""
_WORD = re.compile(r"[가-힣]+|[^\W가-힣]+")
"""A run of one script: "gtk용" is two words."""


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def bigrams(text: str) -> list[str]:
    """Words, those of Hangul as their pairs of neighbouring syllables."""
    found = []
    for run in _WORD.findall(text.lower()):
        hangul = "가" <= run[0] <= "힣" and len(run) > 1
        found += [run[i : i + 2] for i in range(len(run) - 1)] if hangul else [run]
    return found


def morphemes() -> Tokenise | None:
    """Korean by kiwi's morphemes, without particles, endings and suffixes, the rest as :func:`words`; None without it.

    pip install kiwipiepy
    """
    try:
        from kiwipiepy import Kiwi
    except ImportError:
        return None
    kiwi = Kiwi()

    def tokens(text: str) -> list[str]:
        if not any(map(is_hangul, text)):
            return words(text)
        return [part.form.lower() for part in kiwi.tokenize(text) if part.tag.startswith(_CONTENT)]

    return tokens


@dataclass(frozen=True)
class Bm25Index:
    """BM25 (Robertson and Zaragoza 2009; idf as Lucene's) of one language's documents."""

    number: dict[str, int]
    """Token -> column."""
    weights: sparse.csr_matrix
    """(D, V) idf times saturated term frequency."""

    @classmethod
    def of(cls, texts: Sequence[str], tokenise: Tokenise) -> Bm25Index:
        number: dict[str, int] = {}
        rows = [[number.setdefault(token, len(number)) for token in tokenise(text)] for text in texts]
        counts = _matrix(rows, len(number))
        counts.sum_duplicates()
        lengths = np.asarray(counts.sum(1)).ravel()
        df = np.bincount(counts.indices, minlength=len(number))
        idf = np.log1p((len(texts) - df + 0.5) / (df + 0.5))
        found = counts.tocoo()
        norm = K1 * (1 - B + B * lengths / lengths.mean())
        found.data = idf[found.col] * found.data * (K1 + 1) / (found.data + norm[found.row])
        return cls(number, found.tocsr())

    def scores(self, queries: Sequence[dict[str, float]]) -> Scores:
        """Queries as {token: weight}."""
        known = [{self.number[t]: w for t, w in query.items() if t in self.number} for query in queries]
        matrix = _matrix([list(query) for query in known], len(self.number))
        matrix.data = np.array([w for query in known for w in query.values()], dtype=np.float64)
        found: Scores = (matrix @ self.weights.T).toarray()
        return found


class Bm25:
    """BM25 over ``tokenise``; each distinct query token counts once."""

    def __init__(self, texts: dict[str, str], tokenise: Tokenise) -> None:
        self.texts, self.tokenise = texts, tokenise
        self._indices: dict[str, Bm25Index] = {}

    def index(self, judged: JudgedSet) -> Bm25Index:
        lang = judged.document_lang
        if lang not in self._indices:
            self._indices[lang] = Bm25Index.of([self.texts[i] for i in judged.document_ids], self.tokenise)
        return self._indices[lang]

    def __call__(self, judged: JudgedSet) -> Scores:
        queries = [dict.fromkeys(self.tokenise(text), 1.0) for text in judged.queries.values()]
        return self.index(judged).scores(queries)


class Dictionary:
    """BM25 with the query expanded across languages by IBM Model 1 (Brown et al. 1993)."""

    def __init__(self, bm25: Bm25, tables: Tables, share: float) -> None:
        """Args:
        tables: (query language, document language) -> translations.
        share: Weight of a translation of probability 1, against 1 of the query's own tokens.
        """
        self.bm25, self.tables, self.share = bm25, tables, share

    @staticmethod
    def tables_of(bm25: Bm25, pairs: Mapping[tuple[str, str], Sequence[tuple[str, str]]]) -> Tables:
        """From aligned texts by (query language, document language)."""
        return {
            direction: ibm_model_1([(set(bm25.tokenise(a)), set(bm25.tokenise(b))) for a, b in found])
            for direction, found in pairs.items()
        }

    def __call__(self, judged: JudgedSet) -> Scores:
        table = self.tables.get((judged.query_lang, judged.document_lang), {})
        queries = []
        for text in judged.queries.values():
            query = dict.fromkeys(self.bm25.tokenise(text), 1.0)
            for token in list(query):
                for other, probability in table.get(token, ()):
                    query[other] = query.get(other, 0.0) + self.share * probability
            queries.append(query)
        return self.bm25.index(judged).scores(queries)


def ibm_model_1(pairs: Sequence[tuple[set[str], set[str]]]) -> dict[str, list[tuple[str, float]]]:
    """Token -> its likeliest translations t(e|f), the best first; sets of tokens, no NULL word."""
    source: dict[str, int] = {}
    target: dict[str, int] = {}
    links = []  # (source, target, place of the target word in the corpus)
    place = 0
    for a, b in pairs:
        sources = np.array([source.setdefault(f, len(source)) for f in sorted(a)], dtype=np.int64)
        targets = np.array([target.setdefault(e, len(target)) for e in sorted(b)], dtype=np.int64)
        places = np.arange(place, place + len(targets))
        links.append((np.tile(sources, len(targets)), *(np.repeat(x, len(sources)) for x in (targets, places))))
        place += len(targets)
    f, e, word = (np.concatenate(part) for part in zip(*links, strict=True))
    key, entry = np.unique(f * len(target) + e, return_inverse=True)
    owner = key // max(1, len(target))
    t = np.ones(len(key))
    for _ in range(ITERATIONS):
        expected = t[entry]
        expected /= np.bincount(word, expected)[word]
        counts = np.bincount(entry, expected, minlength=len(key))
        t = counts / np.bincount(owner, counts)[owner]
    names, others = list(source), list(target)
    found: dict[str, list[tuple[str, float]]] = {}
    for i in np.lexsort((key, -t)):
        kept = found.setdefault(names[owner[i]], [])
        if len(kept) < TRANSLATIONS:
            kept.append((others[key[i] % len(target)], float(t[i])))
    return found


def _matrix(rows: Sequence[Sequence[int]], columns: int) -> sparse.csr_matrix:
    ends = np.cumsum([0, *map(len, rows)])
    flat = np.fromiter((column for row in rows for column in row), np.int64, count=int(ends[-1]))
    return sparse.csr_matrix((np.ones(len(flat)), flat, ends), shape=(len(rows), max(1, columns)))
