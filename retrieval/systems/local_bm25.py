"""BM25 in memory, where no cluster is at hand: words without stemming, statistics of each language by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.words import words
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import Benchmark, JudgedSet
from osparse.retrieval.systems.system import Run, System

K1, B = 1.2, 0.75
"""Lucene's defaults."""


class LocalBm25(System):
    """Lucene's BM25 over :func:`osparse.algorithms.words.words`, one collection per document language."""

    name = "bm25"

    def __init__(self) -> None:
        self._collections: dict[str, Bm25Collection] = {}

    def key(self) -> dict[str, Any]:
        return {"analyzers": "words"}

    def description(self) -> dict[str, Any]:
        return {"kind": "bm25", "analyzers": dict.fromkeys(self._collections, "words")}

    def prepare(self, data: Benchmark) -> None:
        texts: dict[str, dict[str, str]] = {lang: {} for lang in data.languages}
        for batch in data.texts():
            for document, text, lang in batch:
                texts[lang][document] = text
        self._collections = {lang: Bm25Collection(documents) for lang, documents in texts.items()}

    def run(self, judged: JudgedSet, depth: int) -> Run:
        collection = self._collections[judged.document_lang]
        return {query: dict(collection.search(text, depth)) for query, text in judged.queries.items()}

    def notes(self) -> list[str]:
        return [
            "bm25 was computed in memory over words without stemming (Korean words keep their particles): it is a "
            "weaker baseline than the analyzers of a cluster"
        ]


class Bm25Collection:
    """One collection: idf(t) * tf / (tf + k1 * (1 - b + b * length / mean length)), as Lucene 8 and later compute it.

    idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)). Lengths are exact, while Lucene keeps them in one byte.
    """

    def __init__(self, documents: dict[str, str]) -> None:
        """``documents``: id -> text."""
        counts = [Counter(words(text)) for text in documents.values()]
        self._ids: dict[str, int] = {}
        for count in counts:
            for word in count:
                self._ids.setdefault(word, len(self._ids))
        rows = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        tokens = np.fromiter((self._ids[word] for count in counts for word in count), np.int64)
        frequencies = np.fromiter((tf for count in counts for tf in count.values()), np.float64)
        lengths = np.array([count.total() for count in counts], dtype=np.float64)
        norms = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9)) if len(lengths) else lengths
        self._index = InvertedIndex()
        values = (frequencies / (frequencies + norms[rows])).astype(np.float32)
        self._index.add_sparse(list(documents), rows, tokens, values)
        self._idf = _idf(np.bincount(tokens, minlength=len(self._ids)), len(counts))

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """The k best as (id, score); a word that the query repeats counts as often."""
        repeated = Counter(self._known(words(text)))
        ids = list(repeated)
        return self._index.search(ids, [self._idf[i] * repeated[i] for i in ids], k)

    def _known(self, query: Iterable[str]) -> list[int]:
        return [self._ids[word] for word in query if word in self._ids]


def _idf(frequencies: NDArray[np.int64], documents: int) -> NDArray[np.float64]:
    """(V,) document frequencies -> (V,) idf."""
    return np.asarray(np.log1p((documents - frequencies + 0.5) / (frequencies + 0.5)), dtype=np.float64)
