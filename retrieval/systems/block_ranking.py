"""Exact ranking of a corpus block by block, spread over processes: the vectors of one block a process are in memory.

The figures are those of one index over the whole corpus, to the last bit: the documents of a block are encoded in the
same batches, a document's score does not depend on the others, and equal scores are ordered by ascending id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.errors import InputError
from osparse.evaluation.encoder_pair import encoder_pair
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import Benchmark
from osparse.io.progress import progress
from osparse.retrieval.systems.system import Run
from osparse.runtime.spread import spread

if TYPE_CHECKING:
    import polars as pl

BATCHES = 8
"""Batches of :meth:`Benchmark.texts` in a block."""

Batch = Sequence[tuple[str, str, str]]
"""(id, text, language) of documents that are encoded together."""
Setup = tuple[Model | Bundle, "Questions", int, bool, str]
"""What a ranker is made of: see :class:`BlockRanker`."""
Questions = list[tuple[str, list[str]]]
"""Of each judged set its document language and the texts of its queries."""


class Block(NamedTuple):
    batches: Sequence[Batch]
    numbers: NDArray[np.int64]
    """Of its documents in order: the place of each id among all ids, ascending."""


class Candidates(NamedTuple):
    """The best documents of a block for the queries of one judged set."""

    counts: NDArray[np.int64]
    """(Q,)"""
    numbers: NDArray[np.int64]
    """(sum of counts,) best first, query after query."""
    scores: NDArray[np.float64]


class RankedBlock(NamedTuple):
    candidates: list[Candidates]
    """Of each judged set."""
    non_zeros: NDArray[np.int64]
    """Of each document."""


@dataclass
class RankedCorpus:
    runs: list[Run]
    """Of each judged set, in the order of the benchmark."""
    documents: int
    weights: int
    """Non-zeros of all documents together."""
    largest: int
    """Non-zeros of the document with the most."""


def rank_corpus(
    source: Model | Bundle, data: Benchmark, depth: int, processes: int, *, quantised: bool, device: str
) -> RankedCorpus:
    """The ``depth`` best documents of each judged query, among the documents of its set's language."""
    questions = [(judged.document_lang, list(judged.queries.values())) for judged in data.sets]
    setup = (source, questions, depth, quantised, device)
    ids, blocks = _blocks(data)
    best = [BestDocuments(len(texts), depth) for _, texts in questions]
    ranked = RankedCorpus([], len(ids), 0, 0)
    with progress("encode and rank documents", len(ids), "documents") as bar:
        for block in _ranked(setup, blocks, processes):
            for kept, found in zip(best, block.candidates, strict=True):
                kept.add(found)
            ranked.weights += int(block.non_zeros.sum())
            ranked.largest = max(ranked.largest, int(block.non_zeros.max(initial=0)))
            bar.advance(len(block.non_zeros))
    ranked.runs = [
        dict(zip(judged.queries, kept.rankings(ids), strict=True)) for judged, kept in zip(data.sets, best, strict=True)
    ]
    return ranked


def _ranked(setup: Setup, blocks: Iterator[Block], processes: int) -> Iterator[RankedBlock]:
    if processes == 1:
        yield from map(BlockRanker(*setup).rank, blocks)
    else:
        yield from spread(_rank, blocks, processes, start=_start, setup=setup)


def _blocks(data: Benchmark) -> tuple[pl.Series, Iterator[Block]]:
    """All ids, ascending, and the blocks of the corpus in its own order; raises InputError for an id that is twice."""
    ids = data.documents.select("id").collect(engine="streaming")["id"]
    order = ids.arg_sort().to_numpy()
    ascending = ids.gather(order)
    if len(twice := ascending.filter(ascending.is_duplicated())):
        raise InputError(f"the document id {twice[0]!r} is there twice; ids must be unique")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    return ascending, _numbered(data, numbers)


def _numbered(data: Benchmark, numbers: NDArray[np.int64]) -> Iterator[Block]:
    start, waiting = 0, data.texts()
    while batches := list(islice(waiting, BATCHES)):
        size = sum(map(len, batches))
        yield Block(batches, numbers[start : start + size])
        start += size


class BlockRanker:
    """Encodes a block and ranks it for the queries of every judged set; both encoders are opened once."""

    def __init__(
        self, source: Model | Bundle, questions: Questions, depth: int, quantised: bool, device: str,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        self.documents, queries = encoder_pair(source, device=device, threads=threads)
        self.depth, self.quantised, self.idf = depth, quantised, queries.lexicon.idf
        self.sets = [(lang, [queries.ids(text) for text in texts]) for lang, texts in questions]

    def rank(self, block: Block) -> RankedBlock:
        documents = list(chain.from_iterable(block.batches))
        index = self._index(block.batches)
        number_of = {name: number for (name, _, _), number in zip(documents, block.numbers.tolist(), strict=True)}
        candidates = []
        for lang, queries in self.sets:
            only = index.subset([name for name, _, written in documents if written == lang])
            rankings = [index.search(ids, self.idf[ids], self.depth, only=only) for ids in queries]
            found = list(chain.from_iterable(rankings))
            candidates.append(
                Candidates(
                    np.array([len(ranking) for ranking in rankings], np.int64),
                    np.array([number_of[name] for name, _ in found], np.int64),
                    np.array([score for _, score in found], np.float64),
                )
            )
        return RankedBlock(candidates, index.non_zeros())

    def _index(self, batches: Sequence[Batch]) -> InvertedIndex:
        index = InvertedIndex(quantised=self.quantised)
        for batch in batches:
            for rows, weights in self.documents.batches([text for _, text, _ in batch]):
                index.add([batch[row][0] for row in rows], weights)
        return index


_ranker: BlockRanker | None = None
"""Of a worker process."""


def _start(source: Model | Bundle, questions: Questions, depth: int, quantised: bool, device: str) -> None:
    global _ranker
    if isinstance(source, Model):
        import torch

        torch.set_num_threads(1)
    _ranker = BlockRanker(source, questions, depth, quantised, device, threads=1)


def _rank(block: Block) -> RankedBlock:
    if _ranker is None:
        raise RuntimeError("the process was not set up")
    return _ranker.rank(block)


class BestDocuments:
    """The best documents so far of each query: by falling score, equal scores by ascending number."""

    def __init__(self, queries: int, depth: int) -> None:
        self.queries, self.depth = queries, depth
        self._scores = np.full((queries, 0), -np.inf)
        self._numbers = np.zeros((queries, 0), np.int64)

    def add(self, found: Candidates) -> None:
        """Merge the candidates of further documents."""
        width = int(found.counts.max(initial=0))
        rows = np.repeat(np.arange(self.queries), found.counts)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(found.counts) - found.counts, found.counts)
        scores, numbers = np.full((self.queries, width), -np.inf), np.zeros((self.queries, width), np.int64)
        scores[rows, places], numbers[rows, places] = found.scores, found.numbers
        scores = np.concatenate([self._scores, scores], axis=1)
        numbers = np.concatenate([self._numbers, numbers], axis=1)
        order = np.lexsort((numbers, -scores), axis=-1)[:, : self.depth]
        self._scores, self._numbers = (np.take_along_axis(table, order, axis=1) for table in (scores, numbers))

    def rankings(self, ids: pl.Series) -> Iterator[dict[str, float]]:
        """Document id -> score of each query, best first; ``ids`` by number."""
        for scores, numbers in zip(self._scores, self._numbers, strict=True):
            found = np.isfinite(scores)
            names = (ids[number] for number in numbers[found].tolist())
            yield dict(zip(names, scores[found].tolist(), strict=True))
