"""The activation formula: logits -> document weights.

A document is a vector over the vocabulary, w_j = f(max_i relu(Z_ij)) over its unmasked tokens i, where Z are the
masked-LM logits and f is log1p (SPLADE-max, arXiv 2109.10086, section 3.3) or log1p twice (l0 activation); for the
document's own tokens times ``own_share``; plus what the lexical table adds (osparse.encoders.lexical_table). A query
has no model call: each distinct token counts once with its IDF (arXiv 2411.04403, equation 5). The score is their dot
product. Trained, traced, exported and served results must all agree with this file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osparse.formula.head import Head
from osparse.formula.pruning import prune


def document_weights(
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    head: Head,
    added: NDArray[np.float32] | None = None,
    own: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The plain formula, for tests and explanations: logits (L, V), mask (L,) -> weights (V,) >= 0.

    ``added`` (V,) is what the lexical table gives, ``own`` (V,) the document's tokens, for ``head.own_share`` and
    ``head.keep_own``.
    """
    vocabulary = logits.shape[1]
    kept = logits[mask]
    peak = kept.max(axis=0) if len(kept) else np.zeros(vocabulary, np.float32)
    weights = np.log1p(np.maximum(peak, 0))
    if head.activation == "log1p_log1p_relu":
        weights = np.log1p(weights)
    if own is not None:
        weights = np.where(own, head.own_share * weights, weights)
    if added is not None:
        weights = weights + added
    weights[list(head.masked_ids)] = 0
    return prune(weights.astype(np.float32), head, own)


def sparse_dict(weights: NDArray[np.float32], tokens: Sequence[str]) -> dict[str, float]:
    """(V,) -> {raw token: weight} of the non-zeros, by falling weight, ties by token."""
    ids = np.flatnonzero(weights)
    falling = sorted(zip((-weights[ids]).tolist(), (tokens[i] for i in ids.tolist()), strict=True))
    return {token: -negative for negative, token in falling}
