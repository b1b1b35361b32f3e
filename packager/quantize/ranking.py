"""What quantisation does to rankings: nDCG@10 on a dataset's judged queries, over a pool of its documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from osparse.evaluation.exact_search import InvertedIndex, paired_randomisation_test
from osparse.evaluation.measures import JudgedSet, Measures, judged_sets, measure

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from osparse.contracts.dataset import Dataset
    from osparse.formula.query_encoder import QueryEncoder
    from osparse.packager.compare.parity import Runner

MEASURE = "nDCG@10"
QUERIES = 200
"""Judged queries that are asked."""
DOCUMENTS = 1_000
"""Documents of the pool: those that answer the queries, and others drawn at random."""
SPLITS = ("test", "validation")
"""Judgements that no model was trained on, in the order of preference."""


@dataclass(frozen=True)
class Pool:
    """The queries, and the documents that they are ranked against."""

    split: str
    sets: tuple[JudgedSet, ...]
    documents: Mapping[str, str]
    """Id -> text."""

    def described(self) -> str:
        queries = sum(len(judged.queries) for judged in self.sets)
        return f"nDCG@10 of {queries} {self.split} queries among {len(self.documents):,} documents"


def draw_pool(dataset: Dataset) -> Pool | None:
    """At most :data:`QUERIES` and :data:`DOCUMENTS`, always the same; None where nothing held back is judged."""
    split = next((split for split in SPLITS if split in dataset.splits), None)
    if split is None:
        return None
    import polars as pl

    random = np.random.default_rng(0)
    every = judged_sets(dataset, split)
    share = QUERIES / max(QUERIES, sum(len(judged.qrels) for judged in every))
    sets = [_sample(judged, max(1, int(share * len(judged.qrels))), random) for judged in every]
    answers = {document for judged in sets for grades in judged.qrels.values() for document in grades}
    ids = sorted({document for judged in every for document in judged.document_ids} - answers)
    others = random.permutation(len(ids))[: max(0, DOCUMENTS - len(answers))]
    chosen = answers | {ids[i] for i in others}
    table = dataset.documents.filter(pl.col("id").is_in(sorted(chosen))).select("id", "text").collect()
    return Pool(split, tuple(sets), dict(table.iter_rows()))


def _sample(judged: JudgedSet, count: int, random: Any) -> JudgedSet:
    names = sorted(judged.qrels)
    chosen = sorted(names[i] for i in random.permutation(len(names))[:count])
    return JudgedSet(
        judged.query_lang, judged.document_lang, {q: judged.queries[q] for q in chosen}, judged.document_ids,
        {q: judged.qrels[q] for q in chosen}, judged.no_shared, judged.not_relevant,
    )  # fmt: skip


def measure_pool(pool: Pool, run: Runner, documents: Tokenizer, queries: QueryEncoder) -> Measures:
    """nDCG@10 of each query with a document encoder: exact search over the pool's documents of a set's language.

    ``documents``: the packaged tokenizer, which truncates. Each text runs alone, as on the server.
    """
    index = InvertedIndex(quantised=True)
    for name, text in pool.documents.items():
        ids = np.array([documents.encode(text).ids], np.int64)
        index.add([name], run(ids, np.ones_like(ids)))
    values: dict[str, float] = {}
    for judged in pool.sets:
        only = index.subset(judged.document_ids)
        ranked = {}
        for query, text in judged.queries.items():
            ids_of_query = queries.ids(text)
            found = index.search(ids_of_query, queries.lexicon.idf[ids_of_query], 11, only=only)
            ranked[query] = [document for document, _ in found]
        measured = measure(judged.qrels, ranked, [MEASURE], judged.not_relevant)
        values |= {f"{judged.direction} {q}": v for q, v in measured.per_query[MEASURE].items()}
    return Measures({MEASURE: values})


def difference(before: Measures, after: Measures) -> tuple[float, float]:
    """Change of the mean, and the two-sided p of a paired randomisation test."""
    a, b = after.values(MEASURE), before.values(MEASURE)
    return float(a.mean() - b.mean()), paired_randomisation_test(a, b)
