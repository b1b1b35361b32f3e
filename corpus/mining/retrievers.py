"""First-stage rankings to mine from: BM25 (bm25s), or a trained model by the code that evaluates it.

A retriever ranks by falling score and, at equal scores, by ascending document id; what shares nothing with the query is
not ranked at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from osparse.contracts.model import Model
from osparse.corpus.text.analysis import terms
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.top_k import TopK
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import progress
from osparse.plugins.extras import require
from osparse.runtime.spread import check_processes, spread

Ranking = list[tuple[str, float]]
Setup = tuple[Path, list[list[int]], int]
"""The model's folder, the token ids of each query, and how many documents are kept for a query."""
Block = tuple[int, list[tuple[str, str]]]
"""The number of its first document, and (id, text) of its documents by ascending id."""
BLOCK = 2048
"""Documents encoded together, whatever the number of processes: equal blocks give equal weights."""
QUERIES = 512
"""Queries ranked at a time."""
K1, B = 1.2, 0.75


class Retriever(Protocol):
    name: str
    """What the scores are called in the dataset."""

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        """The best k documents of each query, in order.

        Args:
            documents: {id: text}; a text may be read from disk each time it is looked up.
        """


class Bm25Retriever:
    """Lucene's BM25 over :func:`osparse.corpus.text.analysis.terms`."""

    name = "bm25"

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        bm25s = require("bm25s", "corpus")
        ids = sorted(documents)
        index = bm25s.BM25(k1=K1, b=B, method="lucene")
        with progress("index for BM25", len(ids), "documents") as bar:
            corpus: list[list[str]] = []
            shared: dict[str, str] = {}  # equal terms are one object
            for name in ids:
                corpus.append([shared.setdefault(term, term) for term in terms(documents[name])])
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
        check_processes(processes)
        require("torch", "train")
        self.model = model if isinstance(model, Model) else Model.open(model)
        self.processes = processes
        self.name = self.model.path.resolve().name

    def rank(self, documents: Mapping[str, str], queries: Sequence[str], k: int) -> Iterator[Ranking]:
        if not queries:
            return
        encoder = QueryEncoder(load_tokenizer(self.model.path / "tokenizer.json"), self.model.lexicon)
        setup = (self.model.path, [encoder.ids(query) for query in queries], k)
        ids = sorted(documents)
        blocks = ((start, ids[start : start + BLOCK]) for start in range(0, len(ids), BLOCK))
        work = ((start, [(name, documents[name]) for name in block]) for start, block in blocks)
        best = TopK(len(queries), k)
        with progress(f"rank by {self.name}", len(ids), "documents") as bar:
            for size, top in self._run(setup, work):
                best.merge(top)
                bar.advance(size)
        for scores, numbers in zip(*best.result(), strict=True):
            pairs = zip(scores.tolist(), numbers.tolist(), strict=True)
            yield [(ids[number], score) for score, number in pairs if number >= 0]

    def _run(self, setup: Setup, work: Iterator[Block]) -> Iterator[tuple[int, TopK]]:
        """The best of each block, in order; at most two blocks more than processes are held."""
        if self.processes == 1:
            yield from map(_BlockRanker(*setup).rank, work)
        else:
            yield from spread(_rank, work, self.processes, start=_start, setup=setup)


class _BlockRanker:
    """Ranks blocks of documents for the same queries; the model is opened once."""

    def __init__(self, model: Path, queries: list[list[int]], k: int) -> None:
        from osparse.encoders.torch_encoder import TextEncoder

        opened = Model.open(model)
        self.encoder, self.queries, self.k = TextEncoder.open(opened), queries, k
        self.idf = opened.lexicon.idf.astype(np.float64)

    def rank(self, block: Block) -> tuple[int, TopK]:
        """(documents of the block, the best of them for each query), numbered from the block's first number."""
        first, documents = block
        index = InvertedIndex()
        for rows, weights in self.encoder.batches([text for _, text in documents]):
            index.add([documents[row][0] for row in rows], weights)
        parts = [self._best(index, self.queries[i : i + QUERIES], first) for i in range(0, len(self.queries), QUERIES)]
        return len(documents), TopK.stacked(parts)

    def _best(self, index: InvertedIndex, queries: list[list[int]], first: int) -> TopK:
        scores = np.stack([index.scores(ids, self.idf[ids]) for ids in queries])  # (Q, B)
        top = TopK(len(queries), min(self.k, len(index)))
        top.add(np.where(scores > 0, scores, -np.inf).astype(np.float32), first)
        return top


_ranker: _BlockRanker | None = None
"""Of a worker process."""


def _start(model: Path, queries: list[list[int]], k: int) -> None:
    import torch

    global _ranker
    torch.set_num_threads(1)
    _ranker = _BlockRanker(model, queries, k)


def _rank(block: Block) -> tuple[int, TopK]:
    if _ranker is None:
        raise RuntimeError("the process was not set up")
    return _ranker.rank(block)
