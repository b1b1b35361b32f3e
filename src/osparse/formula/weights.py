"""The formula, once: document weights, query weights, and what a Lucene FeatureField keeps of them.

A document is a vector over the vocabulary, w_j = f(max_i relu(Z_ij)) over its unmasked tokens i, where Z are the
masked-LM logits and f is log1p (SPLADE-max, arXiv 2109.10086, section 3.3) or log1p twice (l0 activation), plus what
the lexical table adds (osparse.encoders.lexical_table). A query has no model call: each distinct token
counts once with its IDF (arXiv 2411.04403, equation 5). The score is their dot product. Trained, traced, exported and
served results must all agree with this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.formula.lexicon import Lexicon, read_idf

Activation = Literal["log1p_relu", "log1p_log1p_relu"]
ACTIVATIONS: tuple[Activation, ...] = ("log1p_relu", "log1p_log1p_relu")

SERVER_MAX_TOKENS = 512
"""ML Commons cuts every text to this many ids, the special ones included."""


@dataclass(frozen=True)
class Head:
    """How logits become document weights; written to osparse.json and baked into the packaged graph."""

    activation: Activation = "log1p_relu"
    max_length: int = 256
    """Ids per document, special ones included, in [2, 512]."""
    masked_ids: tuple[int, ...] = ()
    """Ids that never carry weight: special tokens and ids without a token."""
    prune_ratio: float = 0.0
    """Weights at most this share of the document's largest are dropped, in [0, 1)."""
    top_k: int | None = None
    """At most this many weights are kept, the largest; None keeps all."""


def document_weights(
    logits: NDArray[np.float32], mask: NDArray[np.bool_], head: Head, added: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The plain formula, for tests and explanations: logits (L, V), mask (L,) -> weights (V,) >= 0.

    ``added`` (V,) is what the lexical table gives.
    """
    vocabulary = logits.shape[1]
    kept = logits[mask]
    peak = kept.max(axis=0) if len(kept) else np.zeros(vocabulary, np.float32)
    weights = np.log1p(np.maximum(peak, 0))
    if head.activation == "log1p_log1p_relu":
        weights = np.log1p(weights)
    if added is not None:
        weights = weights + added
    weights[list(head.masked_ids)] = 0
    return prune(weights.astype(np.float32), head)


def prune(weights: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Drop weights at or below prune_ratio x max, and all below the top_k-th largest; (V,) -> (V,).

    Ties with the k-th weight are kept, so more than top_k may stay.
    """
    floor = head.prune_ratio * weights.max(initial=0)
    kept = np.where(weights > floor, weights, 0)
    if head.top_k is not None and np.count_nonzero(kept) > head.top_k:
        kept = np.where(kept >= np.partition(kept, -head.top_k)[-head.top_k], kept, 0)
    return kept.astype(np.float32)


class QueryEncoder:
    """Text -> {raw token: weight} by tokenizer and IDF alone, as SPARSE_TOKENIZE does on the server."""

    def __init__(self, tokenizer: Tokenizer, lexicon: Lexicon, *, max_length: int = SERVER_MAX_TOKENS) -> None:
        self.lexicon = lexicon
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(min(max_length, SERVER_MAX_TOKENS))
        self._special = frozenset(lexicon.special_ids)

    def reweighted(self, idf: Path) -> QueryEncoder:
        """The same tokenizer with another idf.json; raises :class:`ModelError` if that is of another vocabulary."""
        known = self.lexicon
        lexicon = Lexicon.build(known.tokens, known.special_ids, read_idf(idf), source=str(idf))
        return QueryEncoder(self._tokenizer, lexicon)

    def ids(self, text: str) -> list[int]:
        """Distinct non-special ids in order of first appearance."""
        return [i for i in dict.fromkeys(self._tokenizer.encode(text).ids) if i not in self._special]

    def encode(self, text: str) -> dict[str, float]:
        return {self.lexicon.tokens[i]: float(self.lexicon.idf[i]) for i in self.ids(text)}


def up_to_tenth(value: float) -> float:
    """The next tenth, at least 0.1: the ceiling below which SEISMIC keeps 8 bits of a weight.

    A weight that is a tenth in 32 bits, as those of an IDF table may be, is that tenth.
    """
    return max(0.1, math.ceil(round(value * 10, 4)) / 10)


def quantise(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """What Lucene's FeatureField stores: the top 17 bits of the float32 (sign, exponent, 8 of 23 mantissa bits).

    Source: org.apache.lucene.document.FeatureField, ``freq = floatToIntBits(value) >> 15``. Relative error < 2^-8.
    """
    bits = np.asarray(weights, dtype=np.float32).view(np.uint32) & np.uint32(0xFFFF8000)
    return bits.view(np.float32)


def score(query: Mapping[str, float], document: Mapping[str, float]) -> float:
    """The dot product as the index computes it: full-precision query weights, stored document weights."""
    shared = [token for token in query if token in document]
    stored = quantise(np.array([document[token] for token in shared], dtype=np.float32))
    return float(np.dot(np.array([query[token] for token in shared], dtype=np.float64), stored.astype(np.float64)))


def sparse_dict(weights: NDArray[np.float32], tokens: Sequence[str]) -> dict[str, float]:
    """(V,) -> {raw token: weight} of the non-zeros, by falling weight, ties by token."""
    ids = np.flatnonzero(weights)
    falling = sorted(zip((-weights[ids]).tolist(), (tokens[i] for i in ids.tolist()), strict=True))
    return {token: -negative for negative, token in falling}
