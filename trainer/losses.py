"""Losses as pure tensor functions: no model, no state. Everything in fp32; shapes are in the signatures.

Q queries, D documents, N documents encoded in the step, V vocabulary (or C of its columns).
"""

from __future__ import annotations

import torch
from torch import Tensor


def idf_scores(queries: Tensor, weights: Tensor) -> Tensor:
    """s(q, d) = sum_t idf(t) q_t d_t, the inference-free score (arXiv 2411.04403, equation 5).

    Args:
        queries: (Q, C) idf(t) where the query holds token t, else 0. weights: (D, C) document weights >= 0.

    Returns:
        (Q, D).
    """
    return queries.float() @ weights.float().T


def info_nce(
    scores: Tensor,
    target: Tensor,
    *,
    temperature: float,
    candidates: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean over queries of -log softmax(s / temperature)[target] over the candidates (arXiv 1807.03748, equation 4).

    Args:
        scores: (Q, D). target: (Q,) column of the positive.
        candidates: (Q, D) bool; false leaves a document out of a query's softmax: a known positive that is not the
            target (a false negative), or a document of another language. The target must be a candidate.
        weight: (Q,) >= 0, relative weight of each query; None weighs all alike.

    Returns:
        Scalar.
    """
    logits = scores.float() / temperature
    if candidates is not None:
        logits = logits.masked_fill(~candidates, -torch.inf)
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")  # shifts by the maximum
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / weight.sum()


def flops(weights: Tensor, *, threshold: int | None = None, scale: float = 1.0) -> Tensor:
    """sum_j (1/N sum_i M_i |w_ij|)^2: expected multiplications of a score (arXiv 2004.05665; 2411.04403, equation 3).

    Args:
        weights: (N, C) of all documents of the step.
        threshold: With it M_i = [non-zeros of i > threshold], the l0 mask (arXiv 2504.14839); the mean still divides
            by the full N. Without it M_i = 1.
        scale: V / C where the columns were drawn at random from V: then the value is an unbiased estimate.

    Returns:
        Scalar.
    """
    size = weights.float().abs()
    if threshold is not None:
        size = size * (size.count_nonzero(1) > threshold)[:, None]
    return size.mean(0).square().sum() * scale
