"""Losses as pure tensor functions: no model, no state. Everything in fp32; shapes are in the signatures.

Q queries, D documents, N documents encoded in the step, V vocabulary (or C of its columns). A query's candidates are
marked in a (Q, D) bool tensor; what is outside them has no part in the value and no gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_MAX_EPSILON = 1e-6
"""Added to a teacher's range, as in OpenSearch's tuning sample."""


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


def negative_pool(kind: str, target: Tensor, positive: Tensor, own: Tensor) -> Tensor:
    """(Q, D) bool: which documents a query's softmax may hold, before known positives are taken out.

    Args:
        kind: ``all`` every document of the batch; ``own`` every query's positive and the query's own hard negatives
            (naver/splade's in-batch loss, light-splade); ``hard`` the hard negatives of all queries and no other
            query's positive (OpenSearch's tuning sample).
        target: (Q,) column of the positive. positive: (D,) bool, whether the document is some query's positive.
        own: (Q, D) bool, the query's own hard negatives.

    Raises:
        ValueError: another kind.
    """
    if kind == "all":
        pool = torch.ones_like(own)
    elif kind == "own":
        pool = own | positive
    elif kind == "hard":
        pool = (~positive).expand_as(own).clone()
    else:
        raise ValueError(f"negative pool {kind!r}: one of all, own, hard is wanted")
    return pool.scatter(1, target[:, None], True)


def normalised_teachers(scores: Tensor, candidates: Tensor, *, scale: float) -> Tensor:
    """Ensemble of teachers: min-max of each over the query's candidates, mean, times S (2411.04403, equations 8, 9).

    A query with one candidate, or a teacher that cannot tell its candidates apart, gives 0 and not 0/0.

    Args:
        scores: (M, Q, D) of M teachers. candidates: (Q, D) bool. scale: S; the paper has 10 and 30.

    Returns:
        (Q, D) within [0, S]; 0 outside the candidates.
    """
    scores = scores.float()
    lowest = scores.masked_fill(~candidates, torch.inf).amin(2, keepdim=True)
    highest = scores.masked_fill(~candidates, -torch.inf).amax(2, keepdim=True)
    mixed = ((scores - lowest) / (highest - lowest + MIN_MAX_EPSILON)).mean(0) * scale
    return mixed.masked_fill(~candidates, 0.0)


def kl_distillation(
    scores: Tensor, teacher: Tensor, candidates: Tensor, *, temperature: float, weight: Tensor | None = None
) -> Tensor:
    """T^2 x mean over queries of KL(softmax(t / T) || softmax(s / T)) over the candidates (arXiv 1503.02531).

    The factor T^2 keeps the gradient's size when T changes; at T = 1 this is the loss of arXiv 2411.04403.

    Args:
        scores: (Q, D). teacher: (Q, D). candidates: (Q, D) bool; a query with fewer than two does not count.
        weight: (Q,) >= 0, relative weight of each query.

    Returns:
        Scalar; 0 if no query counts.
    """
    counted = candidates.sum(1) > 1
    kept = candidates & counted[:, None]
    log_student = _log_softmax(scores.float() / temperature, kept)
    log_teacher = _log_softmax(teacher.float() / temperature, kept)
    terms = torch.where(kept, log_teacher.exp() * (log_teacher - log_student), 0.0)
    return temperature**2 * _mean(terms.sum(1), counted, weight)


def margin_mse(
    scores: Tensor, teacher: Tensor, candidates: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Mean over queries and their negatives of ((s+ - s-) - (t+ - t-))^2 (arXiv 2010.02666).

    Args:
        scores: (Q, D). teacher: (Q, D). target: (Q,) column of the positive.
        candidates: (Q, D) bool, the target among them.
        weight: (Q,) >= 0, relative weight of each query.

    Returns:
        Scalar; 0 if no query has both a known target and a negative.
    """
    known = candidates.gather(1, target[:, None])
    negatives = (candidates & known).scatter(1, target[:, None], False)

    def margins(values: Tensor) -> Tensor:
        return values.gather(1, target[:, None]) - values

    off = torch.where(negatives, margins(scores.float()) - margins(teacher.float()), 0.0)
    count = negatives.sum(1)
    return _mean(off.square().sum(1) / count.clamp(min=1), count > 0, weight)


def ranknet(scores: Tensor, teacher: Tensor, candidates: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean over pairs with t_i > t_j of log(1 + exp(-(s_i - s_j))) (RankNet; E2Rank, arXiv 2510.22733, stage 2).

    Args:
        scores: (Q, D). teacher: (Q, D). candidates: (Q, D) bool. weight: (Q,) >= 0, relative weight of each query.

    Returns:
        Scalar: mean over queries of the mean over their pairs; 0 if no query has an ordered pair.
    """
    scores = scores.float()
    both = candidates[:, :, None] & candidates[:, None, :]
    ordered = both & (teacher[:, :, None] > teacher[:, None, :])  # (Q, D, D)
    terms = torch.where(ordered, torch.nn.functional.softplus(scores[:, None, :] - scores[:, :, None]), 0.0)
    count = ordered.sum((1, 2))
    return _mean(terms.sum((1, 2)) / count.clamp(min=1), count > 0, weight)


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


def _log_softmax(logits: Tensor, kept: Tensor) -> Tensor:
    """Over the kept columns; rows without any give finite values that nothing reads."""
    empty = ~kept.any(1, keepdim=True)
    return logits.masked_fill(~(kept | empty), -torch.inf).log_softmax(1).masked_fill(~kept, 0.0)


def _mean(values: Tensor, counted: Tensor, weight: Tensor | None) -> Tensor:
    """(Q,) -> weighted mean over the counted queries, 0 if there is none."""
    share = counted.float() if weight is None else weight * counted
    return (values * share).sum() / share.sum().clamp(min=torch.finfo(torch.float32).tiny)
