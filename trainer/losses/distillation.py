"""Distillation losses: teachers' scores as soft labels for a query's candidates.

Pure functions in fp32: no model, no state. Q queries, D documents, C columns of the vocabulary. A query's candidates
are marked in a (Q, D) bool tensor; documents outside them contribute neither to the value nor to the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_MAX_EPSILON = 1e-6
"""Added to a teacher's range, as in OpenSearch's tuning sample."""


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
    used = candidates & counted[:, None]
    log_student = _log_softmax(scores.float() / temperature, used)
    log_teacher = _log_softmax(teacher.float() / temperature, used)
    terms = torch.where(used, log_teacher.exp() * (log_teacher - log_student), 0.0)
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
        Scalar; 0 if no query has both a has_target target and a negative.
    """
    has_target = candidates.gather(1, target[:, None])
    negatives = (candidates & has_target).scatter(1, target[:, None], False)

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


def _log_softmax(logits: Tensor, used: Tensor) -> Tensor:
    """Over the used columns; rows without any give finite values, which are not read."""
    empty = ~used.any(1, keepdim=True)
    return logits.masked_fill(~(used | empty), -torch.inf).log_softmax(1).masked_fill(~used, 0.0)


def _mean(values: Tensor, counted: Tensor, weight: Tensor | None) -> Tensor:
    """(Q,) -> weighted mean over the counted queries, 0 if there is none."""
    share = counted.float() if weight is None else weight * counted
    return (values * share).sum() / share.sum().clamp(min=torch.finfo(torch.float32).tiny)
