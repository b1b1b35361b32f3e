"""A run by exact search in memory: the best documents of an inverted index for each judged query."""

from __future__ import annotations

from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import JudgedSet
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.progress import track


def exact_run(
    index: InvertedIndex, encoder: QueryEncoder, judged: JudgedSet, depth: int
) -> dict[str, dict[str, float]]:
    """Query id -> {document id: score}, the ``depth`` best of the set's documents, best first."""
    only = index.subset(judged.document_ids)
    run: dict[str, dict[str, float]] = {}
    for query, text in track(judged.queries.items(), f"rank {judged.direction}", len(judged.queries), "queries"):
        ids = encoder.ids(text)
        run[query] = dict(index.search(ids, encoder.lexicon.idf[ids], depth, only=only))
    return run
