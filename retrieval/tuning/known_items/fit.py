"""The weight of BM25 beside the sparse search, fitted on known items of the index's own documents, without judgements.

Half of the queries choose the weight, the other half say what it gives. Across languages known items say nothing (no
sentence is at hand in another language), and BM25 finds next to nothing there: the sparse search has all the weight.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from osparse.algorithms.language import DETECTED
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.errors import InputError
from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.rank_measures import ndcg
from osparse.opensearch_templates import render
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.fusion import DEPTH, fused
from osparse.retrieval.serving.passes import ANY
from osparse.retrieval.serving.settings import Hybrid
from osparse.retrieval.tuning.applying.apply_plan import put_into_service
from osparse.retrieval.tuning.known_items.queries import KnownItem, Text, known_items
from osparse.retrieval.tuning.known_items.result import FittedWeight, FusionFit

DOCUMENTS = 2_000
"""Drawn from the index at random."""
FEWEST = 50
"""Queries of a direction that a weight is chosen by, at least."""
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""Of the sparse search; with 0 it would find nothing that BM25 does not find, such as documents in other languages."""
CUTOFF = 10
FUSION = Hybrid("min_max", "arithmetic_mean")


def fit_fusion(cluster: Cluster, index: str, *, apply: bool = False, seed: int = 0) -> FusionFit:
    """Choose the weight of a fusion of BM25 and sparse search by known items of the index's own documents.

        fit = fit_fusion(cluster, "products", apply=True)

    Args:
        apply: Record the fusion in the index, so that searches use it.
        seed: Of the documents that are drawn.

    Raises:
        InputError: the index has too few documents with sentences.
        ClusterError: see its text.
    """
    searcher, api = Searcher(cluster, index), ClusterApi(cluster)
    plain = Searcher(cluster, index, setting=replace(searcher.setting, two_phase=None, hybrid=None))
    documents = sample(api, index, seed)
    items = known_items(documents)
    rows, notes = list[FittedWeight](), list[str]()
    langs = sorted({item.lang for item in items})
    for lang in langs:
        own = [item for item in items if item.lang == lang]
        if len(own) < 2 * FEWEST:
            notes.append(
                f"{lang or 'no language'}: {len(own)} sentences are too few for a weight, at least {2 * FEWEST}"
            )
            continue
        rows += [_fitted(direction, _runs(plain, own, within)) for direction, within in _directions(lang, langs)]
    if not rows:
        raise InputError(
            f"index {index}: {len(items)} sentences of {len(documents)} documents are too few to fit a weight, at "
            f"least {2 * FEWEST} in one language; tune by judged queries instead: give a `dataset`"
        )
    setting = replace(searcher.setting, two_phase=None, hybrid=hybrid_of(rows, langs))
    fit = FusionFit(index, len(documents), rows, setting, notes)
    return replace(fit, applied=put_into_service(api, index, searcher, setting)) if apply else fit


def hybrid_of(rows: Sequence[FittedWeight], langs: Collection[str]) -> Hybrid:
    """The fusion of the fitted weights; a query in another language than the documents is searched sparsely alone."""
    across = {
        f"{asked}->{answered}": 1.0
        for asked in (*DETECTED, *langs)
        for answered in (*langs, ANY)
        if asked not in (answered, "") and not (answered == ANY and asked in langs)
    }
    fitted = {row.direction: row.weight for row in rows}
    return replace(FUSION, weight=min(fitted.values()), by_direction={**across, **fitted})


def _directions(lang: str, langs: Collection[str]) -> list[tuple[str, str | None]]:
    """Direction -> language of the documents that are searched, None for all."""
    restricted: list[tuple[str, str | None]] = [(f"{lang}->{lang}", lang)] if lang else []
    return [*restricted, (f"{lang}->{ANY}", None)]


def sample(api: ClusterApi, index: str, seed: int) -> list[Text]:
    """Documents drawn at random, with their texts."""
    body = {**render("documents_random", size=DOCUMENTS, seed=seed), "_source": ["text", "lang"]}
    hits = api.search(index, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    sources = [(hit["_id"], hit["_source"]) for hit in hits]
    return [Text(i, str(row.get("text") or ""), str(row.get("lang") or "")) for i, row in sources]


@dataclass(frozen=True)
class _Run:
    """Both searches of one known item."""

    item: KnownItem
    bm25: dict[str, float]
    sparse: dict[str, float]

    def value(self, weight: float) -> float:
        """nDCG@10 of their fusion; 0 is BM25 alone."""
        ranking = fused(self.bm25, self.sparse, FUSION, weight) if weight > 0 else self.bm25
        return ndcg(list(ranking), {self.item.document: 1}, CUTOFF)


def _runs(searcher: Searcher, items: Sequence[KnownItem], lang: str | None) -> list[_Run]:
    """Both searches of each, among the documents of ``lang`` or among all."""
    texts = [item.query for item in items]
    words = searcher.passes.bm25(texts, size=DEPTH, lang=lang)
    hits = searcher.passes.hits(texts, size=DEPTH, lang=lang)
    sparse = [{row["_id"]: float(row["_score"]) for row in rows} for rows in hits]
    return [_Run(*parts) for parts in zip(items, words, sparse, strict=True)]


def _fitted(direction: str, runs: Sequence[_Run]) -> FittedWeight:
    """Every second query chooses, the others report; of equal weights the largest, which asks BM25 for least."""
    choosing, reporting = runs[::2], runs[1::2]
    weight = max(reversed(WEIGHTS), key=lambda weight: float(_values(choosing, weight).mean()))
    combined, bm25, sparse = (_values(reporting, w) for w in (weight, 0.0, 1.0))
    return FittedWeight(
        direction, weight, len(reporting), float(combined.mean()), float(bm25.mean()), float(sparse.mean()),
        paired_randomisation_test(combined, bm25), paired_randomisation_test(combined, sparse),
    )  # fmt: skip


def _values(runs: Sequence[_Run], weight: float) -> NDArray[np.float64]:
    """(Q,) nDCG@10."""
    return np.array([run.value(weight) for run in runs])
