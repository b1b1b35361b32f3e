"""First-stage rankings to mine from: BM25 (bm25s), or a trained model by the code that evaluates it.

A retriever ranks by falling score and, at equal scores, by ascending document id; what shares nothing with the query is
not ranked at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np

from osparse.corpus.analysis import terms
from osparse.encoding import QueryEncoder
from osparse.errors import InputError
from osparse.extras import require
from osparse.lexicon import load_tokenizer
from osparse.model import Model
from osparse.progress import progress
from osparse.ranking import InvertedIndex

Ranking = list[tuple[str, float]]
BLOCK = 2048
"""Documents encoded together, whatever the number of processes: equal blocks give equal weights."""
QUERIES = 512
"""Queries ranked at a time."""
K1, B = 1.2, 0.75

log = logging.getLogger("osparse.corpus.retrievers")


class Retriever(Protocol):
    name: str
    """What the scores are called in the dataset."""

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        """The best k documents of each query, in order; ``documents`` is {id: text}."""


class Bm25Retriever:
    """Lucene's BM25 over :func:`osparse.corpus.analysis.terms`."""

    name = "bm25"

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        bm25s = require("bm25s", "corpus")
        ids = sorted(documents)
        index = bm25s.BM25(k1=K1, b=B, method="lucene")
        with progress("index for BM25", len(ids), "documents") as bar:
            corpus = []
            for name in ids:
                corpus.append(terms(documents[name]))
                bar.advance(1)
        index.index(corpus, show_progress=False)
        known = index.vocab_dict
        with progress("rank by BM25", len(queries), "queries") as bar:
            for start in range(0, len(queries), QUERIES):
                part = [[t for t in terms(query) if t in known] for query in queries[start : start + QUERIES]]
                asked = [row for row, found in enumerate(part) if found]
                rankings: list[Ranking] = [[] for _ in part]
                if asked:
                    rows, scores = index.retrieve(
                        [part[row] for row in asked], k=min(k, len(ids)), show_progress=False, n_threads=0
                    )
                    for row, places, values in zip(asked, rows, scores, strict=True):
                        rankings[row] = sorted(
                            ((ids[i], float(s)) for i, s in zip(places, values, strict=True) if s > 0),
                            key=lambda pair: (-pair[1], pair[0]),
                        )
                bar.advance(len(part))
                yield from rankings


class ModelRetriever:
    """A trained sparse model: exact ranking of its document vectors, sharded over processes."""

    def __init__(self, model: Model | Path | str, *, processes: int = 1) -> None:
        """Raises :class:`ModelError` if it is none, :class:`InputError` for a number of processes below 1."""
        if processes < 1:
            raise InputError(f"processes: {processes}; at least 1 is wanted")
        require("torch", "train")
        self.model = model if isinstance(model, Model) else Model.open(model)
        self.processes = processes
        self.name = self.model.path.resolve().name

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        encoder = QueryEncoder(load_tokenizer(self.model.path / "tokenizer.json"), self.model.lexicon)
        asked = [encoder.ids(query) for query in queries]
        ids = sorted(documents)
        blocks = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
        work = ((self.model.path, [(name, documents[name]) for name in block], asked, k) for block in blocks)
        best: list[Ranking] = [[] for _ in queries]
        with progress(f"rank by {self.name}", len(ids), "documents") as bar:
            for block, found in zip(blocks, self._run(work), strict=True):
                best = [merge(old, new, k) for old, new in zip(best, found, strict=True)]
                bar.advance(len(block))
        yield from best

    def _run(self, work: Iterator[tuple[Path, list[tuple[str, str]], list[list[int]], int]]) -> Iterator[list[Ranking]]:
        if self.processes == 1:
            yield from map(_rank_block, work)
            return
        with ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            yield from pool.map(_rank_block, work)


def merge(a: Ranking, b: Ranking, k: int) -> Ranking:
    """The best k of two rankings of different documents, by falling score, then by ascending id."""
    return sorted([*a, *b], key=lambda pair: (-pair[1], pair[0]))[:k]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _rank_block(work: tuple[Path, list[tuple[str, str]], list[list[int]], int]) -> list[Ranking]:
    """Rankings of one block of documents; runs in a process of its own where there are several."""
    from osparse.encoder import TextEncoder

    path, documents, asked, k = work
    model = Model.open(path)
    encoder = TextEncoder.open(model)
    index = InvertedIndex()
    for rows, weights in encoder.batches([text for _, text in documents]):
        index.add([documents[row][0] for row in rows], weights)
    idf = model.lexicon.idf.astype(np.float64)
    return [index.search(ids, idf[ids], k) for ids in asked]
