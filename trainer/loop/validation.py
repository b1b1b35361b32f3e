"""nDCG@10 of the model as it is served: pruned document vectors, queries by IDF lookup, exact ranking.

The corpus is the split's judged documents and a fixed draw of training documents as distractors, so that a measurement
takes seconds. It selects a checkpoint and is not a result; the test split is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from osparse.contracts.dataset import Dataset
from osparse.contracts.seen import SeenTexts
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import NDCG, JudgedSet, Measures, judged_sets, measure
from osparse.evaluation.trained_on import trained_on
from osparse.formula.head import Head
from osparse.formula.lexicon import Lexicon, load_tokenizer
from osparse.formula.pruning import prune
from osparse.formula.query_encoder import QueryEncoder

TRAINING_QUERIES = 300
"""Of each direction, where there is no validation split."""
DEPTH = 11
"""Documents ranked for nDCG@10: one more than 10, because the query's own document is left out."""

Encoded = tuple[str, list[str], sparse.csr_matrix]
"""(language, document ids, weights (B, V)) of a batch of documents."""


@dataclass(frozen=True)
class Corpus:
    """The documents of a language."""

    ids: list[str]
    texts: list[str]


class Validation:
    """Everything that does not change between two measurements."""

    def __init__(
        self, dataset: Dataset, tokenizer: Path, lexicon: Lexicon, *, distractors: int, seed: int,
        nonzeros: int | None = None, budgets: Sequence[int] = (), seen: SeenTexts | None = None,
    ) -> None:  # fmt: skip
        """``nonzeros``: mean per document that the prune ratio is set for; None leaves the head's.

        ``budgets``: numbers of non-zeros to measure documents at too.

        ``seen``: what the run learns from, its start and its teachers included; None where nothing is to be told of it.

        A dataset without a validation split is measured on a draw of its training queries.
        """
        self.tokenizer = tokenizer
        self.split = "validation" if "validation" in dataset.splits else "train"
        self.sets = judged_sets(dataset, self.split)
        if self.split == "train":
            self.sets = [_drawn(judged, seed) for judged in self.sets]
        self.corpora = _corpora(dataset, self.sets, distractors, seed, self.split)
        queries = QueryEncoder(load_tokenizer(tokenizer), lexicon)
        self.idf, self.nonzeros, self.budgets = lexicon.idf, nonzeros, budgets
        self.chance = round(float(np.mean([_chance(judged, self.corpora) for judged in self.sets])), 4)
        self.trained_on = None if seen is None else trained_on(dataset.documents, self.sets, seen)
        self.queries = {name: queries.ids(text) for judged in self.sets for name, text in judged.queries.items()}

    def measure(self, encoder: SparseEncoder) -> dict[str, Any]:
        """``ndcg`` (mean over directions, what selects) and each direction's, ``chance`` of a random order; index cost.

        A direction with queries or answers that the run learns from has a second figure without them, "not trained on".

        ``nonzeros`` per document, ``posting_max`` the share of documents in the longest posting list, ``flops`` the
        expected number of products of a query and a document, sum_j P(q_j > 0) P(d_j > 0) (arXiv 2004.05665), ``empty``
        the share of documents without a weight; ``budgets``, where some are to be measured, the mean over directions
        of documents cut to each. Learnt query weights count where the encoder has them. Leaves training
        mode on.
        """
        idf = self.query_weights(encoder)
        encoded, ratio = self._encode(encoder)
        indices = self.indices(encoded, Head(prune_ratio=ratio))
        cuts = {budget: self.indices(encoded, Head(prune_ratio=ratio, top_k=budget)) for budget in self.budgets}
        encoder.train()
        counts = np.concatenate([index.non_zeros() for index in indices.values()])
        frequencies = [(index.document_frequencies(), index) for index in indices.values()]
        directions: dict[str, float] = {}
        affected = self.trained_on.affected if self.trained_on else [frozenset[str]()] * len(self.sets)
        for judged, learnt, scores in zip(self.sets, affected, self.rank(indices, idf), strict=True):
            directions[judged.direction] = round(scores.mean(NDCG), 4)
            if judged.no_shared:
                directions[f"{judged.direction}, no shared word"] = round(scores.subset(judged.no_shared).mean(NDCG), 4)
            if learnt and (others := frozenset(judged.qrels) - learnt):
                directions[f"{judged.direction}, not trained on"] = round(scores.subset(others).mean(NDCG), 4)
        main = [value for name, value in directions.items() if "," not in name]
        return {
            "ndcg": round(float(np.mean(main)), 4),
            "chance": self.chance,
            "directions": directions,
            "nonzeros": round(float(counts.mean()), 1),
            "nonzeros_max": int(counts.max()),
            "posting_max": round(float(max(f.max(initial=0) / len(i) for f, i in frequencies)), 4),
            "flops": round(self._flops(frequencies), 3),
            "empty": round(float((counts == 0).mean()), 4),
            "prune_ratio": ratio,
            "documents": len(counts),
            **({"budgets": {str(n): self._mean(cut, idf) for n, cut in cuts.items()}} if cuts else {}),
        }

    def query_weights(self, encoder: SparseEncoder) -> NDArray[np.float32]:
        """(V,) those that the encoder learnt, else the IDF table's."""
        log_idf = getattr(encoder, "log_idf", None)
        return self.idf if log_idf is None else log_idf.detach().float().exp().cpu().numpy()

    def indices(self, encoded: Sequence[Encoded], head: Head) -> dict[str, InvertedIndex]:
        """Language -> index of the documents' weights, pruned as the head says."""
        indices = {lang: InvertedIndex() for lang in self.corpora}
        for lang, names, weights in encoded:
            indices[lang].add(names, np.stack([prune(row, head) for row in weights.toarray()]))
        return indices

    def _mean(self, indices: dict[str, InvertedIndex], idf: NDArray[np.float32]) -> float:
        """nDCG@10, mean over directions."""
        return round(float(np.mean([measures.mean(NDCG) for measures in self.rank(indices, idf)])), 4)

    def rank(self, indices: dict[str, InvertedIndex], idf: NDArray[np.float32]) -> list[Measures]:
        """Of each of :attr:`sets`, the measures of its queries."""
        return [
            measure(
                judged.qrels, {name: self._search(indices[judged.document_lang], name, idf) for name in judged.qrels}
            )
            for judged in self.sets
        ]

    def _encode(self, encoder: SparseEncoder) -> tuple[list[Encoded], float]:
        """The weights of all corpora, and the share of the largest weight to prune by."""
        head = encoder.head
        if self.nonzeros is not None:
            encoder.head = replace(head, prune_ratio=0.0)
        try:
            reader = TextEncoder(encoder, self.tokenizer)
            encoded: list[Encoded] = [
                (lang, [corpus.ids[row] for row in rows], sparse.csr_matrix(weights))
                for lang, corpus in self.corpora.items()
                for rows, weights in reader.batches(corpus.texts)
            ]
        finally:
            encoder.head = head
        if self.nonzeros is None:
            return encoded, head.prune_ratio
        return encoded, prune_ratio([weights for _, _, weights in encoded], self.nonzeros)

    def _search(self, index: InvertedIndex, query: str, idf: NDArray[np.float32]) -> Sequence[str]:
        ids = self.queries[query]
        return [document for document, _ in index.search(ids, idf[ids], DEPTH)]

    def _flops(self, frequencies: list[tuple[NDArray[np.int64], InvertedIndex]]) -> float:
        """Mean over the languages' indices."""
        share = np.zeros(len(self.idf))  # of the queries that hold each token
        for ids in self.queries.values():
            share[ids] += 1 / len(self.queries)
        return float(np.mean([share[: len(f)] @ (f[: len(share)] / len(index)) for f, index in frequencies]))


