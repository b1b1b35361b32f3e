"""Vectors of words from how they are used: PPMI of neighbouring words, or a trained model's states in context.

PPMI(a, b) = max(0, ln P(a, b) / (P(a) P(b)^0.75)) over words within ``WINDOW`` places, reduced by a truncated SVD with
the square roots of the singular values (Levy, Goldberg and Dagan 2015, eigenvalue weighting 0.5 and smoothing 0.75).
Each document counts by its weight, so that recent usage can count more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from osparse.io.progress import progress
from osparse.plugins.extras import require

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float32]
WINDOW = 5
SMOOTHING = 0.75
SEED = 0
WordSpans = Callable[[str], list[tuple[str, int, int]]]
"""Text -> (word, first character, end) of each word."""
OCCURRENCES = 50
"""Of each word that a model reads, at most."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words worth a vector."""

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    """(W,) documents that hold each."""

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], *, at_least: int, at_most: float) -> Vocabulary:
        """Words of two letters or more in at least ``at_least`` documents and at most the share ``at_most`` of them."""
        frequency = Counter(word for text in texts for word in set(text))
        limit = at_most * len(texts)
        kept = sorted(w for w, n in frequency.items() if at_least <= n <= limit and len(w) > 1 and not w.isdigit())
        return cls(tuple(kept), np.array([frequency[word] for word in kept], dtype=np.int64))


def ppmi_vectors(
    texts: Sequence[Sequence[str]], vocabulary: Vocabulary, weights: NDArray[np.float64], *, size: int = 200
) -> Floats:
    """(W, size) vectors of length 1; a word without neighbours has zeros.

    Args:
        texts: The words of each document, in order. weights: (N,) how much each counts.
    """
    sparse = require("scipy.sparse", "corpus")
    number = {word: i for i, word in enumerate(vocabulary.words)}
    shape = (len(number), len(number))
    together = sparse.csr_matrix(shape)
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    with progress("count neighbours", len(texts), "documents") as bar:
        for text, weight in zip(texts, weights.tolist(), strict=True):
            known = [(place, number[word]) for place, word in enumerate(text) if word in number]
            for i, (place, a) in enumerate(known):
                for other, b in known[i + 1 :]:
                    if other - place > WINDOW:
                        break
                    if a != b and weight > 0:
                        rows += (a, b)
                        columns += (b, a)
                        values += (weight, weight)
            if len(rows) > 5_000_000:
                together += sparse.coo_matrix((values, (rows, columns)), shape=shape).tocsr()
                rows, columns, values = [], [], []
            bar.advance(1)
    together += sparse.coo_matrix((values, (rows, columns)), shape=shape).tocsr()
    return _reduced(_ppmi(together), size)


def model_vectors(texts: Sequence[str], vocabulary: Vocabulary, model: Path, words_of: WordSpans) -> Floats:
    """(W, H) mean transformed hidden state of each word's tokens over at most ``OCCURRENCES`` places, length 1."""
    torch = require("torch", "train")
    from osparse.encoders.torch_encoder import TextEncoder
    from osparse.formula.lexicon import load_tokenizer

    encoder = TextEncoder.open(model).encoder.eval()
    tokenizer = load_tokenizer(model / "tokenizer.json")
    tokenizer.enable_truncation(encoder.head.max_length)
    number = {word: i for i, word in enumerate(vocabulary.words)}
    total = np.zeros((len(number), encoder.decoder.weight.shape[1]), dtype=np.float32)
    seen = np.zeros(len(number), dtype=np.int64)
    with progress("read words in context", len(texts), "documents") as bar:
        for text in texts:
            bar.advance(1)
            wanted = [(number[w], a, b) for w, a, b in words_of(text) if w in number]
            wanted = [(w, a, b) for w, a, b in wanted if seen[w] < OCCURRENCES]
            if not wanted:
                continue
            encoding = tokenizer.encode(text)
            ids = torch.tensor([encoding.ids])
            with torch.inference_mode():
                states = encoder.hidden(ids, torch.ones_like(ids))[0].float().numpy()
            ends = np.array(encoding.offsets)
            for word, start, stop in wanted:
                inside = (ends[:, 0] >= start) & (ends[:, 1] <= stop) & (ends[:, 1] > ends[:, 0])
                if inside.any():
                    total[word] += states[inside].mean(0)
                    seen[word] += 1
    return _unit((total / np.maximum(seen, 1)[:, None]).astype(np.float32))


def _ppmi(together: sparse.csr_matrix) -> sparse.csr_matrix:
    total = together.sum()
    if total == 0:
        return together
    row = np.asarray(together.sum(1)).ravel() / total
    context = np.asarray(together.sum(0)).ravel() ** SMOOTHING
    context /= context.sum()
    found = together.tocoo()
    value = np.log(found.data / total / (row[found.row] * context[found.col]))
    kept = value > 0
    return type(together)((value[kept], (found.row[kept], found.col[kept])), shape=together.shape)


def _reduced(matrix: sparse.csr_matrix, size: int) -> Floats:
    extmath = require("sklearn.utils.extmath", "corpus")
    size = min(size, matrix.shape[0] - 1)
    if size < 1 or matrix.nnz == 0:
        return np.zeros((matrix.shape[0], max(size, 1)), dtype=np.float32)
    left, values, _ = extmath.randomized_svd(matrix, size, random_state=SEED)
    return _unit((left * np.sqrt(values)).astype(np.float32))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.maximum(length, 1e-12), 0).astype(np.float32)
