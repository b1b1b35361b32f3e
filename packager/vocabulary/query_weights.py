"""Query weights after trimming: a token that stands in for lost ones is in more documents, so it says less.

Query weights are inverse document frequencies, logarithms of a share of the documents. Pieces that the whole vocabulary
hardly used weigh much, and would outweigh the other tokens of a query once common words are spelt with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.formula.lexicon import MIN_WEIGHT, Lexicon
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.vocabulary.corpus_sample import CorpusSample


def reweighted(whole: LoadedModel, loaded: LoadedModel, sample: CorpusSample) -> LoadedModel:
    """The trimmed model whose query weights follow the documents of the sample's dataset.

    w' = w - ln((n' + 1) / (n + 1)) for a token that n documents had before and n' > n have now, at least the smallest
    weight that a query may have; other weights stay, whatever they were made from.
    """
    lexicon = loaded.model.lexicon
    frequencies = document_frequencies(whole, sample)
    before = np.array([frequencies[whole.model.lexicon.id_of[token]] for token in lexicon.tokens])
    after = np.maximum(document_frequencies(loaded, sample), before)
    weights = np.maximum(lexicon.idf - np.log((after + 1) / (before + 1)), np.minimum(lexicon.idf, MIN_WEIGHT))
    table = Lexicon(lexicon.tokens, weights.astype(np.float32), lexicon.special_ids)
    model: Any = loaded.model  # a ModelWithTable or a ForeignCheckpoint, both of which hold their table
    return replace(loaded, model=replace(model, table=table))


def document_frequencies(loaded: LoadedModel, sample: CorpusSample) -> NDArray[np.int64]:
    """(V,) documents of the dataset that have each token, as far as the encoder reads them."""
    tokenizer = loaded.tokenizer()
    counts = np.zeros(len(loaded.model.lexicon.tokens), np.int64)
    for texts in sample.all_documents():
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            counts[np.unique(encoding.ids).astype(np.int64)] += 1
    return counts
