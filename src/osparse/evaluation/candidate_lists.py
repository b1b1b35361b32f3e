"""Lists that a teacher ranks: a training query, its answers in one language, and its candidates there.

Where a dataset has no candidates, answers of other drawn queries stand in for them, as they do in a batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

QUERIES = 400
"""Drawn at most: the interval of a mean is then below .05 and a teacher on a CPU needs about a minute."""
OTHERS = 20
"""Answers of other queries in a list, where there are no candidates."""
K1, B = 1.2, 0.75
"""BM25's saturation and length normalisation; Lucene's defaults."""
Terms = Callable[[str], Sequence[Any]]
"""Text -> its terms in order, with repetitions."""


@dataclass(frozen=True, eq=False)
class CandidateList:
    """One query and documents of one language."""

    query_id: str
    query: str
    direction: str
    document_ids: list[str]
    documents: list[str]
    """Their texts."""
    relevant: NDArray[np.bool_]
    """(n,) both kinds are there."""

    def only(self, chosen: NDArray[np.bool_]) -> CandidateList:
        ids, texts = (
            [value for value, keep in zip(values, chosen, strict=True) if keep]
            for values in (self.document_ids, self.documents)
        )
        return CandidateList(self.query_id, self.query, self.direction, ids, texts, self.relevant[chosen])


def draw_lists(dataset: Dataset, *, queries: int = QUERIES, seed: int = 0, mined: bool = True) -> list[CandidateList]:
    """Lists of at most so many training queries, drawn by ``seed``; of one query a list for each document language.

    ``mined``: whether documents count as answers because a teacher scored them highest; that teacher cannot be judged
    by them.
    """
    judged = dataset.qrels("train").filter(pl.col("score") > 0, pl.lit(mined) | (pl.col("origin") != "mined"))
    answers = judged.select("query_id", "document_id").collect()
    named = dataset.candidates("train").select("query_id", "document_id") if dataset.has_candidates("train") else None
    asked = answers["query_id"] if named is None else answers.join(
        named.select("query_id").unique().collect(engine="streaming"), on="query_id", how="semi"
    )["query_id"]  # fmt: skip
    drawn = asked.unique().sort()
    drawn = drawn.gather(np.random.default_rng(seed).permutation(drawn.len())[:queries]).sort()
    answers = answers.filter(pl.col("query_id").is_in(drawn.implode()))
    if named is None:
        others = _others(dataset, answers, seed)
    else:
        others = named.filter(pl.col("query_id").is_in(drawn.implode())).collect(engine="streaming")
    pairs = pl.concat([
        answers.with_columns(relevant=pl.lit(True)), others.with_columns(relevant=pl.lit(False)),
    ]).unique(["query_id", "document_id"], keep="first", maintain_order=True)  # fmt: skip
    return _lists(dataset, pairs)


def _others(dataset: Dataset, answers: pl.DataFrame, seed: int) -> pl.DataFrame:
    """For each query the answers of :data:`OTHERS` more in each of its answers' languages."""
    langs = dataset.documents.select(document_id="id", lang="lang").join(
        answers.lazy().select("document_id").unique(), on="document_id", how="semi"
    )
    known = answers.join(langs.collect(engine="streaming"), on="document_id")
    pools = {str(lang): part["document_id"].unique().sort() for (lang,), part in known.group_by("lang")}
    generator = np.random.default_rng([seed, 1])
    rows: list[tuple[str, str]] = []
    for query, lang in known.select("query_id", "lang").unique().sort("query_id", "lang").iter_rows():
        chosen = pools[lang].gather(generator.permutation(pools[lang].len())[:OTHERS])
        rows += [(query, document) for document in chosen]
    return pl.DataFrame(rows, schema={"query_id": pl.String, "document_id": pl.String}, orient="row")


def _lists(dataset: Dataset, pairs: pl.DataFrame) -> list[CandidateList]:
    queries = dataset.queries.select(query_id="id", query="text", query_lang="lang").join(
        pairs.lazy().select("query_id").unique(), on="query_id", how="semi"
    )
    documents = dataset.documents.select(document_id="id", document="text", lang="lang").join(
        pairs.lazy().select("document_id").unique(), on="document_id", how="semi"
    )
    rows = pairs.join(queries.collect(engine="streaming"), on="query_id").join(
        documents.collect(engine="streaming"), on="document_id"
    )
    lists = []
    for (name, lang), part in rows.sort("query_id", "lang", "document_id").group_by(
        ["query_id", "lang"], maintain_order=True
    ):
        relevant = part["relevant"].to_numpy()
        if relevant.any() and not relevant.all():
            direction = f"{part['query_lang'][0]}->{lang}"
            ids, texts = part["document_id"].to_list(), part["document"].to_list()
            lists.append(CandidateList(str(name), part["query"][0], direction, ids, texts, relevant))
    return lists


def bm25_scores(lists: Sequence[CandidateList], terms: Terms) -> list[NDArray[np.float64]]:
    """BM25 of each list's documents (Robertson and Zaragoza 2009); statistics of all documents of a language here."""
    counts: dict[str, Counter[Any]] = {}
    of_lang: dict[str, set[str]] = {}
    for one in lists:
        for name, text in zip(one.document_ids, one.documents, strict=True):
            if name not in counts:
                counts[name] = Counter(terms(text))
            of_lang.setdefault(_lang(one), set()).add(name)
    frequency = {lang: Counter(term for name in names for term in counts[name]) for lang, names in of_lang.items()}
    mean = {lang: sum(counts[name].total() for name in names) / len(names) for lang, names in of_lang.items()}
    scores = []
    for one in lists:
        lang, query = _lang(one), Counter(terms(one.query))
        size = len(of_lang[lang])
        idf = {term: math.log1p((size - n + 0.5) / (n + 0.5)) for term in query if (n := frequency[lang][term])}
        scores.append(np.array([_bm25(idf, query, counts[name], mean[lang]) for name in one.document_ids]))
    return scores


def _lang(one: CandidateList) -> str:
    return one.direction.rpartition("->")[2]


def _bm25(idf: dict[Any, float], query: Counter[Any], document: Counter[Any], mean: float) -> float:
    saturation = K1 * (1 - B + B * document.total() / max(mean, 1.0))
    return sum(
        weight * query[term] * document[term] * (K1 + 1) / (document[term] + saturation)
        for term, weight in idf.items()
        if document[term]
    )
