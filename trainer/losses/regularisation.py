"""Regularisation that keeps documents sparse: FLOPS and its variants.

Pure functions in fp32: no model, no state. N documents encoded in the step, C columns of the vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def flops(
    weights: Tensor,
    *,
    threshold: int | None = None,
    slots: Tensor | None = None,
    terms: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """sum_j (1/N sum_i M_i u_j |w_ij|)^2: expected multiplications of a score (2004.05665; 2411.04403, equation 3).

    Args:
        weights: (N, C) of all documents of the step; the value depends on N, so lambda belongs to a batch size.
        threshold: With it M_i = [non-zeros of i > threshold], the l0 mask (arXiv 2504.14839); the mean still divides
            by the full N. Without it M_i = 1.
        slots: (N,) int; grouped FLOPS: the mean is taken within each slot and the squares are summed over slots, so
            that the documents of one query, which share its topic's tokens, are not averaged together (OpenSearch's
            tuning sample).
        terms: (C,) u_j >= 0, such as :func:`df_activation` (DF-FLOPS, arXiv 2505.15070) or the IDF (a variant of the
            l0 mask). Without it u_j = 1.
        scale: V / C where the columns were drawn at random from V: then the value is an unbiased estimate.

    Returns:
        Scalar.
    """
    size = weights.float().abs()
    if threshold is not None:
        size = size * (size.count_nonzero(1) > threshold)[:, None]
    if terms is not None:
        size = size * terms
    if slots is None:
        return size.mean(0).square().sum() * scale
    groups = [size[slots == slot].mean(0).square().sum() for slot in torch.unique(slots)]
    return torch.stack(groups).sum() * scale


def df_activation(share: Tensor, *, half: float, steepness: float) -> Tensor:
    """activ(x; a, b) = 1 / (1 + (x^(log_a 2) - 1)^b): how much a term of document frequency x is regularised.

    0 for a rare term, 1/2 at x = a, 1 for a term in every document (DF-FLOPS, arXiv 2505.15070).

    Args:
        share: (C,) document frequency / documents, in [0, 1]. half: a in (0, 1). steepness: b > 0.
    """
    inner = share.float().clamp(1e-9, 1.0).pow(math.log(2) / math.log(half)) - 1
    return 1 / (1 + inner.clamp(min=0.0).pow(steepness))


def idf_penalty(weights: Tensor, idf: Tensor, *, scale: float = 1.0) -> Tensor:
    """Mean over documents of sum_j |w_ij| / idf_j: an L1 that presses common tokens harder.

    Not the IDF-aware scoring of arXiv 2411.04403, which is :func:`idf_scores`; an extra.

    Args:
        weights: (N, C). idf: (C,) > 0. scale: V / C where the columns were drawn at random from V.
    """
    return (weights.float().abs() / idf).sum(1).mean() * scale


def quadratic_warmup(step: int, steps: int, *, weight: float, warmup: float, floor: float = 0.0) -> float:
    """lambda(t) = weight * (r + (1 - r) * min(1, (t + 1) / T)^2), T = warmup x steps (arXiv 2004.05665; r is 0 there).

    Steps are the optimiser's: accumulating a step's gradients in parts does not hasten it.
    """
    rising = warmup * steps
    risen = min(1.0, (step + 1) / rising) ** 2 if rising > 0 else 1.0
    return weight * (floor + (1 - floor) * risen)
