"""IBM Model 1: which target id a source id translates to, from aligned texts.

Brown et al. 1993, "The mathematics of statistical machine translation", Model 1, by expectation maximisation over all
pairs of a source and a target of one aligned text at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ids = NDArray[np.int64]
ITERATIONS = 5
"""Of EM; the usual choice for Model 1."""


def translation_probabilities(
    sources: Sequence[Ids], targets: Sequence[Ids], vocabulary: int, *, iterations: int = ITERATIONS, empty: bool = True
) -> sparse.csr_matrix:
    """(vocabulary, vocabulary) t(e|f) at [f, e]; one source and one target of ids per aligned text.

    An id that stands twice in a text counts twice. t(e|f) starts as uniform over the targets seen with f.

    Args:
        empty: Whether each source also has the paper's empty word, which takes what nothing translates.
    """
    empty_id, width = vocabulary, vocabulary + 1
    if empty:
        sources = [np.append(source, empty_id) for source in sources]
    pairs = list(zip(sources, targets, strict=True))
    keys = np.concatenate([np.zeros(0, np.int64), *((s[:, None] * width + t).ravel() for s, t in pairs)])
    unique, inverse = np.unique(keys, return_inverse=True)
    del keys
    which = inverse.astype(np.int32)  # pair -> its entry of the table
    del inverse
    first = np.concatenate([[0], np.cumsum([len(t) for _, t in pairs])])
    columns = [np.tile(np.arange(first[i], first[i + 1], dtype=np.int32), len(s)) for i, (s, _) in enumerate(pairs)]
    column = np.concatenate([np.zeros(0, np.int32), *columns])  # pair -> its target in its text
    del columns
    source, target = np.divmod(unique, width)
    t = 1.0 / np.bincount(source, minlength=width)[source]
    for _ in range(iterations):
        expected = t[which]
        expected /= np.bincount(column, expected)[column]
        counts = np.bincount(which, expected, minlength=len(unique))
        t = counts / np.bincount(source, counts, minlength=width)[source]
    real = source != empty_id
    return sparse.csr_matrix((t[real], (source[real], target[real])), shape=(vocabulary, vocabulary))
