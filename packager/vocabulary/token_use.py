"""How a corpus uses the tokens of a vocabulary: how often its texts have each, and what its documents weigh on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.packager.vocabulary.corpus_sample import CorpusSample
from osparse.packager.vocabulary.scripts import main_scripts


@dataclass(frozen=True, eq=False)
class TokenUse:
    """Arrays have an entry for each token id."""

    documents: NDArray[np.int64]
    """(V,) occurrences in all documents, as far as the encoder reads them."""
    queries: NDArray[np.int64]
    """(V,) occurrences in the queries that tokens are chosen by."""
    weights: NDArray[np.float64]
    """(V,) sum of the weights that the sample's documents give it."""
    characters: frozenset[str]
    """Those of all these texts, as the tokenizer normalises them."""
    scripts: frozenset[str]
    """What the corpus is written in."""

    @property
    def met(self) -> NDArray[np.bool_]:
        """(V,) whether a text has the token."""
        met: NDArray[np.bool_] = (self.documents > 0) | (self.queries > 0)
        return met

    def order(self) -> NDArray[np.int64]:
        """(N,) ids of the tokens with any use, the most used first.

        By a token's share of the documents' tokens plus its share of the queries' tokens: so often it is missed. Tokens
        of equal shares by the weight that documents give them; last come those that are weighed and in no text.
        """
        occurrences = self.documents / max(self.documents.sum(), 1) + self.queries / max(self.queries.sum(), 1)
        ranked: NDArray[np.int64] = np.lexsort((-self.weights, -occurrences))
        return ranked[self.met[ranked] | (self.weights[ranked] > 0)]


def read_use(sample: CorpusSample, tokenizer: Tokenizer, queries: Tokenizer, weights: NDArray[np.float64]) -> TokenUse:
    """Count the tokens of the corpus; ``weights`` (V,) were summed over the documents of the sample.

    Args:
        tokenizer: of documents, truncating as the encoder does.
        queries: of queries.
    """
    characters: Counter[str] = Counter()
    documents = _count(sample.all_documents(), tokenizer, len(weights), characters)
    asked = _count(sample.choosing_queries(), queries, len(weights), characters)
    return TokenUse(documents, asked, weights, frozenset(characters), main_scripts(characters))


def _count(
    batches: Iterable[list[str]], tokenizer: Tokenizer, size: int, characters: Counter[str]
) -> NDArray[np.int64]:
    """(V,) occurrences of each id; ``characters`` counts the normalised texts' characters."""
    counts = np.zeros(size, np.int64)
    normalise = tokenizer.normalizer.normalize_str if tokenizer.normalizer is not None else str
    for texts in batches:
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            counts += np.bincount(encoding.ids, minlength=size)
        for text in texts:
            characters.update(normalise(text))
    return counts