def _chance(judged: JudgedSet, corpora: dict[str, Corpus]) -> float:
    """Mean over the queries of the expected nDCG@10 of a random order of the corpus.

    Each rank holds a document of mean gain: E[DCG] = (sum of gains / documents) x sum over ranks of the discounts.
    """
    size = len(corpora[judged.document_lang].ids)
    discounts = 1 / np.log2(np.arange(2, DEPTH + 1))  # (10,)
    values = []
    for relevances in judged.qrels.values():
        gains = np.sort([max(0, gain) for gain in relevances.values()])[::-1]
        ideal = float((gains[: len(discounts)] * discounts[: len(gains)]).sum())
        expected = float(gains.sum()) / size * float(discounts[:size].sum())
        values.append(min(1.0, expected / ideal) if ideal else 0.0)
    return float(np.mean(values)) if values else 0.0


def prune_ratio(parts: Sequence[sparse.csr_matrix], nonzeros: int) -> float:
    """The least share of a document's largest weight, in thousandths, above which at most ``nonzeros`` lie on average.

    ``parts`` hold weights (B, V). 0.999 where even that leaves more.
    """
    shares = np.concatenate([part.data / np.repeat(_peaks(part), np.diff(part.indptr)) for part in parts])
    allowed = nonzeros * sum(part.shape[0] for part in parts)
    steps = np.arange(1000) / 1000
    above = len(shares) - np.searchsorted(np.sort(shares), steps, side="right")  # rising steps, falling counts
    return float(steps[min(999, int((above > allowed).sum()))])


def _peaks(weights: sparse.csr_matrix) -> NDArray[np.float32]:
    """(B,) largest weight of each document."""
    peaks: NDArray[np.float32] = weights.max(axis=1).toarray().ravel()
    return peaks


def _drawn(judged: JudgedSet, seed: int) -> JudgedSet:
    """At most :data:`TRAINING_QUERIES` of the queries."""
    order = np.random.default_rng([seed, 4]).permutation(len(judged.queries))
    names = np.array(list(judged.queries))[np.sort(order[:TRAINING_QUERIES])].tolist()
    queries, qrels = {name: judged.queries[name] for name in names}, {name: judged.qrels[name] for name in names}
    return replace(judged, queries=queries, qrels=qrels, no_shared=judged.no_shared & {*names})


def _corpora(dataset: Dataset, sets: list[JudgedSet], distractors: int, seed: int, split: str) -> dict[str, Corpus]:
    judged = pl.Series(
        "id", sorted({name for judged_set in sets for relevances in judged_set.qrels.values() for name in relevances})
    )
    own = dataset.split_documents(split).select("id", "lang").collect()
    training = dataset.split_documents("train").select("id", "lang").collect()
    corpora = {}
    for lang in sorted({judged_set.document_lang for judged_set in sets}):
        judged_here = own.filter(pl.col("id").is_in(judged.implode()), lang=lang).sort("id")["id"]
        others = training.filter(~pl.col("id").is_in(judged.implode()), lang=lang).sort("id")["id"]
        drawn = np.random.default_rng([seed, 3]).permutation(len(others))[:distractors]
        corpora[lang] = _corpus(dataset, pl.concat([judged_here, others[drawn]]))
    return {judged_set.document_lang: corpora[judged_set.document_lang] for judged_set in sets}


def _corpus(dataset: Dataset, ids: pl.Series) -> Corpus:
    """The documents of the ids, in their order."""
    chosen = (
        ids.to_frame("id")
        .lazy()
        .join(dataset.documents.select("id", "text"), on="id", how="left", maintain_order="left")
    )
    return Corpus(ids.to_list(), chosen.collect(engine="streaming")["text"].to_list())
