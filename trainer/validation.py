"""nDCG@10 of the model as it is served: pruned document vectors, queries by IDF lookup, exact ranking.

The corpus is the split's judged documents and a fixed draw of training documents as distractors, so that a measurement
takes seconds. It selects a checkpoint; it is no result, and the test split is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osparse.dataset import Dataset
from osparse.encoder import SparseEncoder, TextEncoder
from osparse.encoding import QueryEncoder
from osparse.evaluation import NDCG, JudgedSet, judged_sets, measure
from osparse.lexicon import Lexicon, load_tokenizer
from osparse.ranking import InvertedIndex

DEPTH = 10


@dataclass(frozen=True)
class _Corpus:
    ids: list[str]
    texts: list[str]


class Validation:
    """Everything that does not change between two measurements."""

    def __init__(self, dataset: Dataset, tokenizer: Path, lexicon: Lexicon, *, distractors: int, seed: int) -> None:
        """Raises :class:`DatasetError` if the dataset has no validation judgements."""
        self.tokenizer = tokenizer
        self.sets = judged_sets(dataset, "validation")
        self.corpora = _corpora(dataset, self.sets, distractors, seed)
        queries = QueryEncoder(load_tokenizer(tokenizer), lexicon)
        self.queries: dict[str, tuple[list[int], list[float]]] = {}
        for judged in self.sets:
            for name, text in judged.queries.items():
                ids = queries.ids(text)
                self.queries[name] = (ids, [float(lexicon.idf[i]) for i in ids])

    def measure(self, encoder: SparseEncoder) -> dict[str, Any]:
        """``ndcg`` (mean over directions, what selects), each direction's, and non-zeros; leaves training mode on."""
        indices = {lang: InvertedIndex() for lang in self.corpora}
        reader = TextEncoder(encoder, self.tokenizer)
        for lang, corpus in self.corpora.items():
            for rows, weights in reader.batches(corpus.texts):
                indices[lang].add([corpus.ids[row] for row in rows], weights)
        encoder.train()
        counts = np.concatenate([index.non_zeros() for index in indices.values()])
        directions: dict[str, float] = {}
        for judged in self.sets:
            found = measure(
                judged.qrels, {name: self._search(indices[judged.document_lang], name) for name in judged.qrels}
            )
            directions[judged.direction] = round(found.mean(NDCG), 4)
            if judged.no_shared:
                directions[f"{judged.direction}, no shared word"] = round(found.subset(judged.no_shared).mean(NDCG), 4)
        main = [value for name, value in directions.items() if "," not in name]
        return {
            "ndcg": round(float(np.mean(main)), 4),
            "directions": directions,
            "nonzeros": round(float(counts.mean()), 1),
            "nonzeros_max": int(counts.max()),
            "empty": round(float((counts == 0).mean()), 4),
            "documents": len(counts),
        }

    def _search(self, index: InvertedIndex, query: str) -> Sequence[str]:
        ids, weights = self.queries[query]
        return [document for document, _ in index.search(ids, weights, DEPTH)]


def _corpora(dataset: Dataset, sets: list[JudgedSet], distractors: int, seed: int) -> dict[str, _Corpus]:
    judged = {document for one in sets for found in one.qrels.values() for document in found}
    rows = dataset.split_documents("validation").select("id", "text", "lang").sort("id").collect().rows()
    chosen: dict[str, list[tuple[str, str]]] = {one.document_lang: [] for one in sets}
    for name, text, lang in rows:
        if name in judged and lang in chosen:
            chosen[lang].append((name, text))
    training = dataset.split_documents("train").select("id", "text", "lang").sort("id").collect().rows()
    for lang in sorted(chosen):
        others = [(name, text) for name, text, its in training if its == lang and name not in judged]
        drawn = np.random.default_rng([seed, 3]).permutation(len(others))[:distractors]
        chosen[lang] += [others[int(i)] for i in drawn]
    return {lang: _Corpus([name for name, _ in found], [text for _, text in found]) for lang, found in chosen.items()}
