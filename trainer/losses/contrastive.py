"""Contrastive losses: scores of queries and documents, the documents they are compared with, InfoNCE.

Pure functions in fp32: no model, no state. Q queries, D documents, C columns of the vocabulary. A query's candidates
are marked in a (Q, D) bool tensor; documents outside them contribute neither to the value nor to the gradient.
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
        raise ValueError(f"negative pool must be all, own or hard, got {kind!r}")
    return pool.scatter(1, target[:, None], True)
